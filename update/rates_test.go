package update_test

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestRates sets learning rates that only one part of one rule cannot take, in each of
// the ways there are to set one. What is refused leaves all rates as they were.
func TestRates(t *testing.T) {
	options := func(o update.Options) update.Options { o.LR = 1e-3; return o }
	for name, c := range map[string]struct {
		rule update.Rule
		most float64 // the largest rate, or a bit more
	}{
		"WeightDecay":      {update.SGD{Options: options(update.Options{WeightDecay: 1e30})}, math.MaxFloat32 / 1e30},
		"L2":               {update.SGD{Options: options(update.Options{L2: 1e30})}, math.MaxFloat32 / 1e30},
		"L1":               {update.SGD{Options: options(update.Options{L1: 1e30})}, math.MaxFloat32 / 1e30},
		"Beta1":            {update.Adam{Options: options(update.Options{}), Beta1: .9999, Beta2: .999, Eps: 1e-8}, math.MaxFloat32 * (1 - .9999)},
		"Eps":              {update.Adam{Options: options(update.Options{L1: 1, Proximal: true}), Beta1: .9, Beta2: .999, Eps: 1e-8}, math.MaxFloat32 * 1e-8},
		"AdaGrad's Eps":    {update.AdaGrad{Options: options(update.Options{L1: 1, Proximal: true}), Eps: 1e-8}, math.MaxFloat32 * 1e-8},
		"EpsRoot":          {update.Adam{Options: options(update.Options{L1: 1, Proximal: true}), Beta1: .9, Beta2: .999, EpsRoot: 1e-16}, math.MaxFloat32 * 1e-8},
		"Eps inside":       {update.AdaGrad{Options: options(update.Options{L1: 1, Proximal: true}), Eps: 1e-16, EpsInside: true}, math.MaxFloat32 * 1e-8},
		"an accumulator":   {update.AdaGrad{Options: options(update.Options{L1: 1, Proximal: true}), InitialAccumulator: 1e-16}, math.MaxFloat32 * 1e-8},
		"no bias to mend":  {update.Adam{Options: options(update.Options{}), Beta1: .9999, Beta2: .999, Eps: 1e-8, NoBiasCorrection: true}, math.MaxFloat32},
		"nothing but rate": {plainSGD, math.MaxFloat32},
	} {
		small, large := c.most*(1-1e-6), c.most*(1+1e-6)
		o, _, _ := newSet(t, []int{1, 1}, update.SGD{Options: update.Options{LR: 1e-3}}, c.rule)
		must(t, o.SetRuleLR(1, small))
		wantArg(t, name, o.SetRuleLR(1, large), "lr")
		must(t, o.SetRuleLR(1, 1e-3))

		saved, err := o.Export()
		must(t, err)
		saved.Rules[1].LR = large
		wantArg(t, name+", imported", o.Import(saved), "lr")
		if large <= math.MaxFloat32 { // the first rule takes it
			wantArg(t, name+", by SetLR", o.SetLR(large), "lr")
		}
		for k := range 2 {
			if lr, err := o.RuleLR(k); err != nil || lr != 1e-3 {
				t.Errorf("%s: rule %d has the rate %g after errors (%v)", name, k, lr, err)
			}
		}
		if large <= math.MaxFloat32 {
			must(t, o.SetLR(small))
		}
	}
}

// TestSetLRRatio keeps the ratio of the rules' rates, that which their options had.
func TestSetLRRatio(t *testing.T) {
	o, _, _ := newSet(t, []int{1, 1, 1}, update.SGD{Options: update.Options{LR: .5}}, update.SGD{Options: update.Options{LR: 2}}, update.SGD{})
	must(t, o.SetRuleLR(1, 7)) // which is not the ratio
	must(t, o.SetLR(.25))
	for k, want := range []float64{.25, 1, 0} {
		if lr, err := o.RuleLR(k); err != nil || lr != want {
			t.Errorf("rule %d has the rate %g, want %g (%v)", k, lr, want, err)
		}
	}
	if o.LR() != .25 {
		t.Errorf("LR is %g", o.LR())
	}
	o, _, _ = newSet(t, []int{1, 1}, update.SGD{}, update.SGD{Options: update.Options{LR: 2}})
	must(t, o.SetLR(.5)) // of no ratio to 0
	for k := range 2 {
		if lr, err := o.RuleLR(k); err != nil || lr != .5 {
			t.Errorf("rule %d has the rate %g, want 0.5 (%v)", k, lr, err)
		}
	}
}

// TestGetters reads what was set, and what holds before.
func TestGetters(t *testing.T) {
	o := newOne(t, 3, plainSGD)
	if o.GradScale() != 1 || !math.IsInf(o.MaxNorm(), 1) || o.GradNorm() != 0 || o.LR() != .1 || o.Len() != 3 {
		t.Errorf("at first the scale is %g, the largest norm %g, the norm %g, the rate %g, the length %d", o.GradScale(), o.MaxNorm(), o.GradNorm(), o.LR(), o.Len())
	}
	must(t, o.SetGradScale(.5))
	must(t, o.SetMaxNorm(2))
	must(t, o.Step(make([]float32, 3), []float32{6, 0, 8}))
	if o.GradScale() != .5 || o.MaxNorm() != 2 || o.GradNorm() != 5 {
		t.Errorf("the scale is %g, the largest norm %g, the norm %g, want .5, 2 and 5", o.GradScale(), o.MaxNorm(), o.GradNorm())
	}
}
