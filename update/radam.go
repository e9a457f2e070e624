package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// RAdam is Adam that is rectified (Liu et al. 2020): it divides by the root once v is of
// gradients enough, which ρ says, and by nothing before. c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ
// correct the bias.
//
//	m ← m + (1-β₁)(g - m)
//	v ← β₂·v + (1-β₂)·g²
//	ρ∞ = 2/(1-β₂) - 1, ρ = ρ∞ - 2t·β₂ᵗ/c₂
//	r = √((ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ))
//	w ← w - lr/c₁ · m · r / (√(v/c₂) + Eps)        where ρ ≥ Threshold
//	w ← w - lr/c₁ · m                              before
//
// Its state is "m" and "v", which begin at 0.
type RAdam struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam, but ρ is of Beta2 as given

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root, as Optax's eps_root
	EpsHat  bool    // adds Eps before the bias is corrected, as PyTorch does here: see Adam

	// Threshold is the least ρ with which the step is rectified: 5 in Optax and PyTorch,
	// where ρ must exceed it. Below 4, where r has no root, it means 4.
	Threshold float64

	// Nesterov looks ahead, as NAdam with ConstantMomentum: Optax's nesterov.
	Nesterov bool
}

// Name is "radam".
func (RAdam) Name() string { return "radam" }

func (r RAdam) check() error {
	return firstError(
		r.noProximal(),
		checkRates(r.Beta1, r.Beta2),
		notNegative("EpsRoot", r.EpsRoot),
		checkEpsRoot(r.EpsRoot, r.EpsHat),
		notNegative("Threshold", r.Threshold),
		checkEps(r.Eps, leastRoot(r.Beta2, r.EpsHat || r.EpsRoot != 0), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r RAdam) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

func (r RAdam) plan() engine.Plan {
	s := radam{r, newMoments(r.Options, r.Beta1, r.Beta2, max(r.Eps, math.Sqrt(r.EpsRoot)), false), newRectification(r.Beta2)}
	return engine.Plan{State: s.slots("v"), Passes: engine.One(kernels.RAdam, s.scalars)}
}

// A radam makes the scalars.
type radam struct {
	RAdam
	moments
	rectification rectification
}

func (s *radam) scalars(in *engine.StepInput) fallback.RAdamScalars {
	c1, c2 := s.corrections(in.T)
	unbias, eps, lr := inRoot(c2, s.Eps, s.EpsRoot, in.LR, s.EpsHat)
	rectified, adapts := s.rectified(in.T)
	if adapts == 0 {
		lr = in.LR
	}
	direct, step := s.parts(in.T, c1)
	return fallback.RAdamScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Unbias:  float32(unbias),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(eps),
		Direct:  float32(lr * rectified * direct),
		Step:    float32(lr * rectified * step),
		Adapts:  adapts,
	}
}

// rectified is r, and 1 where the step is divided by the root; before, it is 1 and 0.
func (s *radam) rectified(t int64) (r float64, adapts float32) {
	rho := s.rectification.length(t)
	if !(rho >= max(s.Threshold, 4)) {
		return 1, 0
	}
	return math.Sqrt(s.rectification.square(rho)), 1
}

// parts are the factors of gradient and mean in a step of length 1.
func (s *radam) parts(t int64, c1 float64) (direct, step float64) {
	if s.Nesterov {
		return (1 - s.Beta1) / c1, s.Beta1 / s.power1.oneMinus(t+1)
	}
	return 0, 1 / c1
}

// A rectification is ρ and r of RAdam.
type rectification struct {
	most  float64 // ρ∞
	given power   // of Beta2 as given: 1-β₂ of a float32 would show in ρ
}

func newRectification(beta2 float64) rectification {
	return rectification{2/(1-beta2) - 1, newPower(beta2)}
}

// length is ρ at step t.
func (r *rectification) length(t int64) float64 {
	c2 := r.given.oneMinus(t)
	return r.most - float64(2*float64(t)*(1-c2)/c2)
}

// square is r² where ρ is above 4. It is 1 where ρ is ρ∞.
func (r *rectification) square(rho float64) float64 {
	return (rho - 4) * (rho - 2) * r.most / ((r.most - 4) * (r.most - 2) * rho)
}
