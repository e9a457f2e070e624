package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// AdaBelief is Adam that divides by the root of what gradients are away from their mean
// (Zhuang et al. 2020). c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias.
//
//	m ← β₁·m + (1-β₁)·g
//	s ← β₂·s + (1-β₂)(g - m)² + EpsRoot
//	w ← w - lr/c₁ · m / (√(s/c₂) + Eps)
//
// Its state is "m" and "s", which begin at 0.
type AdaBelief struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is its own mean from the first step on.
	Eps          float64
	AllowZeroEps bool

	// EpsRoot is added to s in each step, as Optax's eps_root, so that s/c₂ settles at
	// EpsRoot/(1-Beta2) where gradients are steady: as β₂ is the float32 nearest to
	// Beta2, what is added has that of 1-β₂ too.
	EpsRoot float64
}

// Name is "adabelief".
func (AdaBelief) Name() string { return "adabelief" }

func (r AdaBelief) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2), notNegative("EpsRoot", r.EpsRoot),
		checkEps(r.Eps, leastRoot(r.Beta2, false), r.AllowZeroEps || r.epsIn() > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r AdaBelief) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

// epsIn is what is added to s.
func (r AdaBelief) epsIn() float32 {
	return float32(r.EpsRoot * (1 - beta2(r.Beta2)) / (1 - r.Beta2))
}

func (r AdaBelief) plan() engine.Plan {
	s := adaBelief{r, newMoments(r.Options, r.Beta1, r.Beta2, max(r.Eps, math.Sqrt(r.EpsRoot)), false)}
	return engine.Plan{State: s.slots("s"), Passes: engine.One(kernels.AdaBelief, s.scalars)}
}

// An adaBelief makes the scalars.
type adaBelief struct {
	AdaBelief
	moments
}

func (s *adaBelief) scalars(in *engine.StepInput) fallback.AdaBeliefScalars {
	eps, step := s.step(in.T, s.Eps, in.LR)
	return fallback.AdaBeliefScalars{Common: in.Common, Beta2: float32(s.Beta2), Root2: float32(s.Beta1 * root2(s.Beta2, false)), Small: s.small,
		EpsIn: s.epsIn(), Weight1: s.weight1, Eps: eps, Step: step}
}
