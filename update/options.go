package update

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/internal/engine"
)

// A Rule is a formula with its options, such as Adam. Zero means zero in every option: begin
// with a preset, such as torch.AdamW in package update/torch, and change what differs.
type Rule interface {
	// Name is the rule's name in exported state.
	Name() string

	options() Options
	check() error // of what is the rule's own
	plan() engine.Plan
}

// Options are what every rule has. All penalties are for a loss of which the
// gradient is given; w is a parameter, lr the learning rate.
type Options struct {
	LR float64 // the learning rate, at least 0

	// WeightDecay is decoupled: w ← w - lr·WeightDecay·w, apart from the
	// gradient, as in AdamW and everywhere in Keras. It is taken off in one subtraction
	// with the step, so that decays too small for a factor 1 - lr·WeightDecay of
	// float32 are not lost. A parameter that nothing else moves still cannot decay by
	// less than half of its last bit.
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
	// becomes 0 at once. A rule that does not have it refuses it.
	Proximal bool

	// Maximize climbs: the gradient's sign is flipped before all else.
	Maximize bool

	// KeepSubnormals computes with all numbers as they are, which is up to a hundred
	// times slower where they are subnormal. By default
	//
	//   - gradients below 2⁻¹²⁷ (5.9e-39) in magnitude, scaled, are taken for 0, but by
	//     Lion, SignSGD and Rprop, which look at signs, and LAMB, LARS and NovoGrad, whose
	//     steps are as long for them;
	//   - squares that would be subnormal do not count, and in every 16th step (whose
	//     number is a multiple of it) small means of squares are made 0, both where it
	//     is invisible beside Eps;
	//   - in every 16th step other state and parameters that decay become 0 below 2⁻⁹⁵
	//     (2.5e-29) where the gradient is 0;
	//   - in every step instead, if one keeps less than half of itself in it.
	KeepSubnormals bool

	// CautiousUpdate takes no step where it has not the sign of the gradient (Liang et al.
	// 2024), and makes up for that with longer ones in the rest of the tensor. With u for the
	// step that the rule would take from w, its decay apart, and g for the gradient as clipping
	// and L1 or L2 leave it,
	//
	//	w ← w - u·[u, g have one sign] / max(the part of the tensor where they have, .001)
	//
	// as in the authors' program, for rules with a momentum whose steps do not depend on the
	// parameters: others refuse it. 0 and NaN have no sign; the smallest number has one. A step
	// reads gradients and state twice, since it counts in whole tensors first, and so there is
	// none by ranges or by rows. What is taken for 0 has no sign either: where many elements of
	// a tensor have nearly vanished, KeepSubnormals has them counted.
	CautiousUpdate bool

	// CautiousDecay has WeightDecay apply where the step u does not enlarge the parameter (Chen
	// et al. 2025), whether it is taken or not:
	//
	//	w ← w - (u + lr·WeightDecay·w·[u·w ≥ 0])
	//
	// A rule whose step depends on the parameters refuses it.
	CautiousDecay bool
}

func (o Options) options() Options { return o }

func (o Options) check() error {
	return firstError(
		notNegative("LR", o.LR),
		notNegative("WeightDecay", o.WeightDecay),
		notNegative("L2", o.L2),
		notNegative("L1", o.L1),
		o.checkRate("LR", o.LR),
		o.checkCaution(),
	)
}

// checkCaution refuses it beside a proximal step, whose size is that of the step.
func (o Options) checkCaution() error {
	switch {
	case o.Proximal && o.CautiousUpdate:
		return &ArgError{"CautiousUpdate", true, "false with Proximal"}
	case o.Proximal && o.CautiousDecay:
		return &ArgError{"CautiousDecay", true, "false with Proximal"}
	}
	return nil
}

// noCaution refuses it for rules whose steps are not those that parameters of 0 would take.
func (o Options) noCaution() error {
	switch {
	case o.CautiousUpdate:
		return &ArgError{"CautiousUpdate", true, "false: this rule's step depends on parameters, or on whole rows or tensors"}
	case o.CautiousDecay:
		return &ArgError{"CautiousDecay", true, "false: this rule's step depends on parameters, or on whole rows or tensors"}
	}
	return nil
}

