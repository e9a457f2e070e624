// Package schedule has learning rates that follow the step, as PyTorch's lr_scheduler,
// Optax' schedules and Keras' have them. Where two of them differ there are both, and the
// documentation says which is whose.
//
// A schedule is a function of the step alone, so that training goes on anywhere without a
// state of the schedule. Only a Plateau remembers, what it was shown. Before each step:
//
//	err := optimizer.SetLR(rate(optimizer.Steps()))
//
// Rates are computed in float64 with the same bits on every CPU. Frameworks round each
// operation to float32 (Optax, Keras), or multiply the last rate by a factor (PyTorch):
// they are within their own roundings of these.
package schedule

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/update"
)

// A Schedule is the learning rate of the step after so many, which are at least 0: that of
// the first step is the rate of 0, as in all three frameworks.
type Schedule func(steps int64) float64

// Constant is the same rate in each step: optax.constant_schedule.
func Constant(lr float64) (Schedule, error) {
	if err := checkRate("lr", lr); err != nil {
		return nil, err
	}
	return func(int64) float64 { return lr }, nil
}

// Join is several schedules, each of which begins anew at its boundary, the number of steps
// before: the first at 0, the second at boundaries[0]. It is optax.join_schedules and
// PyTorch's SequentialLR.
func Join(schedules []Schedule, boundaries ...int64) (Schedule, error) {
	for k, s := range schedules {
		if s == nil {
			return nil, &update.ArgError{Arg: fmt.Sprintf("schedules[%d]", k), Value: "nil", Want: "a schedule"}
		}
	}
	if len(schedules) != len(boundaries)+1 {
		return nil, &update.ArgError{Arg: "len(schedules)", Value: len(schedules), Want: fmt.Sprintf("one more than boundaries, %d", len(boundaries)+1)}
	}
	if err := checkRising("boundaries", boundaries); err != nil {
		return nil, err
	}
	list, from := clone(schedules), clone(append([]int64{0}, boundaries...))
	return func(steps int64) float64 {
		k := reached(from[1:], steps)
		return list[k](steps - from[k])
	}, nil
}

// Warmup rises in a line from a rate to that with which another schedule begins, which it
// reaches after so many steps. With a constant after it, it is PyTorch's LinearLR and
// optax.warmup_constant_schedule; with a CosineDecay optax.warmup_cosine_decay_schedule,
// whose decay_steps has the warm-up in it, and Keras' CosineDecay with warmup_target, whose
// has not; with an ExponentialDecay optax.warmup_exponential_decay_schedule.
func Warmup(from float64, steps int64, then Schedule) (Schedule, error) {
	if then == nil {
		return nil, &update.ArgError{Arg: "then", Value: "nil", Want: "a schedule"}
	}
	rise, err := Linear(from, then(0), steps)
	if err != nil {
		return nil, err
	}
	return Join([]Schedule{rise, then}, steps)
}

// clone copies what the caller may change later.
func clone[T any](list []T) []T { return append([]T(nil), list...) }

// reached is how many of some rising boundaries a step has reached.
func reached(boundaries []int64, steps int64) int {
	k := 0
	for k < len(boundaries) && boundaries[k] <= steps {
		k++
	}
	return k
}

// between is a rate on the way from one to another, of which a part is left. It is either to
// the bit where all is left or nothing.
func between(from, to, left float64) float64 {
	return float64(from*left) + float64(to*(1-left))
}

// fraction is the part of some steps that has been taken, 1 at the most.
func fraction(taken, steps int64) float64 {
	return float64(min(taken, steps)) / float64(steps)
}

func checkRate(arg string, x float64) error {
	return checkFrom(arg, x, 0)
}

// checkFrom refuses what is no float32 of at least a number.
func checkFrom(arg string, x, least float64) error {
	if !(x >= least && x <= math.MaxFloat32) {
		return &update.ArgError{Arg: arg, Value: x, Want: fmt.Sprintf("a finite float32 of at least %g", least)}
	}
	return nil
}

// checkAbove refuses what is no float32 above 0.
func checkAbove(arg string, x float64) error {
	if !(x > 0 && x <= math.MaxFloat32) {
		return &update.ArgError{Arg: arg, Value: x, Want: "a finite float32 above 0"}
	}
	return nil
}

// mostSteps leaves room for sums of steps, and float64 tells them all.
const mostSteps = 1 << 52

func checkSteps(arg string, n, least int64) error {
	if n < least || n > mostSteps {
		return &update.ArgError{Arg: arg, Value: n, Want: fmt.Sprintf("from %d to 2⁵²", least)}
	}
	return nil
}

// checkRising refuses boundaries that are not above 0 and above each other.
func checkRising(arg string, list []int64) error {
	before := int64(0)
	for k, x := range list {
		if err := checkSteps(fmt.Sprintf("%s[%d]", arg, k), x, before+1); err != nil {
			return err
		}
		before = x
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
