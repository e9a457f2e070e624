package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Adan is Adam with Nesterov's momentum made of the gradient's change (Xie et al. 2022).
// cₖ = 1-βₖᵗ correct the bias; βₖ are what a step keeps, 1 less the paper's.
//
//	y = g - prev, 0 in the first step
//	m ← β₁·m + (1-β₁)·g
//	diff ← β₂·diff + (1-β₂)·y
//	v ← β₃·v + (1-β₃)(g + β₂·y)²
//	w ← w - lr · (m/c₁ + β₂·diff/c₂) / (√(v/c₃) + Eps)
//
// Its state is "m", "diff", "v" and "prev", the gradient before, which begin at 0.
// WeightDecay is decoupled as for all rules; the paper's divides by 1 + lr·WeightDecay.
type Adan struct {
	Options

	// Beta1, Beta2 and Beta3 are in [0, 1 - 3e-8). β₃ is the float32 nearest to Beta3.
	Beta1, Beta2, Beta3 float64

	// OptaxAhead has 1-β₂ where the formula multiplies y and diff by β₂, as Optax does.
	OptaxAhead bool

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root, √(v/c₃ + EpsRoot), as Optax's eps_root
}

// Name is "adan".
func (Adan) Name() string { return "adan" }

func (r Adan) check() error {
	return firstError(
		r.noProximal(),
		checkRates(r.Beta1, r.Beta2),
		decayRate("Beta3", r.Beta3),
		notNegative("EpsRoot", r.EpsRoot),
		checkEps(r.Eps, leastRoot(r.Beta3, r.EpsRoot != 0), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r Adan) checkOwnRate(arg string, lr float64) error {
	return firstError(checkFirst(arg, lr, r.Beta1, false), checkStep(arg, lr, 1-r.Beta2, "1 - Beta2"))
}

func (r Adan) plan() engine.Plan {
	s := adan{r, newMoments(r.Options, r.Beta1, r.Beta3, max(r.Eps, math.Sqrt(r.EpsRoot)), false), newPower(r.Beta2)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "m", Fades: r.Beta1},
			{Name: "diff", Fades: r.Beta2},
			{Name: "v", Fades: r.Beta3, Square: true, Flushes: s.flush},
			{Name: "prev", Fades: 1}, // it is a gradient, which is 0 where it is small
		},
		Passes: engine.One(kernels.Adan, s.scalars),
	}
}

// An adan makes the scalars.
type adan struct {
	Adan
	moments   // of β₁ and β₃
	powerDiff power
}

func (s *adan) scalars(in *engine.StepInput) fallback.AdanScalars {
	c1, c3 := s.corrections(in.T)
	unbias, eps, lr := inRoot(c3, s.Eps, s.EpsRoot, in.LR, false)
	ahead, started := s.Beta2, 1.
	if s.OptaxAhead {
		ahead = 1 - s.Beta2
	}
	if in.T == 1 {
		started = 0
	}
	return fallback.AdanScalars{
		Common:  in.Common,
		Started: float32(started),
		Weight1: s.weight1,
		Weight2: fallback.Weight(s.Beta2),
		Beta3:   float32(s.Beta3),
		Root3:   s.root2,
		Small:   s.small,
		Ahead:   float32(ahead),
		Unbias:  float32(unbias),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(eps),
		Step:    float32(lr / c1),
		Direct:  float32(lr * ahead / s.powerDiff.oneMinus(in.T)),
	}
}
