package update_test

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

// TestCautious takes a step by hand of four parameters whose means are 1, and of which two
// have gradients that turn them: one agrees with its gradient of -1, one not with its own
// of 1, and one has none.
func TestCautious(t *testing.T) {
	const lr, decay = .5, .25
	options := update.Options{LR: lr, WeightDecay: decay}
	params, grads, agree := []float32{1, -1, 1, -1}, []float32{1, -1, 0, -100}, []float64{1, 0, 0, 1}
	for _, c := range []struct {
		name           string
		rule           update.Rule
		update, decays bool
	}{
		{"adam", update.CautiousAdam{Options: options, Beta1: .9, Beta2: .5, Eps: 1, CautiousUpdate: true}, true, false},
		{"adam, both", update.CautiousAdam{Options: options, Beta1: .9, Beta2: .5, Eps: 1, CautiousUpdate: true, CautiousDecay: true}, true, true},
		{"adam, decay", update.CautiousAdam{Options: options, Beta1: .9, Beta2: .5, Eps: 1, CautiousDecay: true}, false, true},
		{"lion", update.CautiousLion{Options: options, Beta1: .9, Beta2: .5, CautiousUpdate: true}, true, false},
		{"lion, both", update.CautiousLion{Options: options, Beta1: .9, Beta2: .5, CautiousUpdate: true, CautiousDecay: true}, true, true},
		{"lion, decay", update.CautiousLion{Options: options, Beta1: .9, Beta2: .5, CautiousDecay: true}, false, true},
	} {
		o := newOne(t, 4, c.rule)
		for i := range buffer(o, 0, "m") {
			buffer(o, 0, "m")[i] = 1
		}
		p := append([]float32(nil), params...)
		must(t, o.Step(p, grads))
		for i := range p {
			g := float64(grads[i])
			m := .9 + .1*g
			u := math.Copysign(1, m)
			if _, ok := c.rule.(update.CautiousAdam); ok {
				u = m / (1 - .9) / (math.Abs(g) + 1) // v is ½g², and c₂ is ½
			}
			part := decay
			if c.decays && u*float64(params[i]) < 0 {
				part = 0
			}
			if c.update {
				u *= agree[i] * 2 // half of them agree
			}
			want := float64(params[i]) - lr*(u+part*float64(params[i]))
			if math.Abs(float64(p[i])-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("%s: parameter %d goes to %g, want %g", c.name, i, p[i], want)
			}
		}
	}
}

// TestCautiousFloor has next to nothing agree: its steps are a thousand times as long, and no
// more.
func TestCautiousFloor(t *testing.T) {
	const n = 5000
	o := newOne(t, n, textbook.CautiousLion(1e-3))
	p, g := make([]float32, n), make([]float32, n)
	g[7] = 1
	must(t, o.Step(p, g))
	for i, x := range p {
		if want := map[bool]float32{true: -1}[i == 7]; math.Abs(float64(x-want)) > 1e-6 {
			t.Errorf("parameter %d goes to %g, want %g", i, x, want)
		}
	}
	must(t, o.Step(p, make([]float32, n))) // nothing agrees, and nothing moves
	if math.Abs(float64(p[7]+1)) > 1e-6 {
		t.Errorf("without a gradient it goes to %g", p[7])
	}
	must(t, newOne(t, 0, textbook.CautiousAdamW(1)).Step(nil, nil))
	wantArg(t, "ranges", o.Begin(), "rule")
	must(t, newOne(t, n, update.CautiousLion{CautiousDecay: true}).Begin())
}