// noCautiousUpdate refuses it for rules without a momentum.
func (o Options) noCautiousUpdate() error {
	if o.CautiousUpdate {
		return &ArgError{"CautiousUpdate", true, "false: this rule has no momentum, and its steps have the sign of the gradient"}
	}
	return nil
}

// noCautionWithout refuses it for rules whose momentum is off.
func (o Options) noCautionWithout(momentum float64) error {
	if o.CautiousUpdate && momentum == 0 {
		return &ArgError{"CautiousUpdate", true, "false without a Momentum"}
	}
	return nil
}

// checkRate refuses a learning rate whose product with a decay or a penalty overflows.
func (o Options) checkRate(arg string, lr float64) error {
	return firstError(
		checkProduct(arg, lr, "WeightDecay", o.WeightDecay),
		checkProduct(arg, lr, "L2", o.L2),
		checkProduct(arg, lr, "L1", o.L1))
}

func checkProduct(arg string, lr float64, name string, x float64) error {
	if float64(lr*x) > math.MaxFloat32 {
		return &ArgError{arg, lr, fmt.Sprintf("one whose product with %s, %g, is a float32", name, x)}
	}
	return nil
}

// rater is a rule that refuses learning rates of its own.
type rater interface {
	checkOwnRate(arg string, lr float64) error
}

// checkOwnRate refuses a rule's own learning rates.
func checkOwnRate(r Rule, arg string, lr float64) error {
	if r, ok := r.(rater); ok {
		return r.checkOwnRate(arg, lr)
	}
	return nil
}

// checkOptions refuses what no rule's options can be, what a rule's cannot, and its rate.
func checkOptions(r Rule) error {
	return firstError(r.options().check(), r.check(), checkOwnRate(r, "LR", r.options().LR))
}

// penalties reports whether there is an L1 or L2 to apply.
func (o Options) penalties() bool { return o.L1 != 0 || o.L2 != 0 }

// noProximal refuses proximal steps for rules that have none.
func (o Options) noProximal() error {
	if o.Proximal {
		return &ArgError{"Proximal", true, "false: this rule has no proximal step"}
	}
	return nil
}

// noDecay refuses a decoupled decay for rules that make parameters of their state alone.
func (o Options) noDecay() error {
	if o.WeightDecay != 0 {
		return &ArgError{"WeightDecay", o.WeightDecay, "0: this rule makes its parameters anew"}
	}
	return nil
}

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

func notNegative(arg string, x float64) error {
	if !(x >= 0 && x <= math.MaxFloat32) {
		return &ArgError{arg, x, "a finite float32 of at least 0"}
	}
	return nil
}

// decayRate refuses the rate of a running mean that never forgets as a float32.
func decayRate(arg string, x float64) error {
	if !(x >= 0 && float32(x) < 1) {
		return &ArgError{arg, x, "a number from 0 to below 1 - 3e-8, which float32 tells from 1"}
	}
	return nil
}

// checkEps refuses an eps that leaves 0/0 to a parameter without gradients: 0, or what is
// 0 as a float32 once it is multiplied by a factor, where no other option allows it. The
// names of those that would are the alternative.
func checkEps(eps, factor float64, allowed bool, alternative string) error {
	if err := notNegative("Eps", eps); err != nil {
		return err
	}
	if float32(eps*factor) == 0 && !allowed {
		return &ArgError{"Eps", eps, "a number that float32 tells from 0 (a gradient of 0 would give 0/0), or " + alternative}
	}
	return nil
}

// checkStep refuses a rate that is divided by a number so small that the quotient is no
// float32, unless the caller has answered for a divisor of 0.
func checkStep(arg string, lr, by float64, what string) error {
	if by > 0 && lr/by > math.MaxFloat32 {
		return &ArgError{arg, lr, fmt.Sprintf("one that %s, %g, divides to a float32", what, by)}
	}
	return nil
}
