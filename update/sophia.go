package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Sophia divides the mean of gradients by an estimate of the Hessian's diagonal, and clips
// the quotient element by element (Liu et al. 2023).
//
//	m ← β₁·m + (1-β₁)·g
//	u = clamp(m̂ / max(Gamma·h, Eps), ±Clip)    m̂ = m, or m/(1-β₁ᵗ) with BiasCorrected
//	w ← w - lr·u
//
// Its state is "m" and "h", which begin at 0. A step only reads h, which moves to what the
// caller has estimated, every ten steps or so. Until then, as where h is negative, all but
// the smallest m are clipped, and steps follow signs.
type Sophia struct {
	Options
	Beta1, Beta2 float64 // of m, and of h where an estimate moves it; in [0, 1 - 3e-8)

	// Gamma is of h in the divisor, not negative: of their estimates, which are squares of
	// the gradients of a batch with sampled labels, the authors have its size times ρ.
	Gamma float64

	// Eps is the least divisor. It may be 0 where AllowZeroEps says that no gradient is 0
	// before there is an estimate.
	Eps          float64
	AllowZeroEps bool

	// Clip is the largest quotient, positive: Optax' clip_threshold, 1 with the authors. One
	// that no quotient reaches, such as 1e30, is for none.
	Clip          float64
	BiasCorrected bool // m is divided by 1-β₁ᵗ, as in Optax
}

// Name is "sophia".
func (Sophia) Name() string { return "sophia" }

func (r Sophia) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2),
		notNegative("Gamma", r.Gamma), checkEps(r.Eps, 1, r.AllowZeroEps, "AllowZeroEps"), r.checkClip())
}

// checkClip refuses a Clip of which nothing moves.
func (r Sophia) checkClip() error {
	if !(float32(r.Clip) > 0) {
		return &ArgError{"Clip", r.Clip, "a number above 0"}
	}
	return notNegative("Clip", r.Clip)
}

func (r Sophia) checkOwnRate(arg string, lr float64) error {
	if lr == 0 && float32(r.Eps) == 0 {
		return &ArgError{arg, lr, "above 0 with an Eps of 0: 0/0 would be the step where h is 0"}
	}
	if lr > 0 && float32(lr*r.Clip) == 0 {
		return &ArgError{arg, lr, "one whose product with Clip float32 tells from 0"}
	}
	return firstError(checkFirst(arg, lr, r.Beta1, !r.BiasCorrected), checkStep(arg, lr, 1/r.Clip, "1/Clip"))
}

func (r Sophia) plan() engine.Plan {
	s := sophia{r, newPower(r.Beta1)}
	return engine.Plan{
		State:   []engine.Slot{{Name: "m", Fades: r.Beta1}, {Name: "h", Fades: 1}},
		Passes:  engine.One(kernels.Sophia, s.scalars),
		Hessian: 1 - r.Beta2,
	}
}

// A sophia makes the scalars.
type sophia struct {
	Sophia
	power power
}

func (s *sophia) scalars(in *engine.StepInput) fallback.SophiaScalars {
	c1 := 1.
	if s.BiasCorrected {
		c1 = s.power.oneMinus(in.T)
	}
	return fallback.SophiaScalars{Common: in.Common, Weight1: fallback.Weight(s.Beta1), Gamma: float32(s.Gamma), Eps: float32(s.Eps),
		Step: float32(in.LR / c1), Clip: float32(in.LR * s.Clip)}
}
