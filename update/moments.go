package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
)

// moments are what rules share that keep running means that begin at 0: m of the gradient
// and v of a square. c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias, unless they are 1.
type moments struct {
	power1, power2 power
	beta1, beta2   float64 // as given
	uncorrected    bool

	weight1, root2 float32       // scalars of m and v: see fallback.Weight, and √(1-β₂)
	small, flush   fallback.Mask // of squares: see squareMasks
}

// newMoments makes those of decay rates. Beside visible, added to the root of v, what is
// below a part of it is not seen.
func newMoments(o Options, b1, b2, visible float64, uncorrected bool) moments {
	m := moments{power1: newPower(b1), power2: newPower(beta2(b2)), beta1: b1, beta2: b2, uncorrected: uncorrected,
		weight1: fallback.Weight(b1), root2: float32(root2(b2, uncorrected))}
	m.small, m.flush = squareMasks(o, b2, visible)
	return m
}

// root2 is √(1-β₂): of the float32 that β₂ is where the bias is corrected, which makes up
// for the difference.
func root2(b2 float64, uncorrected bool) float64 {
	if uncorrected {
		return math.Sqrt(1 - b2)
	}
	return math.Sqrt(1 - beta2(b2))
}

// beta2 is the rate that kernels have.
func beta2(x float64) float64 { return float64(float32(x)) }

// squareMasks are those of small squares, and of their small means: see engine.FlushMasks.
func squareMasks(o Options, b2, visible float64) (drop, flush fallback.Mask) {
	if o.KeepSubnormals {
		return 0, 0
	}
	return engine.FlushMasks(beta2(b2), visible)
}

// slots are m, and v under a name.
func (m *moments) slots(v string) []engine.Slot {
	return []engine.Slot{{Name: "m", Fades: m.beta1}, {Name: v, Fades: m.beta2, Square: true, Flushes: m.flush}}
}

// corrections are c₁ and c₂ at step t.
func (m *moments) corrections(t int64) (c1, c2 float64) {
	if m.uncorrected {
		return 1, 1
	}
	return m.power1.oneMinus(t), m.power2.oneMinus(t)
}

// folded are eps and the step size for a root whose bias is not corrected: both are
// multiplied by √c₂, which corrects the quotient with one rounding less.
func folded(c2, eps, lr float64) (foldedEps, step float64) {
	root := math.Sqrt(c2)
	return eps * root, lr * root
}

// inRoot are the root's factor, eps and step size, but for c₁: where something is added
// inside the root, its bias must be corrected there. A hat is an eps for the root whose
// bias is not corrected.
func inRoot(c2, eps, epsRoot, lr float64, hat bool) (unbias, foldedEps, step float64) {
	if epsRoot != 0 {
		return 1 / c2, eps, lr
	}
	if foldedEps, step = folded(c2, eps, lr); hat {
		foldedEps = eps
	}
	return 1, foldedEps, step
}

// step is the scalars of m·step / (√v + eps) at step t.
func (m *moments) step(t int64, eps, lr float64) (foldedEps, step float32) {
	c1, c2 := m.corrections(t)
	eps, lr = folded(c2, eps, lr)
	return float32(eps), float32(lr / c1)
}

// checkRates refuses decay rates.
func checkRates(b1, b2 float64) error {
	return firstError(decayRate("Beta1", b1), decayRate("Beta2", b2))
}

// checkEpsRoot refuses what no framework has: an eps inside the root of a v whose bias is
// not corrected.
func checkEpsRoot(epsRoot float64, hat bool) error {
	if epsRoot != 0 && hat {
		return &ArgError{"EpsRoot", epsRoot, "0 with EpsHat"}
	}
	return nil
}

// leastRoot is the least factor that folding gives eps, that of the first step.
func leastRoot(b2 float64, uncorrected bool) float64 {
	if uncorrected {
		return 1
	}
	return root2(b2, false)
}

// checkFirst refuses a rate that c₁ divides to more than a float32, as it does most in the
// first step.
func checkFirst(arg string, lr, b1 float64, uncorrected bool) error {
	if uncorrected {
		return nil
	}
	return checkStep(arg, lr, 1-b1, "1 - Beta1")
}
