package schedule

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/update"
)

// Step multiplies the rate by gamma every so many steps: PyTorch's StepLR (gamma .1).
func Step(lr, gamma float64, every int64) (Schedule, error) {
	if err := firstError(checkRate("lr", lr), checkRate("gamma", gamma), checkSteps("every", every, 1)); err != nil {
		return nil, err
	}
	return func(steps int64) float64 { return lr * power(gamma, float64(steps/every)) }, nil
}

// MultiStep multiplies the rate by gamma at each of some milestones: PyTorch's MultiStepLR
// (gamma .1), and optax.piecewise_constant_schedule of one scale. The step after so many
// as a milestone says is the first with the new rate.
func MultiStep(lr, gamma float64, milestones ...int64) (Schedule, error) {
	if err := firstError(checkRate("lr", lr), checkRate("gamma", gamma), checkRising("milestones", milestones)); err != nil {
		return nil, err
	}
	list := clone(milestones)
	return func(steps int64) float64 { return lr * power(gamma, float64(reached(list, steps))) }, nil
}

// Piecewise is Keras' PiecewiseConstantDecay: rates[0] up to boundaries[0], and rates[k]
// above boundaries[k-1]. At a boundary itself the rate is still the one before, other than
// in MultiStep and in Optax.
func Piecewise(boundaries []int64, rates []float64) (Schedule, error) {
	if len(rates) != len(boundaries)+1 {
		return nil, &update.ArgError{Arg: "len(rates)", Value: len(rates), Want: fmt.Sprintf("one more than boundaries, %d", len(boundaries)+1)}
	}
	for k, x := range rates {
		if err := checkRate(fmt.Sprintf("rates[%d]", k), x); err != nil {
			return nil, err
		}
	}
	if err := checkRising("boundaries", boundaries); err != nil {
		return nil, err
	}
	from, list := clone(boundaries), clone(rates)
	return func(steps int64) float64 { return list[reached(from, steps-1)] }, nil
}

// Exponential multiplies the rate by gamma in every step: PyTorch's ExponentialLR.
func Exponential(lr, gamma float64) (Schedule, error) {
	return Step(lr, gamma, 1)
}

// An ExponentialDecay multiplies the rate by Rate over Steps steps, LR·Rate^(t/Steps):
// Keras' ExponentialDecay and optax.exponential_decay.
type ExponentialDecay struct {
	LR, Rate  float64
	Steps     int64 // decay_steps, transition_steps
	Begin     int64 // transition_begin: so many steps have LR first
	Staircase bool  // rounds t/Steps down

	// End is Optax' end_value, which the rate does not pass: a least one for a Rate below 1,
	// else a largest one, where 0 is for none.
	End float64
}

// Schedule is the function of the step.
func (d ExponentialDecay) Schedule() (Schedule, error) {
	if err := firstError(checkRate("LR", d.LR), checkAbove("Rate", d.Rate), checkRate("End", d.End), checkSteps("Steps", d.Steps, 1), checkSteps("Begin", d.Begin, 0)); err != nil {
		return nil, err
	}
	if d.Rate >= 1 && d.End == 0 {
		d.End = math.Inf(1)
	}
	return d.at, nil
}

func (d ExponentialDecay) at(steps int64) float64 {
	x := periods(max(0, steps-d.Begin), d.Steps, d.Staircase)
	lr := d.LR * power(d.Rate, x)
	if d.Rate < 1 {
		return max(lr, d.End)
	}
	return min(lr, d.End)
}

// periods is how many periods some steps are, whole ones of a staircase.
func periods(steps, period int64, staircase bool) float64 {
	if staircase {
		return float64(steps / period)
	}
	return float64(steps) / float64(period)
}

// An InverseTime is LR / (1 + Rate·t/Steps): Keras' InverseTimeDecay.
type InverseTime struct {
	LR, Rate  float64
	Steps     int64
	Staircase bool // rounds t/Steps down
}

// Schedule is the function of the step.
func (d InverseTime) Schedule() (Schedule, error) {
	if err := firstError(checkRate("LR", d.LR), checkRate("Rate", d.Rate), checkSteps("Steps", d.Steps, 1)); err != nil {
		return nil, err
	}
	return func(steps int64) float64 {
		return d.LR / (1 + float64(d.Rate*periods(steps, d.Steps, d.Staircase)))
	}, nil
}

// Linear goes in a line from one rate to another, which it reaches after so many steps and
// keeps: optax.linear_schedule, and PyTorch's LinearLR, whose factors are of the rate.
func Linear(from, to float64, steps int64) (Schedule, error) {
	return Polynomial{LR: from, End: to, Power: 1, Steps: steps}.Schedule()
}

// A Polynomial is End + (LR - End)·(1 - t/Steps)^Power, and End from Steps on:
// optax.polynomial_schedule, PyTorch's PolynomialLR, whose End is 0 (Power 1, Steps 5), and
// Keras' PolynomialDecay (End .0001, Power 1).
type Polynomial struct {
	LR, End, Power float64
	Steps          int64

	// Cycle is Keras': at the end of Steps the rate begins again on a curve as long as all
	// steps so far and Steps more, so that it is at End after each multiple of Steps.
	Cycle bool
}

// Schedule is the function of the step.
func (p Polynomial) Schedule() (Schedule, error) {
	if err := firstError(checkRate("LR", p.LR), checkRate("End", p.End), checkAbove("Power", p.Power), checkSteps("Steps", p.Steps, 1)); err != nil {
		return nil, err
	}
	return p.at, nil
}

func (p Polynomial) at(steps int64) float64 {
	length := p.Steps
	if over := steps - 1; p.Cycle && over >= length {
		length *= over/length + 1
	}
	return between(p.LR, p.End, power(1-fraction(steps, length), p.Power))
}

// InverseSqrt rises in a line from 0 to a peak over so many steps, and is then
// peak·√(warmup/t): the schedule of Vaswani et al. 2017, who count steps from 1 and have a
// peak of 1/√(width·warmup).
func InverseSqrt(peak float64, warmup int64) (Schedule, error) {
	if err := firstError(checkRate("peak", peak), checkSteps("warmup", warmup, 1)); err != nil {
		return nil, err
	}
	return func(steps int64) float64 {
		if steps < warmup {
			return peak * fraction(steps, warmup)
		}
		return peak * math.Sqrt(float64(warmup)/float64(steps))
	}, nil
}
