package registry

import (
	"errors"
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestEnormousRates gives every rule rates up to the largest float32. Where the scalars of
// its first step are infinite it must refuse the rate: 0 times infinity would make NaN of
// parameters that have no gradient.
func TestEnormousRates(t *testing.T) {
	failed := map[string]bool{}
	check := func(what string, r update.Rule) (refused bool) {
		o, err := update.New(1, r)
		if err != nil {
			var e *update.ArgError
			if !errors.As(err, &e) || e.Arg != "LR" {
				t.Errorf("%s: %+v: the error is %v, want one about LR", what, r, err)
			}
			return true
		}
		for range 3 {
			p := []float32{0}
			must(t, o.Step(p, []float32{0}))
			if p[0] != 0 {
				failed[what] = true
				t.Errorf("%s: %+v: a parameter of 0 without a gradient becomes %g: its LR should be refused, see checkOwnRate", what, r, p[0])
				break
			}
		}
		return false
	}
	refused := 0
	each := func(what string, r update.Rule) {
		if y, ok := r.(update.Yogi); ok { // whose m may begin elsewhere than at 0, and moves parameters
			y.InitialAccumulator = 0
			r = y
		}
		for _, lr := range []float64{1e20, 1e30, 1e35, 1e37, 1e38, math.MaxFloat32} {
			if !failed[what] && check(what, With(r, func(o *update.Options) { o.LR, o.WeightDecay, o.L2 = lr, 0, min(o.L2, 1/lr) })) {
				refused++
			}
		}
	}
	for _, s := range Samples() {
		each(s.Name, s.Rule)
	}
	for _, e := range All() {
		for _, kind := range e.Random {
			for seed := range uint64(20) {
				d := NewDraw(seed)
				each(kind.Name, d.Penalized(kind.Draw(d)))
			}
		}
	}
	if refused == 0 {
		t.Error("no rate was refused")
	}
}
