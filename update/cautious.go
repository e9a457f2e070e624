package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// CautiousAdam is Adam that is cautious in either of two ways, or both. c₁ = 1-β₁ᵗ and c₂ =
// 1-β₂ᵗ correct the bias. Numbers agree that have one sign; neither 0 nor NaN agrees with any.
//
//	m, v as in Adam
//	u = m/c₁ / (√(v/c₂) + Eps)
//	u ← u·[m, g agree] / max(the part of the tensor that agrees, .001)     CautiousUpdate
//	w ← w - lr·(u + WeightDecay·w·[u, w agree])                           CautiousDecay
//
// The first is C-AdamW (Liang et al. 2024), the second cautious weight decay (Chen et al.
// 2025), for which u is that of Adam in either case. Its state is "m" and "v", which begin at
// 0. With CautiousUpdate a step takes two passes, the second by what the first has counted in
// whole tensors, and so none by ranges (Apply). KeepSubnormals is always set: the smallest
// number has a sign.
type CautiousAdam struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no gradient is
	// 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	CautiousUpdate, CautiousDecay bool
}

// Name is "adam, cautious decay", or with CautiousUpdate "cautious adam", which takes more
// passes.
func (r CautiousAdam) Name() string {
	if r.CautiousUpdate {
		return "cautious adam"
	}
	return "adam, cautious decay"
}

func (r CautiousAdam) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2),
		checkEps(r.Eps, leastRoot(r.Beta2, false), r.AllowZeroEps, "AllowZeroEps"))
}

func (r CautiousAdam) options() Options {
	o := r.Options
	o.KeepSubnormals = true
	return o
}

func (r CautiousAdam) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

func (r CautiousAdam) plan() engine.Plan {
	s := cautiousAdam{r, newMoments(r.options(), r.Beta1, r.Beta2, r.Eps, false)}
	p := engine.Plan{State: s.slots("v")}
	if r.CautiousUpdate {
		p.Passes = []engine.Pass{
			engine.Summing(engine.OverTensor, cautiousAgree, s.agree, engine.ParamsName, engine.GradsName, "m"),
			engine.Elements(kernels.CautiousAdam, s.scalars),
		}
	} else {
		p.Passes = engine.One(kernels.CautiousAdam, s.scalars)
	}
	return p
}

// cautiousAgree is the first pass, whose sum is how many elements agree.
func cautiousAgree(t kernels.Table, list *kernels.List, c *fallback.AgreeScalars, sums *engine.Sums) {
	kernels.Agree(t, list, c, &sums[0])
}

// A cautiousAdam makes the scalars of both passes.
type cautiousAdam struct {
	CautiousAdam
	moments
}

func (s *cautiousAdam) agree(in *engine.StepInput) fallback.AgreeScalars {
	return fallback.AgreeScalars{Common: in.Common, Weight1: s.weight1}
}

func (s *cautiousAdam) scalars(in *engine.StepInput) fallback.CautiousAdamScalars {
	eps, step := s.step(in.T, s.Eps, in.LR)
	trust, distrust := trusts(in, s.CautiousUpdate)
	return fallback.CautiousAdamScalars{
		Common:   in.Common,
		Weight1:  s.weight1,
		Beta2:    float32(s.Beta2),
		Root2:    s.root2,
		Small:    s.small,
		Eps:      eps,
		Step:     step,
		Trust:    trust,
		Distrust: distrust,
		Growth:   growth(in, s.CautiousDecay),
	}
}

// trusts are the factors of steps that agree with the gradient, and of others.
func trusts(in *engine.StepInput, cautious bool) (trust, distrust float32) {
	if !cautious {
		return 1, 1
	}
	return float32(1 / max(in.Sums[0]/max(float64(in.Elements), 1), .001)), 0
}

// growth is the decay of parameters that a step enlarges.
func growth(in *engine.StepInput, cautious bool) float32 {
	if cautious {
		return 0
	}
	return in.Decay
}

// CautiousLion is Lion that is cautious as CautiousAdam is, with the sign of the mean of
// momentum and gradient for u (C-Lion of Liang et al. 2024).
//
//	u = sign(β₁·m + (1-β₁)·g)
//	m ← β₂·m + (1-β₂)·g
//
// Its state is "m", which begins at 0.
type CautiousLion struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)

	CautiousUpdate, CautiousDecay bool
}

// Name is "lion, cautious decay", or with CautiousUpdate "cautious lion", which takes more
// passes.
func (r CautiousLion) Name() string {
	if r.CautiousUpdate {
		return "cautious lion"
	}
	return "lion, cautious decay"
}

func (r CautiousLion) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2))
}

func (r CautiousLion) plan() engine.Plan {
	// The smallest m has a sign, and so none is flushed.
	p := engine.Plan{State: []engine.Slot{{Name: "m", Fades: 1}}}
	if r.CautiousUpdate {
		p.Passes = []engine.Pass{
			engine.Summing(engine.OverTensor, cautiousAgree, r.agree, engine.ParamsName, engine.GradsName, "m"),
			engine.Elements(kernels.CautiousLion, r.scalars),
		}
	} else {
		p.Passes = engine.One(kernels.CautiousLion, r.scalars)
	}
	return p
}

// agree has the smallest gradient count, as the second pass does.
func (r CautiousLion) agree(in *engine.StepInput) fallback.AgreeScalars {
	common := in.Common
	common.Drop, common.First = 0, 0
	return fallback.AgreeScalars{Common: common, Weight1: fallback.Weight(r.Beta1)}
}

func (r CautiousLion) scalars(in *engine.StepInput) fallback.CautiousLionScalars {
	trust, distrust := trusts(in, r.CautiousUpdate)
	return fallback.CautiousLionScalars{
		Common:   in.Common,
		Weight1:  fallback.Weight(r.Beta1),
		Weight2:  fallback.Weight(r.Beta2),
		Step:     float32(in.LR),
		Trust:    trust,
		Distrust: distrust,
		Growth:   growth(in, r.CautiousDecay),
	}
}
