package update_test

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestLAMBKeeps has a moment that goes in a 16th step of other rules: with a gradient that
// has ceased, the parameter moves by a part of itself, however small the moment is.
func TestLAMBKeeps(t *testing.T) {
	for _, n := range []int{1, 5000} {
		o, p, g := newOne(t, n, update.LAMB{Options: update.Options{LR: .25}, Beta1: .9, Beta2: .99, Eps: 1e-6}), make([]float32, n), make([]float32, n)
		for i := range p {
			p[i], buffer(o, 0, "m")[i] = 1e-20, 1e-29
		}
		must(t, o.SetSteps(15))
		must(t, o.Step(p, g))
		for i, x := range p {
			if m := buffer(o, 0, "m")[i]; math.Abs(float64(x)-.75e-20) > 1e-26 || math.Abs(float64(m)-9e-30) > 1e-35 {
				t.Fatalf("element %d of %d moves to %g with a moment of %g, want 7.5e-21 and 9e-30", i, n, x, m)
			}
		}
	}
}

// TestTrust holds the trust ratio to its formula, over all of a tensor, and to 1 where one
// of the norms is 0.
func TestTrust(t *testing.T) {
	r := update.LAMB{Options: update.Options{LR: .5}, Eps: 1, NoBiasCorrection: true} // u = g / (|g| + 1)
	for _, c := range []struct{ p, g, want []float32 }{
		{[]float32{3, 4}, []float32{1, 0}, []float32{.5, 4}},                 // norms 5 and ½
		{[]float32{3, 4}, []float32{0, 0}, []float32{3, 4}},                  // no step
		{[]float32{0, 0}, []float32{1, -1}, []float32{-.25, .25}},            // no parameters
		{[]float32{0, 6}, []float32{-1, 1}, []float32{2.1213202, 3.8786798}}, // 6 and √½
	} {
		o, p := newOne(t, 2, r), append([]float32(nil), c.p...)
		must(t, o.Step(p, c.g))
		for i := range p {
			if math.Abs(float64(p[i]-c.want[i])) > 1e-6 {
				t.Errorf("%g with gradients %g moves to %g, want %g", c.p, c.g, p, c.want)
			}
		}
	}
}

// TestTrustIsFinite has gradients so small beside eps that the trust ratio is no float32:
// the step ends where float32 does, and parameters without a gradient stay.
func TestTrustIsFinite(t *testing.T) {
	for _, g := range []float32{1e-45, 1e-42, 1e-39, 1e-36} {
		o := newOne(t, 3, update.LAMB{Options: update.Options{LR: 1e-2}, Beta1: .9, Beta2: .999, Eps: 1})
		p := []float32{1e3, 1e3, 1e3}
		must(t, o.Step(p, []float32{g, 0, -g}))
		if !(p[0] <= 1e3 && p[0] > 980 && p[1] == 1e3 && p[2] >= 1e3 && p[2] < 1020) {
			t.Errorf("gradients of %g move 1000 to %g", g, p)
		}
	}
}
