package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// AdEMAMix is Adam with a second mean, which remembers gradients for longer and is not
// corrected (Pagliardini, Ablin, Grangier 2024). c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ.
//
//	m ← β₁·m + (1-β₁)·g
//	slow ← β₃·slow + (1-β₃)·g
//	v ← β₂·v + (1-β₂)·g²
//	w ← w - lr · (m/c₁ + α·slow) / (√(v/c₂) + Eps)
//
// Its state is "m", "slow" and "v", which begin at 0.
type AdEMAMix struct {
	Options
	Beta1, Beta2, Beta3 float64 // in [0, 1 - 3e-8); as those of Adam

	Alpha float64 // the slow mean's factor

	// WarmupAlpha is the number of steps in which α rises from 0 to Alpha, in proportion
	// to t, and WarmupBeta3 that in which β₃ goes from Beta1 to Beta3 so that the time in
	// which half is forgotten rises in proportion: the paper's T_α and T_β₃, which it sets
	// to the length of the training. With 0 there is no such rise.
	WarmupAlpha, WarmupBeta3 float64

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root, √(v/c₂ + EpsRoot)
}

// Name is "ademamix".
func (AdEMAMix) Name() string { return "ademamix" }

func (r AdEMAMix) check() error {
	return firstError(
		r.noProximal(),
		checkRates(r.Beta1, r.Beta2),
		decayRate("Beta3", r.Beta3),
		notNegative("Alpha", r.Alpha),
		notNegative("WarmupAlpha", r.WarmupAlpha),
		notNegative("WarmupBeta3", r.WarmupBeta3),
		notNegative("EpsRoot", r.EpsRoot),
		checkEps(r.Eps, leastRoot(r.Beta2, r.EpsRoot != 0), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r AdEMAMix) checkOwnRate(arg string, lr float64) error {
	return firstError(checkFirst(arg, lr, r.Beta1, false), checkProduct(arg, lr, "Alpha", r.Alpha))
}

func (r AdEMAMix) plan() engine.Plan {
	s := adEMAMix{r, newMoments(r.Options, r.Beta1, r.Beta2, max(r.Eps, math.Sqrt(r.EpsRoot)), false), inverseLog(r.Beta1), inverseLog(r.Beta3)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "m", Fades: r.Beta1},
			{Name: "slow", Fades: r.leastBeta3()},
			{Name: "v", Fades: r.Beta2, Square: true, Flushes: s.flush},
		},
		Passes: engine.One(kernels.AdEMAMix, s.scalars),
	}
}

// leastBeta3 is the least that β₃ is.
func (r AdEMAMix) leastBeta3() float64 {
	if r.WarmupBeta3 > 0 {
		return min(r.Beta1, r.Beta3)
	}
	return r.Beta3
}

// An adEMAMix makes the scalars.
type adEMAMix struct {
	AdEMAMix
	moments
	log1, log3 float64 // 1/ln β₁ and 1/ln β₃
}

func (s *adEMAMix) scalars(in *engine.StepInput) fallback.AdEMAMixScalars {
	c1, c2 := s.corrections(in.T)
	unbias, eps, lr := inRoot(c2, s.Eps, s.EpsRoot, in.LR, false)
	return fallback.AdEMAMixScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Weight3: fallback.Weight(s.beta3(in.T)),
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Unbias:  float32(unbias),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(eps),
		Step:    float32(lr / c1),
		Mix:     float32(lr * s.Alpha * warmed(in.T, s.WarmupAlpha)),
	}
}

// warmed is which part of a warm-up is over, at most 1.
func warmed(t int64, steps float64) float64 {
	if float64(t) < steps {
		return float64(t) / steps
	}
	return 1
}

// beta3 is β₃ at step t.
func (s *adEMAMix) beta3(t int64) float64 {
	part := warmed(t, s.WarmupBeta3)
	halfLife := float64((1-part)*s.log1) + float64(part*s.log3)
	if part == 1 || halfLife == 0 {
		return s.Beta3
	}
	return exponential(1 / halfLife)
}

// inverseLog is 1/ln x for x in [0, 1), of operations alone that have the same bits
// everywhere: by the series of atanh, for a root of x that is near 1.
func inverseLog(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := 2.
	for x < .5 {
		x = math.Sqrt(x)
		scale = float64(2 * scale)
	}
	z := (x - 1) / (x + 1)
	sum := 0.
	odd := 43.
	for range 20 {
		odd -= 2
		sum = float64((sum + 1/odd) * float64(z*z))
	}
	return 1 / float64(scale*float64(z*(1+sum)))
}

// SimplifiedAdEMAMix is AdEMAMix with a sum of gradients and the gradient itself for the
// two means (Morwani et al. 2025). c₂ = 1-β₂ᵗ.
//
//	m ← β₁·m + g
//	v ← β₂·v + (1-β₂)·g²
//	w ← w - lr · (m + α·g) / (√(v/c₂) + Eps)
//
// Its state is "m" and "v", which begin at 0.
type SimplifiedAdEMAMix struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam

	Alpha float64 // the gradient's factor

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root, √(v/c₂ + EpsRoot)
}

// Name is "simplified ademamix".
func (SimplifiedAdEMAMix) Name() string { return "simplified ademamix" }

func (r SimplifiedAdEMAMix) check() error {
	return firstError(
		r.noProximal(),
		checkRates(r.Beta1, r.Beta2),
		notNegative("Alpha", r.Alpha),
		notNegative("EpsRoot", r.EpsRoot),
		checkEps(r.Eps, leastRoot(r.Beta2, r.EpsRoot != 0), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r SimplifiedAdEMAMix) checkOwnRate(arg string, lr float64) error {
	return checkProduct(arg, lr, "Alpha", r.Alpha)
}

func (r SimplifiedAdEMAMix) plan() engine.Plan {
	s := simplifiedAdEMAMix{r, newMoments(r.Options, r.Beta1, r.Beta2, max(r.Eps, math.Sqrt(r.EpsRoot)), false)}
	return engine.Plan{State: s.slots("v"), Passes: engine.One(kernels.SimplifiedAdEMAMix, s.scalars)}
}

// A simplifiedAdEMAMix makes the scalars.
type simplifiedAdEMAMix struct {
	SimplifiedAdEMAMix
	moments
}

func (s *simplifiedAdEMAMix) scalars(in *engine.StepInput) fallback.SimplifiedAdEMAMixScalars {
	_, c2 := s.corrections(in.T)
	unbias, eps, lr := inRoot(c2, s.Eps, s.EpsRoot, in.LR, false)
	return fallback.SimplifiedAdEMAMixScalars{
		Common: in.Common,
		Beta1:  float32(s.Beta1),
		Beta2:  float32(s.Beta2),
		Root2:  s.root2,
		Small:  s.small,
		Unbias: float32(unbias),
		EpsIn:  float32(s.EpsRoot),
		Eps:    float32(eps),
		Alpha:  float32(s.Alpha),
		Step:   float32(lr),
	}
}
