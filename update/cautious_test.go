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
	params, grads, agree := []float32{1, -1, 1, -1}, []float32{1, -1, 0, -100}, []float64{1, 0, 0, 1}
	rules := map[string]func(o update.Options) update.Rule{
		"adam":     func(o update.Options) update.Rule { return update.Adam{Options: o, Beta1: .9, Beta2: .5, Eps: 1} },
		"lion":     func(o update.Options) update.Rule { return update.Lion{Options: o, Beta1: .9, Beta2: .5} },
		"momentum": func(o update.Options) update.Rule { return update.Momentum{Options: o, Momentum: .9, LRInside: true} },
	}
	for name, of := range rules {
		for _, way := range []struct{ update, decay bool }{{true, false}, {true, true}, {false, true}} {
			r := of(update.Options{LR: lr, WeightDecay: decay, CautiousUpdate: way.update, CautiousDecay: way.decay})
			o := newOne(t, 4, r)
			mean := buffer(o, 0, slotNames(o, 0)[0])
			for i := range mean {
				mean[i] = 1
			}
			p := append([]float32(nil), params...)
			must(t, o.Step(p, grads))
			for i := range p {
				g := float64(grads[i])
				m := .9 + .1*g
				u := lr * math.Copysign(1, m)
				switch name {
				case "adam":
					u = lr * m / (1 - .9) / (math.Abs(g) + 1) // v is ½g², and c₂ is ½
				case "momentum":
					u = .9 + lr*g
				}
				part, agrees := lr*decay, agree[i]
				if way.decay && u*float64(params[i]) < 0 {
					part = 0
				}
				if way.update {
					u *= agrees * 2 // half of them agree
				}
				want := float64(params[i]) - (u + part*float64(params[i]))
				if math.Abs(float64(p[i])-want) > 1e-6*(1+math.Abs(want)) {
					t.Errorf("%s, %+v: parameter %d goes to %g, want %g", name, way, i, p[i], want)
				}
			}
		}
	}
}

// TestCautiousDecayOfStill has parameters that no step moves decay: as with 0, the product
// of both is at least 0.
func TestCautiousDecayOfStill(t *testing.T) {
	o := newOne(t, 2, update.Adam{Options: update.Options{LR: .5, WeightDecay: .5, CautiousDecay: true}, Beta1: .9, Beta2: .9, Eps: 1e-8})
	p := []float32{4, -4}
	must(t, o.Step(p, []float32{0, 0}))
	if p[0] != 3 || p[1] != -3 {
		t.Errorf("parameters without gradients go to %g, want 3 and -3", p)
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
	must(t, newOne(t, n, update.Lion{Options: update.Options{CautiousDecay: true}}).Begin())
}

// TestCautiousSmallest has the smallest gradients agree: they have a sign, whatever counts of
// them in means.
func TestCautiousSmallest(t *testing.T) {
	o := newOne(t, 2, update.Adam{Options: update.Options{LR: .1, CautiousUpdate: true}, Beta1: .9, Beta2: .9, Eps: 1e-8})
	m := buffer(o, 0, "m")
	m[0], m[1] = 1, 1
	p := []float32{0, 0}
	must(t, o.Step(p, []float32{0x1p-149, -0x1p-149}))
	if !(p[0] < 0) || p[1] != 0 {
		t.Errorf("parameters go to %g, want the first alone to move", p)
	}
}
