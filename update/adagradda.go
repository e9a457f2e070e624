package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// AdaGradDA is AdaGrad by dual averaging (Duchi, Hazan, Singer 2011): it makes parameters of
// the sum of all gradients, whatever they were at first, so that L1 keeps them at exact
// zeros.
//
//	s ← s + g
//	a ← a + g²
//	w ← -lr·soft(s, t·L1) / (√a + t·lr·L2)
//
// L1 and L2 are these with Proximal, as TensorFlow has them; without it they are added to
// the gradient, as by other rules.
//
// Its state is "sum", s, which begins at 0, and "accumulator", a.
type AdaGradDA struct {
	Options
	InitialAccumulator float64 // where a begins, above 0
}

// Name is "adagradda".
func (AdaGradDA) Name() string { return "adagradda" }

func (r AdaGradDA) check() error {
	return firstError(r.noDecay(), r.noCaution(), notNegative("InitialAccumulator", r.InitialAccumulator), r.checkInitial())
}

// checkInitial refuses an accumulator of 0, of which a gradient of 0 would make 0/0.
func (r AdaGradDA) checkInitial() error {
	if float32(r.InitialAccumulator) == 0 {
		return &ArgError{"InitialAccumulator", r.InitialAccumulator, "above 0: a gradient of 0 would give 0/0"}
	}
	return nil
}

func (r AdaGradDA) plan() engine.Plan {
	return engine.Plan{
		State: []engine.Slot{
			{Name: "sum", Fades: 1},
			{Name: "accumulator", First: engine.Constant(r.InitialAccumulator), Fades: 1, Square: true},
		},
		FusesProximal: true,
		Passes:        engine.One(kernels.AdaGradDA, r.scalars),
	}
}

// small are the gradients whose squares do not count: see AdaGrad's.
func (r AdaGradDA) small() fallback.Mask {
	if !r.KeepSubnormals && r.InitialAccumulator >= 1e-20 {
		return fallback.DropSquare
	}
	return 0
}

func (r AdaGradDA) scalars(in *engine.StepInput) fallback.AdaGradDAScalars {
	t := float64(in.T)
	return fallback.AdaGradDAScalars{
		Common: in.Common,
		Small:  r.small(),
		Step:   float32(in.LR),
		ProxL1: float32(min(float64(t*in.ProxL1), math.MaxFloat32)),
		ProxL2: float32(min(float64(t*float64(in.LR*in.ProxL2)), math.MaxFloat32)),
	}
}
