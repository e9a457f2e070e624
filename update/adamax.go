package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Adamax is Adam in the infinity norm (Kingma, Ba 2015, section 7.1), and Optax' adamaxw
// where WeightDecay is not 0. c₁ = 1-β₁ᵗ corrects the bias.
//
//	m ← m + (1-β₁)(g - m)
//	u ← max(β₂·u, |g|)
//	w ← w - lr/c₁ · m / (u + Eps)
//
// Its state is "m" and "u", which begin at 0.
type Adamax struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no
	// gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	// EpsInside adds Eps inside the maximum, max(β₂·u, |g| + Eps), and divides by that
	// alone, as PyTorch and Optax do.
	EpsInside bool
}

// Name is "adamax".
func (Adamax) Name() string { return "adamax" }

func (r Adamax) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2), checkEps(r.Eps, 1, r.AllowZeroEps, "AllowZeroEps"))
}

func (r Adamax) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

func (r Adamax) plan() engine.Plan {
	s := adamax{r, newPower(r.Beta1)}
	return engine.Plan{State: []engine.Slot{{Name: "m", Fades: r.Beta1}, {Name: "u", Fades: r.fades()}}, Passes: engine.One(kernels.Adamax, s.scalars)}
}

// fades is what a step leaves of u, which is not let go where that shows beside Eps.
func (r Adamax) fades() float64 {
	if r.Eps < 0x1p-88 {
		return 1
	}
	return r.Beta2
}

// An adamax makes the scalars.
type adamax struct {
	Adamax
	power power
}

func (s *adamax) scalars(in *engine.StepInput) fallback.AdamaxScalars {
	inside, outside := placeEps(s.Eps, s.EpsInside)
	return fallback.AdamaxScalars{Common: in.Common, Weight1: fallback.Weight(s.Beta1), Beta2: float32(s.Beta2),
		EpsIn: inside, Eps: outside, Step: float32(in.LR / s.power.oneMinus(in.T))}
}
