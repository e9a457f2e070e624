package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Yogi is Adam whose v changes by no more than a part of the squared gradient (Zaheer et
// al. 2018), so that a small gradient after large ones does not forget them. c₁ = 1-β₁ᵗ
// and c₂ = 1-β₂ᵗ correct the bias, as in Optax.
//
//	m ← β₁·m + (1-β₁)·g
//	v ← v - (1-β₂)·sign(v - g²)·g²
//	w ← w - lr/c₁ · m / (√(v/c₂) + Eps)
//
// Its state is "m" and "v", which begin at InitialAccumulator.
type Yogi struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)

	// InitialAccumulator is where m and v begin: Optax's initial_accumulator_value.
	InitialAccumulator float64

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root, √(v/c₂ + EpsRoot)
}

// Name is "yogi".
func (Yogi) Name() string { return "yogi" }

func (r Yogi) check() error {
	return firstError(
		r.noProximal(),
		checkRates(r.Beta1, r.Beta2),
		notNegative("InitialAccumulator", r.InitialAccumulator),
		notNegative("EpsRoot", r.EpsRoot),
		checkEps(r.Eps, r.leastRoot(), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

// leastRoot is the least factor that folding gives Eps.
func (r Yogi) leastRoot() float64 {
	if r.EpsRoot != 0 {
		return 1
	}
	return math.Sqrt(1 - r.Beta2)
}

func (r Yogi) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

func (r Yogi) plan() engine.Plan {
	s := yogi{r, newPower(r.Beta1), newPower(r.Beta2)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "m", First: engine.Constant(r.InitialAccumulator), Fades: r.Beta1},
			{Name: "v", First: engine.Constant(r.InitialAccumulator), Fades: 1, Square: true},
		},
		Passes: engine.One(kernels.Yogi, s.scalars),
	}
}

// A yogi makes the scalars. Kernels multiply nothing by β₂, and so it is as given.
type yogi struct {
	Yogi
	power1, power2 power
}

func (s *yogi) scalars(in *engine.StepInput) fallback.YogiScalars {
	small, _ := squareMasks(s.Options, s.Beta2, max(s.Eps, math.Sqrt(s.EpsRoot)))
	unbias, eps, lr := inRoot(s.power2.oneMinus(in.T), s.Eps, s.EpsRoot, in.LR, false)
	return fallback.YogiScalars{Common: in.Common, Weight1: fallback.Weight(s.Beta1), Root2: float32(math.Sqrt(1 - s.Beta2)), Small: small,
		Unbias: float32(unbias), EpsIn: float32(s.EpsRoot), Eps: float32(eps), Step: float32(lr / s.power1.oneMinus(in.T))}
}
