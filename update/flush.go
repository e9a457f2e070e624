package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
)

// Arithmetic on subnormal numbers is up to a hundred times slower than on others. What
// makes them is state that fades while gradients are 0, and squares of small gradients.
// Both are made zeros before, where that is invisible for the options given.
//
// flushEvery is how many steps apart state is looked at; another value changes bits.
// State of at least 2⁻⁹⁵ that keeps half of itself in each step is above 2⁻¹¹¹ when it is
// looked at again, and in the steps between nothing but the arithmetic is left to do.
const flushEvery, leastKept = 16, 0.5

// invisible is how much of eps may be missing from a divisor √v + eps.
const invisible = 0.015

// flushMasks are those for the square of a gradient and for its mean v, whose root is
// taken beside eps: by how much x must be above to be squared, and v to be kept. Both
// are 0, and nothing is flushed, where it could be seen.
//
// A gradient x of which x²·(1-β₂) would be subnormal may be missing from v if x is
// nothing beside eps. A v that is made 0 in every 16th step is never more than
// 16·(1-β₂)·x² of a steady x, and the same holds. But v must not be subnormal before it
// is looked at again.
func flushMasks(beta2, eps float64) (drop, flush fallback.Mask) {
	alpha := 1 - beta2
	if 0x1p-63 > invisible*eps*math.Sqrt(alpha) {
		return 0, 0
	}
	most := flushEvery * alpha * (invisible * eps) * (invisible * eps)
	kept := beta2
	for range flushEvery - 2 {
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
	return !g.options.KeepSubnormals && (t%flushEvery == 0 || g.fades < leastKept)
}
