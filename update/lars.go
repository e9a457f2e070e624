package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// LARS is Momentum whose step is as long as the parameters of its tensor are large (You,
// Gitman, Ginsburg 2017), in the two forms of Momentum. L2 is its weight decay, inside of
// what the trust ratio scales; the ratio is 1 where a norm is 0.
//
//	u = g + L2·w
//	φ = Trust·‖w‖/(‖u‖ + TrustEps)
//	outside:                       b ← μ·b + φ·u       w ← w - lr·b
//	inside (the paper, Optax):     b ← μ·b + lr·φ·u    w ← w - b
//
// Its state is "momentum", b, which begins at 0. A step takes two passes, the second by
// norms of whole tensors, and so none by ranges (Apply). No gradient is too small to
// count, because the trust ratio makes up for the gradients' size.
type LARS struct {
	Options
	Momentum float64 // μ, in [0, 1)
	Nesterov bool    // as that of Momentum
	LRInside bool    // as that of Momentum

	// Trust is the trust coefficient, the paper's η: a step is this part of the norm of the
	// parameters, times the learning rate.
	Trust    float64
	TrustEps float64 // may be 0

	// SeparateNorms has ‖g‖ + L2·‖w‖ for ‖u‖, as the paper does.
	SeparateNorms bool
}

// Name is "lars", or "lars, lr inside", whose buffer is another number.
func (r LARS) Name() string {
	if r.LRInside {
		return "lars, lr inside"
	}
	return "lars"
}

func (r LARS) check() error {
	if r.L1 != 0 {
		return &ArgError{"L1", r.L1, "0: LARS has L2 alone"}
	}
	if r.Nesterov && r.Momentum == 0 {
		return &ArgError{"Momentum", r.Momentum, "a number above 0 with Nesterov"}
	}
	return firstError(r.noProximal(), r.noCaution(), decayRate("Momentum", r.Momentum), notNegative("Trust", r.Trust), notNegative("TrustEps", r.TrustEps))
}

func (r LARS) plan() engine.Plan {
	p := engine.Plan{State: []engine.Slot{{Name: "momentum", Fades: r.Momentum}}}
	if r.Nesterov {
		p.Passes = []engine.Pass{
			engine.Summing(engine.OverTensor, tensorNorms, r.norms, engine.ParamsName, engine.GradsName),
			engine.Elements(kernels.Nesterov, r.nesterov),
		}
	} else {
		p.Passes = []engine.Pass{
			engine.Summing(engine.OverTensor, tensorNorms, r.norms, engine.ParamsName, engine.GradsName),
			engine.Elements(kernels.Momentum, r.scalars),
		}
	}
	return p
}

// tensorNorms is a first pass, whose sums are the squares of parameters and gradients.
func tensorNorms(t kernels.Table, list *kernels.List, c *fallback.TensorNormsScalars, sums *engine.Sums) {
	kernels.TensorNorms(t, list, c, &sums[0], &sums[1])
}

func (r LARS) norms(in *engine.StepInput) fallback.TensorNormsScalars {
	common := in.Common
	if r.SeparateNorms {
		common.L2 = 0
	}
	return fallback.TensorNormsScalars{Common: common}
}

// input is the gradient's factor in the buffer, outside the learning rate that is left to
// apply to the buffer.
func (r LARS) input(in *engine.StepInput) (input, outside float64) {
	trust := 1.0
	if params, grads := math.Sqrt(in.Sums[0]), math.Sqrt(in.Sums[1]); params > 0 && grads > 0 {
		if r.SeparateNorms {
			grads += float64(r.L2 * params)
		}
		trust = min(float64(r.Trust*params)/(grads+r.TrustEps), math.MaxFloat32) // beyond, a gradient of 0 would give NaN
	}
	if r.LRInside {
		return min(in.LR*trust, math.MaxFloat32), 1
	}
	return trust, in.LR
}

func (r LARS) scalars(in *engine.StepInput) fallback.MomentumScalars {
	input, outside := r.input(in)
	return fallback.MomentumScalars{Common: whole(in.Common), Beta: float32(r.Momentum), Input: float32(input), Step: float32(outside)}
}

func (r LARS) nesterov(in *engine.StepInput) fallback.NesterovScalars {
	input, outside := r.input(in)
	return fallback.NesterovScalars{
		Common: whole(in.Common),
		Beta:   float32(r.Momentum),
		Input:  float32(input),
		Direct: float32(min(input*outside, math.MaxFloat32)),
		Step:   float32(outside * r.Momentum),
	}
}

// whole has the smallest gradient count.
func whole(c fallback.Common) fallback.Common {
	c.Drop, c.First = 0, 0
	return c
}
