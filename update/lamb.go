package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// LAMB is Adam whose step is as long as the parameters of its tensor are large (You et
// al. 2020). c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias; the trust ratio is 1 where a
// norm is 0.
//
//	m, v as in Adam
//	u = m/c₁ / (√(v/c₂) + Eps) + Decay·w
//	w ← w - lr·‖w‖/‖u‖·u
//
// Its state is "m" and "v", which begin at 0. A step takes two passes, the second by norms
// of whole tensors, and so none by ranges (Apply). KeepSubnormals is always set: the smallest numbers
// show, because the trust ratio makes up for the gradients' size.
type LAMB struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)
	Eps          float64
	AllowZeroEps bool

	// Decay is the weight decay of the paper, inside of what the trust ratio scales.
	// WeightDecay, apart from it, must be 0.
	Decay float64

	NoBiasCorrection bool
}

// Name is "lamb".
func (LAMB) Name() string { return "lamb" }

func (r LAMB) check() error {
	if r.WeightDecay != 0 {
		return &ArgError{"WeightDecay", r.WeightDecay, "0: LAMB's is Decay"}
	}
	return firstError(r.noProximal(), r.noCaution(), r.noL1(),
		checkRates(r.Beta1, r.Beta2),
		notNegative("Decay", r.Decay),
		checkEps(r.Eps, leastRoot(r.Beta2, r.NoBiasCorrection), r.AllowZeroEps, "AllowZeroEps"))
}

// noL1 refuses what no framework's LAMB has.
func (r LAMB) noL1() error {
	if r.L1 != 0 {
		return &ArgError{"L1", r.L1, "0: LAMB has L2 alone"}
	}
	return nil
}

func (r LAMB) options() Options {
	o := r.Options
	o.KeepSubnormals = true
	return o
}

func (r LAMB) plan() engine.Plan {
	s := lamb{r, newMoments(r.options(), r.Beta1, r.Beta2, r.Eps, r.NoBiasCorrection)}
	return engine.Plan{State: s.slots("v"), Passes: []engine.Pass{
		engine.Summing(engine.OverTensor, lambMoments, s.scalars),
		engine.Elements(kernels.LAMBMove, s.move, engine.ParamsName, "m", "v"),
	}}
}

// lambMoments is the first pass, whose sums are the squares of the parameters and of u.
func lambMoments(t kernels.Table, list *kernels.List, c *fallback.LAMBScalars, sums *engine.Sums) {
	kernels.LAMB(t, list, c, &sums[0], &sums[1])
}

// A lamb makes the scalars of both passes.
type lamb struct {
	LAMB
	moments
}

func (s *lamb) scalars(in *engine.StepInput) fallback.LAMBScalars {
	eps, step := s.step(in.T, s.Eps, 1)
	common := in.Common
	common.Decay = float32(s.Decay)
	return fallback.LAMBScalars{Common: common, Weight1: s.weight1, Beta2: float32(s.Beta2), Root2: s.root2, Small: s.small, Eps: eps, Step: step}
}

func (s *lamb) move(in *engine.StepInput) fallback.LAMBMoveScalars {
	ratio := 1.0
	if params, updates := math.Sqrt(in.Sums[0]), math.Sqrt(in.Sums[1]); params > 0 && updates > 0 {
		ratio = params / updates
	}
	c := s.scalars(in)
	rate := min(in.LR*ratio, math.MaxFloat32) // beyond, where u is 0 it would give NaN
	return fallback.LAMBMoveScalars{Common: c.Common, Eps: c.Eps, Step: c.Step, Rate: float32(rate)}
}
