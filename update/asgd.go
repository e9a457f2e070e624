package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// ASGD is averaged gradient descent, whose result is the mean of the parameters that it
// has been at (Polyak, Juditsky 1992), as PyTorch has it, with the rates of Bottou.
//
//	η = lr / (1 + Lambda·lr·(t-1))^Alpha        μ = 1/max(1, t-1-T0)
//	w ← w - η·(g + Lambda·w)
//	ax ← ax + μ·(w - ax)
//
// In PyTorch η is of the learning rate of the step before; it shows where that changes.
//
// Its state is "ax", the mean, which is the parameters themselves up to step T0 + 2.
type ASGD struct {
	Options
	Lambda float64 // decay, which falls with η
	Alpha  float64 // the power by which η falls
	T0     float64 // the number of steps before there is a mean
}

// Name is "asgd".
func (ASGD) Name() string { return "asgd" }

func (r ASGD) check() error {
	return firstError(r.noProximal(), r.noCaution(), notNegative("Lambda", r.Lambda), notNegative("Alpha", r.Alpha), notNegative("T0", r.T0))
}

func (r ASGD) checkOwnRate(arg string, lr float64) error {
	return checkProduct(arg, lr, "Lambda + WeightDecay", r.Lambda+r.WeightDecay)
}

func (r ASGD) plan() engine.Plan {
	return engine.Plan{State: []engine.Slot{{Name: "ax", Fades: 1}}, Passes: engine.One(kernels.ASGD, r.scalars)}
}

func (r ASGD) scalars(in *engine.StepInput) fallback.ASGDScalars {
	before := float64(in.T - 1)
	eta := in.LR / powerOf(1+float64(float64(r.Lambda*in.LR)*before), r.Alpha)
	c := fallback.ASGDScalars{Common: in.Common, Step: float32(eta), Weight: partWeight(1 / max(1, before-r.T0))}
	c.Decay = float32(float64(eta*r.Lambda) + float64(in.LR*r.WeightDecay))
	return c
}

// powerOf is x to the power of alpha, for x ≥ 1 and alpha ≥ 0 within 1e-13, of operations
// alone that have the same bits everywhere.
func powerOf(x, alpha float64) float64 {
	return 1 / exponential(alpha/inverseLog(1/x))
}

// partWeight is how lerp takes a part.
func partWeight(part float64) float32 {
	if part > .5 {
		return float32(part - 1)
	}
	return float32(part)
}
