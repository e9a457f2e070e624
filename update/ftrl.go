package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// FTRL is follow the regularized leader with a learning rate of each parameter's own
// (McMahan et al. 2013, algorithm 1), as large linear models over sparse features are
// trained. It makes parameters anew in each step, so that where they begin is soon
// forgotten.
//
//	z ← z + g + L2Shrinkage·w - (√(a + g²) - √a)/lr · w
//	a ← a + g²
//	w ← -soft(z, L1) / ((√a + Eps)/lr + L2)
//
// L1 and L2 are these with Proximal, which makes exact zeros; without it they are added to
// the gradient, as by other rules. Keras and TensorFlow have half of L2 and of L2Shrinkage.
// The power of a is ½, their lr_power of -½, and no other. lr is from 1e-30 to 1e30, unless
// MultiplyLinearByLR is set.
//
// Its state is "accumulator", a, and "linear", z, which begins at 0.
type FTRL struct {
	Options
	InitialAccumulator float64 // where a begins

	// Eps, the paper's β, keeps the divisor from 0. It may be 0 where InitialAccumulator
	// is not.
	Eps float64

	// L2Shrinkage adds the gradient of ½·L2Shrinkage·‖w‖² to z, but not to a.
	L2Shrinkage float64

	// MultiplyLinearByLR keeps lr·z in z, as TensorFlow's multiply_linear_by_lr does.
	MultiplyLinearByLR bool
}

// leastFTRLRate is the least learning rate: below, roots divided by it may overflow.
const leastFTRLRate = 1e-30

// Name is "ftrl", or "ftrl, multiplied".
func (r FTRL) Name() string {
	if r.MultiplyLinearByLR {
		return "ftrl, multiplied"
	}
	return "ftrl"
}

func (r FTRL) check() error {
	return firstError(
		r.noDecay(),
		r.noCaution(),
		notNegative("InitialAccumulator", r.InitialAccumulator),
		notNegative("L2Shrinkage", r.L2Shrinkage),
		checkEps(r.Eps, 1, float32(r.InitialAccumulator) > 0, "an InitialAccumulator above 0"))
}

func (r FTRL) checkOwnRate(arg string, lr float64) error {
	if r.MultiplyLinearByLR {
		return checkProduct(arg, lr, "L2Shrinkage", r.L2Shrinkage)
	}
	if !(lr >= leastFTRLRate && lr <= 1/leastFTRLRate) {
		return &ArgError{arg, lr, "from 1e-30 to 1e30, unless MultiplyLinearByLR is set"}
	}
	if r.Eps/lr > 0x1p127 {
		return &ArgError{arg, lr, "one that divides Eps to a float32"}
	}
	return nil
}

func (r FTRL) plan() engine.Plan {
	return engine.Plan{
		State: []engine.Slot{
			{Name: "accumulator", First: engine.Constant(r.InitialAccumulator), Fades: 1, Square: true},
			{Name: "linear", Fades: r.fades()},
		},
		FusesProximal: true,
		Passes:        engine.One(kernels.FTRL, r.scalars),
	}
}

// fades is what a step leaves of z: L2Shrinkage takes off as much as the accumulator lets it.
func (r FTRL) fades() float64 {
	if r.L2Shrinkage > 0 {
		return .5
	}
	return 1
}

// small are the gradients whose squares do not count: see AdaGrad's.
func (r FTRL) small() fallback.Mask {
	if !r.KeepSubnormals && (r.Eps >= 1e-12 || r.InitialAccumulator >= 1e-20) {
		return fallback.DropSquare
	}
	return 0
}

func (r FTRL) scalars(in *engine.StepInput) fallback.FTRLScalars {
	input, inverse := 1., 1/in.LR
	if r.MultiplyLinearByLR {
		input, inverse = in.LR, 1
	}
	return fallback.FTRLScalars{
		Common:  in.Common,
		Small:   r.small(),
		Input:   float32(input),
		Shrink:  float32(input * r.L2Shrinkage),
		Inverse: float32(inverse),
		ProxL1:  float32(input * in.ProxL1),
		ProxL2:  float32(float64(input*in.ProxL2) + float64(inverse*r.Eps)),
	}
}
