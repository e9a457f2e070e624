package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// Momentum is gradient descent with a heavy ball (Polyak 1964), in the two
// forms in use, which differ once the learning rate changes.
//
//	outside (PyTorch):       b ← μ·b + (1-dampening)·g    w ← w - lr·b
//	inside (Keras, the text): b ← μ·b + lr·g              w ← w - b
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
	err := firstError(r.Options.check(), belowOne("Momentum", r.Momentum))
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
	return nil
}

func (Momentum) slots() []slot   { return []slot{{name: "momentum"}} }
func (r Momentum) kept() float64 { return r.Momentum }
func (Momentum) takes() bool     { return false }

func (r Momentum) stepper() stepper {
	if r.Nesterov {
		return &nesterov{r: r}
	}
	return &momentum{r: r}
}

// input is the gradient's factor in the buffer.
func (r Momentum) input(h hyper) float64 {
	switch {
	case r.LRInside:
		return h.lr * h.scale
	case h.t == 1:
		return h.scale
	}
	return (1 - r.Dampening) * h.scale
}

// outside is the learning rate that is left to apply to the buffer.
func (r Momentum) outside(h hyper) float64 {
	if r.LRInside {
		return 1
	}
	return h.lr
}

type momentum struct {
	r Momentum
	c fallback.MomentumScalars
}

func (s *momentum) prepare(h hyper) {
	decay := float32(h.decay)
	s.c = fallback.MomentumScalars{
		Beta:   float32(s.r.Momentum),
		Input:  float32(s.r.input(h)),
		Decay:  decay,
		Step:   float32(s.r.outside(h)),
		Keep:   h.keep,
		Lasts:  h.lasts(decay),
		Counts: h.small,
	}
}

func (s *momentum) run(k *kernels.Table, p, g []float32, b state) { k.Momentum(p, g, b[0], &s.c) }

type nesterov struct {
	r Momentum
	c fallback.NesterovScalars
}

func (s *nesterov) prepare(h hyper) {
	decay := float32(h.decay)
	s.c = fallback.NesterovScalars{
		Beta:   float32(s.r.Momentum),
		Input:  float32(s.r.input(h)),
		Decay:  decay,
		Direct: float32(h.lr * h.scale),
		Step:   float32(s.r.outside(h) * s.r.Momentum),
		Keep:   h.keep,
		Lasts:  h.lasts(decay),
		Counts: h.small,
	}
}

func (s *nesterov) run(k *kernels.Table, p, g []float32, b state) { k.Nesterov(p, g, b[0], &s.c) }

func (s *momentum) many(k *kernels.Table, list *kernels.List) { k.MomentumMany(list, &s.c) }

func (s *nesterov) many(k *kernels.Table, list *kernels.List) { k.NesterovMany(list, &s.c) }
