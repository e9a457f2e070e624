package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// LaProp is Adam that divides gradients by the root before it takes their mean (Ziyin,
// Wang, Ueda 2020), so that β₁ and β₂ are free of each other. c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ
// correct the bias.
//
//	v ← β₂·v + (1-β₂)·g²
//	m ← β₁·m + (1-β₁)·g / (√(v/c₂) + Eps)
//	w ← w - lr/c₁ · m
//
// Its state is "m" and "v", which begin at 0. That m is multiplied by the learning rate of
// the step that it moves parameters in, not by those of the steps that it is of.
type LaProp struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no
	// gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool
}

// Name is "laprop".
func (LaProp) Name() string { return "laprop" }

func (r LaProp) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2),
		checkEps(r.Eps, leastRoot(r.Beta2, false), r.AllowZeroEps, "AllowZeroEps"))
}

func (r LaProp) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

func (r LaProp) plan() engine.Plan {
	s := laProp{r, newMoments(r.Options, r.Beta1, r.Beta2, r.Eps, false)}
	return engine.Plan{State: s.slots("v"), Passes: engine.One(kernels.LaProp, s.scalars)}
}

// A laProp makes the scalars.
type laProp struct {
	LaProp
	moments
}

func (s *laProp) scalars(in *engine.StepInput) fallback.LaPropScalars {
	c1, c2 := s.corrections(in.T)
	root := math.Sqrt(c2)
	return fallback.LaPropScalars{Common: in.Common, Beta2: float32(s.Beta2), Root2: s.root2, Small: s.small,
		Input: float32(root), Eps: float32(s.Eps * root), Weight1: s.weight1, Step: float32(in.LR / c1)}
}
