package update

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Rule is a formula with its options: SGD, Momentum, AdaGrad or Adam. Zero
// means zero in every option: begin with a preset, such as PyTorchAdamW, and
// change what differs.
type Rule interface {
	// Name is the rule's name in exported state.
	Name() string

	options() Options
	check() error
	slots() []slot

	// takes reports whether the rule's kernel applies L1 and L2 itself.
	takes() bool

	// kept is what a step leaves of the state that fades fastest, as a factor.
	kept() float64
	stepper() stepper
}

// A slot is a state buffer: its name in exported state and its first value.
type slot struct {
	name    string
	initial float64
}

// maxSlots is the most state buffers that a rule has.
const maxSlots = 3

// Options are what every rule has. All penalties are for a loss of which the
// gradient is given; w is a parameter, lr the learning rate.
type Options struct {
	LR float64 // learning rate, at least 0

	// WeightDecay is decoupled: w ← w - lr·WeightDecay·w, apart from the
	// gradient, as in AdamW and everywhere in Keras.
	WeightDecay float64

	// L2 is the penalty ½·L2·‖w‖², which adds L2·w to the gradient. It is
	// PyTorch's weight_decay of SGD, Adagrad and Adam, and twice the number
	// that Keras' regularizers.L2 takes.
	L2 float64

	// L1 is the penalty L1·‖w‖₁, which adds L1·sign(w) to the gradient, with
	// sign(0) = 0. L1 and L2 together are the elastic net.
	L1 float64

	// Proximal applies L1 and L2 as a proximal step after the update instead:
	// the soft threshold, which makes exact zeros, and a division. The step
	// size of each element is the rule's own: for AdaGrad and Adam it is
	// divided by the root like the gradient (Duchi, Singer 2009), so that a
	// parameter whose gradients have all been 0 has a step size of LR/Eps and
	// becomes 0 at once.
	Proximal bool

	// Maximize climbs: the gradient's sign is flipped before all else.
	Maximize bool

	// KeepSubnormals computes with all numbers as they are, which is up to a hundred
	// times slower where they are subnormal, and on AVX2 up to 1.7 times in caches
	// where they are not. By default
	//
	//   - gradients below 2⁻⁹⁵ (2.5e-29) in magnitude are taken for 0, and by AdaGrad
	//     and Adam, which square them, those below 2⁻⁶³ (1.1e-19), both as they are
	//     given and scaled; where L1 or L2 is added to a gradient, it is the sum;
	//   - in every 16th step (whose number is a multiple of it) moments below 2⁻⁹⁵ are
	//     stored as +0, in every step if one keeps less than half of itself;
	//   - in every 16th step parameters below 2⁻⁹⁵ are taken for 0 before they decay,
	//     in every step if less than half of them is left.
	//
	// None of it can matter beside any eps or parameter in use.
	KeepSubnormals bool
}

func (o Options) options() Options { return o }

func (o Options) check() error {
	return firstError(
		notNegative("LR", o.LR),
		notNegative("WeightDecay", o.WeightDecay),
		notNegative("L2", o.L2),
		notNegative("L1", o.L1),
		o.checkRate("LR", o.LR),
	)
}

// checkRate refuses a learning rate whose product with the decay overflows.
func (o Options) checkRate(arg string, lr float64) error {
	if float64(lr*o.WeightDecay) > math.MaxFloat32 {
		return &ArgError{arg, lr, fmt.Sprintf("one whose product with WeightDecay, %g, is a float32", o.WeightDecay)}
	}
	return nil
}

// penalties reports whether there is an L1 or L2 to apply.
func (o Options) penalties() bool { return o.L1 != 0 || o.L2 != 0 }

// flushEvery is how many steps apart small numbers are flushed; another value changes
// bits. State of at least 2⁻⁹⁵ that keeps half of itself in each step is above 2⁻¹¹¹
// when it is looked at again, far from subnormal, and in the steps between nothing
// but the arithmetic is left to do. What begins smaller, as squares do, waits for it.
const flushEvery, leastKept = 16, 0.5

// bits sets the bits by which kernels tell small numbers in a step. kept is what is
// left in it of the state that fades fastest.
func (h *hyper) bits(keepSubnormals bool, kept float64) {
	h.small, h.squares = fallback.FlushSmall, fallback.FlushSquares
	if keepSubnormals {
		h.small, h.squares = fallback.KeepAll, fallback.KeepAll
	}
	h.flushes = h.t%flushEvery == 0
	h.keep = fallback.KeepAll
	if h.flushes || kept < leastKept {
		h.keep = h.small
	}
}

// lasts are the bits of which a parameter has one that is not taken for 0.
func (h *hyper) lasts(decay float32) float32 {
	if decay != 1 && (h.flushes || decay < leastKept) {
		return h.small
	}
	return fallback.KeepAll
}

// A hyper is what the scalars of one step are made from.
type hyper struct {
	t      int64   // the step, from 1
	lr     float64 // at this step
	scale  float64 // of the gradient; the stages may have applied it
	decay  float64 // factor of the parameter
	l1, l2 float64 // what the kernel is to apply of them

	// A number that has none of these bits is taken for 0: gradients, gradients that
	// are squared, state.
	small, squares, keep float32
	flushes              bool // in this step, what is small
}

// A stepper is a rule's kernel with its scalars. prepare is called once a step,
// then run for parts of the buffers, from any goroutine.
type stepper interface {
	prepare(h hyper)
	run(k *kernels.Table, p, g []float32, s state)

	// many is run for a list of tensors' parameters, gradients and state.
	many(k *kernels.Table, list *kernels.List)
}

// A state is a part of the state buffers of one tensor, in the order of slots.
type state [maxSlots][]float32

// An ArgError is bad input: which argument, its value, and what it must be.
// When a call returns one, it has written nothing.
type ArgError struct {
	Arg   string
	Value any
	Want  string
}

func (e *ArgError) Error() string {
	return fmt.Sprintf("update: %s is %v, want %s", e.Arg, e.Value, e.Want)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// notNegative also refuses what float32 would round to 0.
func notNegative(arg string, x float64) error {
	if !(x == 0 || x > 0 && float32(x) > 0 && x <= math.MaxFloat32) {
		return &ArgError{arg, x, "a finite float32 of at least 0"}
	}
	return nil
}

func belowOne(arg string, x float64) error {
	if !(x >= 0 && x < 1) {
		return &ArgError{arg, x, "a number in [0, 1)"}
	}
	return nil
}
