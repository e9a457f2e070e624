package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// DAdaptAdamW is AdamW with D-Adaptation (Defazio, Mishchenko 2023): d is a lower bound on the
// distance from the first parameters to a solution, in the largest of its elements, and grows
// from D0. LR, 1 as a rule, and its schedule multiply it.
//
//	η = d·lr·√(1-β₂ᵗ)/(1-β₁ᵗ)                 d·lr with NoBiasCorrection
//	r ← √β₂·r + (1-√β₂)·Σ LayerScale·η·g·s/(√v + Eps)
//	m ← m + (1-β₁)(LayerScale·η·g - m)
//	v ← β₂·v + (1-β₂)·g²
//	s ← s + (1-√β₂)(η·g - s)
//	d ← max(d, r / ((1-√β₂)·Σ LayerScale·|s|))     but not above GrowthRate·d
//	w ← w - m/(√v + Eps) - WeightDecay·η·w         η of the d before
//
// The authors' package, whose Adam this is too, has no correction of bias unless it is told
// to, and calls L2 weight_decay where it does not decouple it. Optax always corrects.
//
// Sums are over all tensors of the optimizer that take the step and whose rule is DAdaptAdamW,
// of all groups: they have one d, of which D0, Beta2 and GrowthRate should be the same. Where
// Σ|s| is 0, or r no float32, d and r stay; parameters decay by η of D0 all the same, where the
// authors' package leaves them as they are until a gradient is not 0.
//
// Its state is "m", "v" and "s", which begin at 0, and, as one number for each tensor, the same
// for all, "d", which begins at D0, and "numerator", r, from 0. A step takes one pass, but d
// follows from all tensors, and so there is none by ranges (Apply).
type DAdaptAdamW struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam

	// Eps keeps the divisor from 0. It must not be 0, since in the first step r divides by
	// nothing else.
	Eps float64

	D0 float64 // the first d, from 1e-30 to 1e30; 0 is 1e-6

	// GrowthRate is the most by which a step multiplies d, from 1 on; 0 is no such limit.
	GrowthRate float64

	LayerScale float64 // a factor of the rate, from 1e-30 to 1e30, to tell groups apart; 0 is 1

	NoBiasCorrection bool
}

// Name is "d-adapt adamw".
func (DAdaptAdamW) Name() string { return "d-adapt adamw" }

func (r DAdaptAdamW) check() error {
	return firstError(r.noProximal(), r.noCaution(), checkRates(r.Beta1, r.Beta2), checkDistance("D0", r.D0),
		checkGrowth(r.GrowthRate), checkDistance("LayerScale", r.LayerScale), r.checkDivisor())
}

func (r DAdaptAdamW) checkDivisor() error {
	if !(float32(r.Eps) > 0 && r.Eps <= math.MaxFloat32) {
		return &ArgError{"Eps", r.Eps, "a finite number that float32 tells from 0 (the first step divides by nothing else)"}
	}
	return nil
}

func (r DAdaptAdamW) plan() engine.Plan {
	first, root := unless0(r.D0, 1e-6), math.Sqrt(r.Beta2)
	s := dAdapt{r, newMoments(r.Options, r.Beta1, r.Beta2, r.Eps, r.NoBiasCorrection), newPower(r.Beta2),
		root, unless0(r.LayerScale, 1), fallback.Weight(root)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "m", Fades: r.Beta1}, {Name: "v", Fades: r.Beta2, Square: true, Flushes: s.flush}, {Name: "s", Fades: root},
			{Name: "d", Extent: engine.PerTensor, First: engine.Constant(first)},
			{Name: "numerator", Extent: engine.PerTensor},
		},
		Passes: []engine.Pass{
			engine.Summing(engine.OverAll, dAdaptSums, s.scalars, engine.ParamsName, engine.GradsName, "m", "v", "s"),
			engine.Keep(s.keep),
		},
	}
}

// dAdaptSums is the step, whose sums are what the numerator takes in and the denominator.
func dAdaptSums(t kernels.Table, list *kernels.List, c *fallback.DAdaptAdamWScalars, sums *engine.Sums) {
	kernels.DAdaptAdamW(t, list, c, &sums[0], &sums[1])
}

// A dAdapt makes the scalars of both passes.
type dAdapt struct {
	DAdaptAdamW
	moments
	given   power   // of Beta2, which η is of where v, of its float32, does not make up for that
	root    float64 // √Beta2
	layer   float64 // LayerScale, or what 0 stands for
	weight3 float32 // of s: see fallback.Weight
}

// more is the root of what v has more at step t for being of a float32.
func (s *dAdapt) more(t int64) float64 {
	if s.NoBiasCorrection || t == 0 {
		return 1
	}
	_, c2 := s.corrections(t)
	return math.Sqrt(c2 / s.given.oneMinus(t))
}

// rate is η.
func (s *dAdapt) rate(in *engine.StepInput) float64 {
	d := float64(in.PerTensor[0])
	if s.NoBiasCorrection {
		return d * in.LR
	}
	c1, _ := s.corrections(in.T)
	return d * in.LR * math.Sqrt(s.given.oneMinus(in.T)) / c1
}

func (s *dAdapt) scalars(in *engine.StepInput) fallback.DAdaptAdamWScalars {
	eta := s.rate(in)
	before := s.more(in.T - 1)
	more := s.more(in.T)
	common := in.Common
	common.Decay = largest32(s.WeightDecay * eta)
	return fallback.DAdaptAdamWScalars{
		Common:  common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Before:  float32(s.Eps * before),
		Weight:  largest32(s.layer * eta * before),
		Input:   largest32(s.layer * eta),
		Eps:     float32(s.Eps * more),
		Step:    float32(more),
		Weight3: s.weight3,
		Rate:    largest32(eta),
		Layer:   float32(s.layer),
	}
}

// keep estimates the distance.
func (s *dAdapt) keep(in *engine.StepInput) engine.Kept {
	d, weight := float64(in.PerTensor[0]), 1-s.root
	kept := engine.Kept{First: in.PerTensor[0], Second: in.PerTensor[1]}
	r := float64(s.root*float64(in.PerTensor[1])) + float64(weight*in.Sums[0])
	if !(in.Sums[1] > 0 && math.Abs(r) <= math.MaxFloat32) {
		return kept
	}
	estimate := min(r/(weight*in.Sums[1]), math.MaxFloat32)
	if s.GrowthRate != 0 {
		estimate = min(estimate, s.GrowthRate*d)
	}
	kept.First, kept.Second = float32(max(d, estimate)), float32(r)
	return kept
}
