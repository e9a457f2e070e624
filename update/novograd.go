package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// NovoGrad has one second moment for each tensor, of its gradient's norm, and a momentum
// of what that scales (Ginsburg et al. 2019).
//
//	v ← β₂·v + (1-β₂)·‖g‖²        ‖g‖² in the tensor's first step
//	m ← β₁·m + g/(√(v + EpsRoot) + Eps) + Decay·w
//	w ← w - lr·m
//
// Its state is "m", and "v", which is one number for a tensor; both begin at 0. A step
// takes the gradient's norm first, of whole tensors, and so none by ranges (Apply). No
// gradient is too small to count, because v makes up for the gradients' size.
type NovoGrad struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no tensor's gradient is 0 in its first step.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root

	// Decay is the weight decay of the paper, inside of the momentum. L1 and L2 must be 0.
	Decay float64

	// Averaging has (1-β₁)·(g/(√(v + EpsRoot) + Eps) + Decay·w) for what m takes in, the
	// grad_averaging of the authors' code.
	Averaging bool
}

// Name is "novograd".
func (NovoGrad) Name() string { return "novograd" }

func (r NovoGrad) check() error {
	switch {
	case r.L1 != 0:
		return &ArgError{"L1", r.L1, "0: this rule has Decay alone"}
	case r.L2 != 0:
		return &ArgError{"L2", r.L2, "0: this rule's is Decay"}
	}
	return firstError(r.noProximal(), r.noCaution(),
		checkRates(r.Beta1, r.Beta2),
		notNegative("EpsRoot", r.EpsRoot),
		notNegative("Decay", r.Decay),
		checkEps(r.Eps, 1, r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r NovoGrad) plan() engine.Plan {
	return engine.Plan{
		State: []engine.Slot{{Name: "m", Fades: r.fades()}, {Name: "v", Extent: engine.PerTensor, Square: true}},
		Passes: []engine.Pass{
			engine.Summing(engine.OverTensor, gradNorm, r.norm, engine.ParamsName, engine.GradsName),
			engine.Keep(r.keep),
			engine.Elements(kernels.Momentum, r.scalars, engine.ParamsName, engine.GradsName, "m"),
		},
	}
}

// fades is what a step leaves of m, which does not fade while Decay gives it parameters.
func (r NovoGrad) fades() float64 {
	if r.Decay > 0 {
		return 1
	}
	return r.Beta1
}

// gradNorm is a first pass, whose sum is of the squares of gradients.
func gradNorm(t kernels.Table, list *kernels.List, c *fallback.GradNormScalars, sums *engine.Sums) {
	kernels.GradNorm(t, list, c, &sums[0])
}

func (r NovoGrad) norm(in *engine.StepInput) fallback.GradNormScalars {
	return fallback.GradNormScalars{Common: in.Common}
}

func (r NovoGrad) keep(in *engine.StepInput) engine.Kept {
	v := in.Sums[0]
	if in.T > 1 {
		v = float64(r.Beta2*float64(in.PerTensor[0])) + float64((1-r.Beta2)*v)
	}
	return engine.Kept{First: float32(v)}
}

func (r NovoGrad) scalars(in *engine.StepInput) fallback.MomentumScalars {
	root := math.Sqrt(float64(in.PerTensor[0])+r.EpsRoot) + r.Eps
	scale, by := float64(in.Scale)/root, 1.0
	switch { // by is a power of 2 that makes a float32 of the gradient's factor, and is taken off what m takes in
	case math.Abs(scale) < 0x1p-126:
		by = 0x1p64
	case math.Abs(scale) > math.MaxFloat32:
		by = 0x1p-24
	}
	input := 1.0
	if r.Averaging {
		input = 1 - r.Beta1
	}
	common := whole(in.Common)
	common.Scale, common.L2 = largest32(scale*by), float32(r.Decay*by)
	return fallback.MomentumScalars{Common: common, Beta: float32(r.Beta1), Input: float32(input / by), Step: float32(in.LR)}
}

// largest32 is a float32, at most the largest with x's sign: beyond, a gradient of 0 would
// give NaN.
func largest32(x float64) float32 {
	return float32(max(-math.MaxFloat32, min(x, math.MaxFloat32)))
}
