package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// FlushEvery is how many steps apart state is looked at, to make zeros of what is small;
// another value changes bits. Arithmetic on subnormal numbers is up to a hundred times
// slower than on others. What makes them is state that fades while gradients are 0, and
// squares of small gradients. Both are made zeros before, where that is invisible for the
// options given. State of at least 2⁻⁹⁵ that keeps half of itself in each step is above
// 2⁻¹¹¹ when it is looked at again, and in the steps between nothing but the arithmetic is
// left to do.
const FlushEvery = 16

// leastKept is what a step must leave of state that is not looked at in every step.
const leastKept = 0.5

// invisible is how much of eps may be missing from a divisor √v + eps.
const invisible = 0.015

// FlushMasks are those for the square of a gradient and for its mean v, whose root is
// taken beside eps: by how much x must be above to be squared, and v to be kept. Both
// are 0, and nothing is flushed, where it could be seen.
//
// A gradient x of which x²·(1-β₂) would be subnormal may be missing from v if x is
// nothing beside eps. A v that is made 0 in every 16th step is never more than
// 16·(1-β₂)·x² of a steady x, and the same holds. But v must not be subnormal before it
// is looked at again.
func FlushMasks(beta2, eps float64) (drop, flush fallback.Mask) {
	alpha := 1 - beta2
	if 0x1p-63 > invisible*eps*math.Sqrt(alpha) {
		return 0, 0
	}
	most := FlushEvery * alpha * (invisible * eps) * (invisible * eps)
	kept := beta2
	for range FlushEvery - 2 {
		kept *= beta2
	}
	if beta2 < leastKept { // it is looked at in every step
		kept = beta2
	}
	for exponent := 5; exponent >= 0; exponent-- { // 2⁻⁹⁵, 2⁻¹¹¹, 2⁻¹¹⁹, 2⁻¹²³, 2⁻¹²⁵, 2⁻¹²⁶
		biased := 1 << exponent
		least := math.Ldexp(1, biased-127)
		if least <= most && least*kept >= 0x1p-126 {
			return fallback.DropSquare, fallback.Mask(biased<<23 - 1)
		}
	}
	return 0, 0
}

// flushes reports whether a group's state is looked at in a step.
func (g *group) flushes(t int64) bool {
	return !g.KeepSubnormals && (t%FlushEvery == 0 || g.fades < leastKept)
}

// flush makes zeros of small state: see KeepSubnormals.
func (g *group) flush(table kernels.Table, w *Worker, t *tensor, lo, hi int, p, grad []float32) {
	for j, s := range g.State {
		switch {
		case s.goes():
			w.list.Set(w.state(t, j, lo, hi))
			kernels.Flush(table, &w.list, &g.small)
		case s.fadesAway():
			w.list.Set(w.state(t, j, lo, hi), grad)
			kernels.Fade(table, &w.list, &g.fade)
		}
	}
	if g.decays {
		w.list.Set(p, grad)
		kernels.Fade(table, &w.list, &g.fade)
	}
}

// goes reports whether what is small of a slot goes, fadesAway whether it does where the
// gradient has ceased.
func (s *Slot) goes() bool      { return s.Extent == PerElement && s.Square && s.Flushes != 0 }
func (s *Slot) fadesAway() bool { return s.Extent == PerElement && !s.Square && s.Fades < 1 }
