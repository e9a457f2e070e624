package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Prodigy is Adam that estimates its step size (Mishchenko, Defazio 2023): d is a lower bound
// on the distance from the first parameters, w₀, to a solution, and grows from D0. LR, 1 as a
// rule, and its schedule multiply it.
//
//	η = d·lr·√(1-β₂ᵗ)/(1-β₁ᵗ)                 d·lr with NoBiasCorrection
//	m ← m + (1-β₁)(d·g - m)
//	v ← β₂·v + (1-β₂)·(d·g)²
//	s ← β₃·s + d/D0·η·g                       d²/D0·g with SafeguardWarmup
//	r ← β₃·r + Σ d/D0·η·g·(w₀ - w)
//	d ← max(d, DCoef·r / Σ|s|)
//	w ← w - η·(m/(√v + d·Eps) + WeightDecay·w)     η of the d before
//
// Sums are over all tensors of the optimizer that take the step and whose rule is Prodigy, of
// all groups: as in the authors' package they have one d, of which DCoef, D0, Beta3 and
// GrowthRate should be the same. Where r is no float32, d and r stay; where Σ|s| is 0, as before
// the first gradient that is not 0, parameters stay too and do not decay, as in that package.
// Here such a step counts, so that t goes on; Optax' d is NaN from then on.
//
// Its state is "p0", w₀, which begins as the parameters, "s", "m" and "v", which begin at 0,
// and, as one number for each tensor, the same for all, "d", which begins at D0, "numerator",
// r, from 0, and "d_max", the largest estimate, from D0: d, but for GrowthRate. A step takes
// two passes, the second by sums over all tensors, and so none by ranges (Apply).
type Prodigy struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam
	Beta3        float64 // of s and r, as those; 0 is √Beta2

	// Eps, times d, keeps the divisor from 0. It may be 0 where AllowZeroEps says that no
	// gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	D0    float64 // the first d, from 1e-30 to 1e30; 0 is 1e-6
	DCoef float64 // the factor of estimates, from 1e-30 to 1e30; 0 is 1

	// GrowthRate is the most by which a step multiplies d, from 1 on; 0 is no such limit.
	// Estimates above it are kept, as the largest, for later steps.
	GrowthRate float64

	NoBiasCorrection bool
	SafeguardWarmup  bool // leaves the learning rate out of s
}

// Name is "prodigy".
func (Prodigy) Name() string { return "prodigy" }

func (r Prodigy) check() error {
	return firstError(r.noProximal(), r.noCaution(), checkRates(r.Beta1, r.Beta2), decayRate("Beta3", r.Beta3),
		checkDistance("D0", r.D0), checkDistance("DCoef", r.DCoef), checkGrowth(r.GrowthRate),
		checkEps(r.Eps, unless0(r.D0, 1e-6), r.AllowZeroEps, "AllowZeroEps"))
}

// checkDistance refuses what float32 has no room to multiply.
func checkDistance(arg string, d float64) error {
	if !(d == 0 || d >= 1e-30 && d <= 1e30) {
		return &ArgError{arg, d, "a number from 1e-30 to 1e30, or 0"}
	}
	return nil
}

func checkGrowth(rate float64) error {
	if !(rate == 0 || rate >= 1 && rate <= math.MaxFloat64) {
		return &ArgError{"GrowthRate", rate, "a number from 1 on, or 0"}
	}
	return nil
}

// unless0 is an option, or what 0 stands for.
func unless0(x, otherwise float64) float64 {
	if x == 0 {
		return otherwise
	}
	return x
}

