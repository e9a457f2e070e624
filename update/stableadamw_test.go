package update_test

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestStableAdamWClips has gradients of 1 and then of 10: where no gradient outgrows its
// mean of squares the steps are AdamW's, and the one that does is shorter by its RMS.
func TestStableAdamWClips(t *testing.T) {
	o := newOne(t, 2, update.StableAdamW{Options: update.Options{LR: .5, WeightDecay: .5}, Beta1: .9, Beta2: .99, Eps: 1e-8})
	adamW := newOne(t, 2, update.Adam{Options: update.Options{LR: .5, WeightDecay: .5}, Beta1: .9, Beta2: .99, Eps: 1e-8})
	p, q := []float32{10, -10}, []float32{10, -10}
	for step := 1; step <= 5; step++ {
		g := []float32{1, -1}
		if step == 5 {
			g = []float32{10, -1}
		}
		from := append([]float32{}, p...)
		copy(q, p)
		must(t, o.Step(p, g))
		must(t, adamW.Step(q, g))
		v := func(g float64) float64 {
			return (.01*(.99+.99*.99+.99*.99*.99+math.Pow(.99, 4)) + .01*g*g) / (1 - math.Pow(.99, 5))
		}
		rms := 1.0
		if step == 5 {
			rms = math.Sqrt((100/v(10) + 1/v(1)) / 2)
		}
		for i := range p {
			if got, want := float64(p[i]-from[i]), float64(q[i]-from[i])/rms; math.Abs(got-want) > 1e-5*math.Abs(want) {
				t.Errorf("step %d moves by %g, want AdamW's %g over %g", step, got, want*rms, rms)
			}
		}
	}
}
