package schedule

import "math"

// CosineAnnealing goes along a cosine from a rate to the least one in so many steps, back
// in as many, and so on: PyTorch's CosineAnnealingLR (eta_min 0), which rises again after
// T_max, other than CosineDecay.
func CosineAnnealing(lr, least float64, steps int64) (Schedule, error) {
	if err := firstError(checkRate("lr", lr), checkRate("least", least), checkSteps("steps", steps, 1)); err != nil {
		return nil, err
	}
	return func(t int64) float64 {
		t %= 2 * steps
		return between(lr, least, fall(fraction(min(t, 2*steps-t), steps)))
	}, nil
}

// A CosineDecay goes along a cosine from LR to End in Steps steps, and stays there:
// optax.cosine_decay_schedule and Keras' CosineDecay, whose alpha is End/LR (0 at first).
// Optax raises the cosine to the power of Exponent, which is 1 at first; Keras does not.
type CosineDecay struct {
	LR, End, Exponent float64
	Steps             int64
}

// Schedule is the function of the step.
func (c CosineDecay) Schedule() (Schedule, error) {
	if err := firstError(checkRate("LR", c.LR), checkRate("End", c.End), checkAbove("Exponent", c.Exponent), checkSteps("Steps", c.Steps, 1)); err != nil {
		return nil, err
	}
	return func(steps int64) float64 {
		return between(c.LR, c.End, power(fall(fraction(steps, c.Steps)), c.Exponent))
	}, nil
}

// CosineRestarts goes along a cosine from LR to End in First steps, and begins again: each
// time with a length that is Longer times, and a height above End that is Lower times that
// before (Loshchilov, Hutter 2017). It is PyTorch's CosineAnnealingWarmRestarts (T_mult is
// Longer, a whole number, 1 at first; Lower is 1; eta_min is End) and Keras'
// CosineDecayRestarts (t_mul is Longer, 2; m_mul is Lower, 1; alpha is End/LR).
// optax.sgdr_schedule is a Join of Warmups to CosineDecays.
type CosineRestarts struct {
	LR, End       float64
	First         int64
	Longer, Lower float64
}

// Schedule is the function of the step.
func (c CosineRestarts) Schedule() (Schedule, error) {
	if err := firstError(checkRate("LR", c.LR), checkRate("End", c.End), checkSteps("First", c.First, 1), checkFrom("Longer", c.Longer, 1), checkAbove("Lower", c.Lower)); err != nil {
		return nil, err
	}
	return c.at, nil
}

func (c CosineRestarts) at(steps int64) float64 {
	t, length, restarts := float64(steps), float64(c.First), 0.0
	if c.Longer == 1 {
		restarts = float64(steps / c.First)
		t = float64(steps % c.First)
	}
	for c.Longer > 1 && t >= length {
		t, restarts = t-length, restarts+1
		length *= c.Longer
	}
	peak := between(c.LR, c.End, power(c.Lower, restarts))
	return between(peak, c.End, fall(t/length))
}

// A Shape is a way from one rate to another.
type Shape uint8

const (
	Line         Shape = iota
	Cosine             // half a wave
	OneMinusSqrt       // 1 - √x, which falls steeply at first
)

// left is how much of the way is left after a part of it.
func (s Shape) left(x float64) float64 {
	switch s {
	case Cosine:
		return fall(x)
	case OneMinusSqrt:
		return 1 - math.Sqrt(x)
	}
	return 1 - x
}