func (r Prodigy) plan() engine.Plan {
	first := unless0(r.D0, 1e-6)
	s := prodigy{r, newMoments(r.Options, r.Beta1, r.Beta2, r.Eps*first, r.NoBiasCorrection), newPower(r.Beta2),
		unless0(r.Beta3, math.Sqrt(r.Beta2)), first, unless0(r.DCoef, 1)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "p0", First: engine.Params, Fades: 1}, {Name: "s", Fades: s.beta3},
			{Name: "m", Fades: r.Beta1}, {Name: "v", Fades: r.Beta2, Square: true, Flushes: s.flush},
			{Name: "d", Extent: engine.PerTensor, First: engine.Constant(first)},
			{Name: "numerator", Extent: engine.PerTensor},
			{Name: "d_max", Extent: engine.PerTensor, First: engine.Constant(first)},
			{Name: "before", Extent: engine.PerTensor, Scratch: true},
		},
		Passes: []engine.Pass{
			engine.Summing(engine.OverAll, prodigySums, s.scalars, engine.ParamsName, engine.GradsName, "p0", "s", "m", "v"),
			engine.Keep(s.keep),
			engine.Elements(kernels.LAMBMove, s.move, engine.ParamsName, "m", "v"),
		},
	}
}

// prodigySums is the first pass, whose sums are what the numerator takes in and the
// denominator.
func prodigySums(t kernels.Table, list *kernels.List, c *fallback.ProdigyScalars, sums *engine.Sums) {
	kernels.Prodigy(t, list, c, &sums[0], &sums[1])
}

// A prodigy makes the scalars of all passes.
type prodigy struct {
	Prodigy
	moments
	given              power   // of Beta2, which η is of where v, of its float32, does not make up for that
	beta3, first, coef float64 // Beta3, D0 and DCoef, or what 0 stands for
}

// rate is η of a d, and the root of what v has more for being of a float32.
func (s *prodigy) rate(in *engine.StepInput, d float64) (eta, more float64) {
	if s.NoBiasCorrection {
		return d * in.LR, 1
	}
	c1, c2 := s.corrections(in.T)
	given := s.given.oneMinus(in.T)
	return d * in.LR * math.Sqrt(given) / c1, math.Sqrt(c2 / given)
}

func (s *prodigy) scalars(in *engine.StepInput) fallback.ProdigyScalars {
	d := float64(in.PerTensor[0])
	eta, _ := s.rate(in, d)
	weight := d / s.first * eta
	input := weight
	if s.SafeguardWarmup {
		input = d / s.first * d
	}
	return fallback.ProdigyScalars{
		Common:   in.Common,
		Distance: float32(d),
		Weight1:  s.weight1,
		Beta2:    float32(s.Beta2),
		Root2:    s.root2,
		Small:    s.small,
		Weight:   largest32(weight),
		Beta3:    float32(s.beta3),
		Input:    largest32(input),
	}
}

// keep estimates the distance, and remembers the one before for the rest of the step.
func (s *prodigy) keep(in *engine.StepInput) engine.Kept {
	d, most := float64(in.PerTensor[0]), float64(in.PerTensor[2])
	kept := engine.Kept{First: in.PerTensor[0], Second: in.PerTensor[1], Third: in.PerTensor[2], Fourth: in.PerTensor[0]}
	if in.Sums[1] == 0 {
		kept.Fourth = 0
		return kept
	}
	r := float64(s.beta3*float64(in.PerTensor[1])) + in.Sums[0]
	if !(in.Sums[1] > 0 && math.Abs(r) <= math.MaxFloat32) {
		return kept
	}
	estimate := min(s.coef*r/in.Sums[1], math.MaxFloat32)
	most = max(most, estimate)
	next := most
	if s.GrowthRate != 0 {
		if kept.First == float32(s.first) { // it has yet to grow
			d = max(d, estimate)
		}
		next = min(most, s.GrowthRate*d)
	}
	kept.First, kept.Second, kept.Third = float32(next), float32(r), float32(most)
	return kept
}

// move is a step of the rate before and an eps of the new estimate. Without a rate the divisor
// is none that could be 0.
func (s *prodigy) move(in *engine.StepInput) fallback.LAMBMoveScalars {
	if in.PerTensor[3] == 0 {
		still := fallback.Common{Scale: 1}
		return fallback.LAMBMoveScalars{Common: still, Eps: 1, Step: 1}
	}
	eta, more := s.rate(in, float64(in.PerTensor[3]))
	common := in.Common
	common.Decay = largest32(s.WeightDecay / more)
	return fallback.LAMBMoveScalars{
		Common: common,
		Eps:    largest32(s.Eps * float64(in.PerTensor[0]) * more),
		Step:   1,
		Rate:   largest32(eta * more),
	}
}
