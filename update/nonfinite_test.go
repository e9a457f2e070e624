package update_test

import (
	"errors"
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// A spot is an element of a gradient.
type spot struct{ tensor, i int }

// TestNamed puts what no rule can take into one tensor or several, small ones that share
// calls and large ones of several units, and wants the first of them named.
func TestNamed(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	sizes := []int{70, 40000, 3, 0, 5000, 9, 4000, 40000, 1}
	for _, spots := range [][]spot{
		{{0, 0}}, {{0, 69}}, {{2, 2}}, {{5, 8}}, {{6, 3999}}, {{8, 0}}, {{1, 0}}, {{1, 39999}}, {{4, 4999}}, {{7, 20000}},
		{{6, 1}, {4, 2}}, {{4, 2}, {5, 0}}, {{8, 0}, {7, 39999}}, {{7, 1}, {2, 0}, {5, 3}}, {{8, 0}, {2, 1}}, {{1, 5}, {0, 5}},
	} {
		for _, bad := range []float32{nan, inf, -inf, 0x1p64, -0x1p64} { // whose square is infinite
			o, params, grads := newSet(t, sizes, plainAdam, heavyBall, plainAdam)
			must(t, o.SetPolicy(update.Refuse))
			want := update.NonFiniteError{Tensor: len(sizes)}
			for _, s := range spots {
				grads[s.tensor][s.i] = bad
				if !(bad == bad) || math.Abs(float64(bad)) > 0x1p100 || s.tensor%3 != 1 { // momentum squares nothing
					want.Count++
					want.Tensor = min(want.Tensor, s.tensor)
				}
			}
			err := o.StepSet(params, grads)
			var e *update.NonFiniteError
			switch {
			case want.Count == 0:
				must(t, err)
				continue
			case !errors.As(err, &e):
				t.Fatalf("%g at %v: the error is %v", bad, spots, err)
			}
			if want.Name = name(want.Tensor); *e != want {
				t.Errorf("%g at %v: the error is %+v, want %+v", bad, spots, *e, want)
			}
			if o.NonFinite() != want.Count || o.Skipped() != 1 || o.Steps() != 0 {
				t.Errorf("%g at %v: %d beyond, %d skipped, %d steps", bad, spots, o.NonFinite(), o.Skipped(), o.Steps())
			}
		}
	}
}

// TestInfinityScaled has infinities that a scale below 1 leaves what they are.
func TestInfinityScaled(t *testing.T) {
	for _, r := range []update.Rule{plainSGD, plainAdam} {
		for _, scale := range []float64{1, .5, 1e-30, 1e30} {
			o, p := newOne(t, 3, r), []float32{1, 1, 1}
			must(t, o.SetPolicy(update.Skip))
			must(t, o.SetGradScale(scale))
			must(t, o.Step(p, []float32{1e-20, float32(math.Inf(-1)), 0}))
			if o.NonFinite() != 1 || o.Skipped() != 1 {
				t.Errorf("%s, scale %g: %d beyond, %d skipped", r.Name(), scale, o.NonFinite(), o.Skipped())
			}
		}
	}
}

// TestBeyondClipped has gradients whose squares are infinite, or are not, scaled and clipped
// to a norm: what clipping leaves small enough is let through.
func TestBeyondClipped(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		g           float32
		scale, most float64
		want        int64
	}{
		{0x1.4p63, 1, inf, 1}, {0x1.4p62, 1, inf, 0}, {0x1.4p64, .5, inf, 1}, {0x1.4p63, .5, inf, 0}, {0x1.4p62, 2, inf, 1}, {0x1.4p61, 2, inf, 0},
		{0x1.4p63, 1, 1, 0}, {0x1.4p62, 2, 1, 0}, {math.MaxFloat32, 1, 1, 0}, {math.MaxFloat32, 1e30, 1, 0},
		{0x1.4p64, 1, 0x1p64, 1}, {0x1.4p64, .5, 0x1p63, 0}, {0x1.4p64, 2, 0x1.1p63, 1}, {0x1.4p62, 1, 0x1p64, 0},
		{float32(inf), 1, 1, 1}, {float32(inf), 1e-30, 1, 1}, {float32(math.NaN()), 1, 1, 1},
	} {
		o := newOne(t, 2, plainAdam)
		must(t, o.SetPolicy(update.Skip))
		must(t, o.SetGradScale(c.scale))
		must(t, o.SetMaxNorm(c.most))
		must(t, o.Step([]float32{1, 1}, []float32{c.g, 0}))
		if o.NonFinite() != c.want || o.Skipped() != c.want {
			t.Errorf("%g scaled by %g, with a norm of at most %g: %d beyond, %d skipped, want %d", c.g, c.scale, c.most, o.NonFinite(), o.Skipped(), c.want)
		}
	}
}
