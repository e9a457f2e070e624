package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Momentum is gradient descent with a heavy ball (Polyak 1964), in the two
// forms in use, which differ once the learning rate changes.
//
//	outside (PyTorch):            b ← μ·b + (1-dampening)·g    w ← w - lr·b
//	inside (Keras, the textbook): b ← μ·b + lr·g               w ← w - b
//
// Its state is "momentum", b, which begins at 0.
type Momentum struct {
	Options
	Momentum float64 // μ, in [0, 1)

	// Dampening weakens the gradient in the buffer, but not on the first step,
	// as in PyTorch. It is for the form with the learning rate outside.
	Dampening float64

	// Nesterov looks ahead (Sutskever et al. 2013): the step is that of
	// μ·b + g, or with the learning rate inside of μ·b + lr·g.
	Nesterov bool

	// LRInside multiplies the gradient in the buffer by the learning rate.
	LRInside bool
}

// Name is "momentum", or "momentum, lr inside", whose buffer is another number.
func (r Momentum) Name() string {
	if r.LRInside {
		return "momentum, lr inside"
	}
	return "momentum"
}

func (r Momentum) check() error {
	err := decayRate("Momentum", r.Momentum)
	switch {
	case err != nil:
		return err
	case !(r.Dampening >= 0 && r.Dampening <= 1):
		return &ArgError{"Dampening", r.Dampening, "a number in [0, 1]"}
	case r.Dampening != 0 && (r.Nesterov || r.LRInside):
		return &ArgError{"Dampening", r.Dampening, "0 with Nesterov or LRInside"}
	case r.Nesterov && r.Momentum == 0:
		return &ArgError{"Momentum", r.Momentum, "a number above 0 with Nesterov"}
	}
	return r.noCautionWithout(r.Momentum)
}

func (r Momentum) plan() engine.Plan {
	p := engine.Plan{State: []engine.Slot{{Name: "momentum", Fades: r.Momentum}}}
	if r.Nesterov {
		p.Passes = engine.One(kernels.Nesterov, r.nesterov)
	} else {
		p.Passes = engine.One(kernels.Momentum, r.scalars)
	}
	return p
}

// input is the gradient's factor in the buffer, outside the learning rate that is left to
// apply to the buffer.
func (r Momentum) input(in *engine.StepInput) (input, outside float64) {
	switch {
	case r.LRInside:
		return in.LR, 1
	case in.T == 1:
		return 1, in.LR
	}
	return 1 - r.Dampening, in.LR
}

func (r Momentum) scalars(in *engine.StepInput) fallback.MomentumScalars {
	input, outside := r.input(in)
	return fallback.MomentumScalars{Common: in.Common, Beta: float32(r.Momentum), Input: float32(input), Step: float32(outside)}
}

func (r Momentum) nesterov(in *engine.StepInput) fallback.NesterovScalars {
	input, outside := r.input(in)
	return fallback.NesterovScalars{
		Common: in.Common,
		Beta:   float32(r.Momentum),
		Input:  float32(input),
		Direct: float32(in.LR),
		Step:   float32(outside * r.Momentum),
	}
}
