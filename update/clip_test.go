package update_test

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/update"
)

// pairs adds neighbours, then neighbours of those: the order of a norm's sum.
func pairs(x []float64) float64 {
	if len(x) == 1 {
		return x[0]
	}
	return pairs(x[:len(x)/2]) + pairs(x[len(x)/2:])
}

// TestNormOrder holds the last bit of the norm to the order of its sum: units of 16 Ki
// elements, of 32 lanes each, first those of large tensors, then of each rule's small
// ones together. Magnitudes that differ much tell one order from another.
func TestNormOrder(t *testing.T) {
	const unit, small = 16 << 10, 4 << 10
	sizes := []int{small, 5*unit + 3, 7, small + 1, 3 * unit, small, small, 1, small, small, small, small, small, 300}
	o, params, grads := newSet(t, sizes, plainSGD, heavyBall)
	for seed := range uint64(20) {
		for k := range grads {
			grads[k] = uniform(sizes[k], 100*seed+uint64(k))
			for i := range grads[k] {
				grads[k][i] *= float32(math.Ldexp(1, -i%7*3))
			}
		}
		var units []float64
		add := func(parts ...[]float32) {
			var lanes [fallback.Lanes]float64
			for _, x := range parts {
				fallback.SumSquares(x, &lanes)
			}
			units = append(units, fallback.Total(&lanes))
		}
		for k, n := range sizes {
			for lo := 0; n > small && lo < n; lo += unit {
				add(grads[k][lo:min(lo+unit, n)])
			}
		}
		for rule := range 2 {
			var parts [][]float32
			total := 0
			for k, n := range sizes {
				if k%2 == rule && n <= small {
					parts, total = append(parts, grads[k]), total+n
				}
				if total >= unit {
					add(parts...)
					parts, total = nil, 0
				}
			}
			if len(parts) > 0 {
				add(parts...)
			}
		}
		if len(units) != 6+1+3+3 {
			t.Fatalf("%d units", len(units))
		}
		must(t, o.SetMaxNorm(1e30))
		must(t, o.StepSet(params, grads))
		if want := math.Sqrt(pairs(units)); o.GradNorm() != want {
			t.Fatalf("the norm is %b, want %b", o.GradNorm(), want)
		}
	}
}

// TestClipAtNorm has gradients whose norm is the largest one to the bit, which are not
// clipped, and a bit below it, which are.
func TestClipAtNorm(t *testing.T) {
	step := func(most float64) float32 {
		o, p := newOne(t, 2, update.SGD{Options: update.Options{LR: 1}}), make([]float32, 2)
		must(t, o.SetMaxNorm(most))
		must(t, o.Step(p, []float32{3, 4}))
		return p[0]
	}
	for most, want := range map[float64]float32{5: -3, 6: -3, 2.5: -1.5, math.Inf(1): -3} {
		if got := step(most); got != want {
			t.Errorf("a norm of 5 with at most %g: a step of %g, want %g", most, got, want)
		}
	}
}

// TestClipRounds has factors whose product is rounded once, after it was made as float64.
func TestClipRounds(t *testing.T) {
	differ := 0
	for k := range 200 {
		scale, most := 1/float64(3+k), 1e-3*float64(7+k)
		o, p := newOne(t, 2, update.SGD{Options: update.Options{LR: 1}}), make([]float32, 2)
		must(t, o.SetGradScale(scale))
		must(t, o.SetMaxNorm(most))
		must(t, o.Step(p, []float32{1, 3}))
		clip := most / o.GradNorm()
		if want := -float32(scale * clip); o.GradNorm() > most && p[0] != want {
			t.Errorf("a scale of %g and a clip of %g step to %g, want %g", scale, clip, p[0], want)
		} else if float32(scale)*float32(clip) != -want {
			differ++
		}
	}
	if differ < 20 {
		t.Errorf("%d products would be rounded otherwise", differ)
	}
}
