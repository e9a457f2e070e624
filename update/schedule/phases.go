package schedule

import (
	"math"

	"github.com/lockstep-go/lockstep/update"
)

// phases are rates and the numbers of steps, not always whole ones, at which they are
// reached.
type phases struct {
	shape Shape
	at    []float64
	rates []float64
}

// rate is that after some steps: the first one at 0, the last one from the end on.
func (p *phases) rate(steps int64) float64 {
	t, before := float64(steps), 0.0
	for k, end := range p.at {
		if t <= end && end > before {
			return between(p.rates[k], p.rates[k+1], p.shape.left((t-before)/(end-before)))
		}
		before = end
	}
	return p.rates[len(p.at)]
}

// A OneCycle rises from a low rate to Peak and falls to a much lower one (Smith, Topin
// 2017). Begin with TorchOneCycle, OptaxCosineOneCycle or OptaxLinearOneCycle, and change
// what differs.
type OneCycle struct {
	Peak     float64 // max_lr, peak_value
	Steps    int64   // total_steps, transition_steps
	Start    float64 // pct_start: the part of Steps in which the rate rises
	Div      float64 // the rate begins at Peak/Div
	FinalDiv float64 // and ends at Peak/(Div·FinalDiv)
	Shape    Shape   // Cosine, or Line for PyTorch's anneal_strategy "linear"

	// Final, if it is above 0, is the part of Steps after which the rate is down at
	// Peak/Div, from where it falls on: pct_final of Optax, 2·Start of PyTorch's three_phase.
	Final float64

	// Inclusive is PyTorch's way to count: the last of Steps steps has the last rate, and a
	// part of Steps ends a step earlier, two steps earlier after two phases. Optax is at the
	// last rate after Steps steps, and rounds the ends of phases down.
	Inclusive bool
}

// TorchOneCycle is torch.optim.lr_scheduler.OneCycleLR: pct_start .3, div_factor 25,
// final_div_factor 1e4, along a cosine.
func TorchOneCycle(peak float64, steps int64) OneCycle {
	return OneCycle{Peak: peak, Steps: steps, Start: .3, Div: 25, FinalDiv: 1e4, Shape: Cosine, Inclusive: true}
}

// OptaxCosineOneCycle is optax.cosine_onecycle_schedule: pct_start .3, div_factor 25,
// final_div_factor 1e4.
func OptaxCosineOneCycle(peak float64, steps int64) OneCycle {
	return OneCycle{Peak: peak, Steps: steps, Start: .3, Div: 25, FinalDiv: 1e4, Shape: Cosine}
}

// OptaxLinearOneCycle is optax.linear_onecycle_schedule: pct_start .3, pct_final .85,
// div_factor 25, final_div_factor 1e4.
func OptaxLinearOneCycle(peak float64, steps int64) OneCycle {
	return OneCycle{Peak: peak, Steps: steps, Start: .3, Final: .85, Div: 25, FinalDiv: 1e4, Shape: Line}
}

// Schedule is the function of the step.
func (c OneCycle) Schedule() (Schedule, error) {
	if err := firstError(checkRate("Peak", c.Peak), checkSteps("Steps", c.Steps, 2), checkPart("Start", c.Start), checkPart("Final", c.Final), checkAbove("Div", c.Div), checkAbove("FinalDiv", c.FinalDiv), c.checkOrder()); err != nil {
		return nil, err
	}
	low := c.Peak / c.Div
	p := phases{c.Shape, []float64{c.end(c.Start, 1), c.end(1, 1)}, []float64{low, c.Peak, low / c.FinalDiv}}
	if c.Final > 0 {
		p.at = []float64{c.end(c.Start, 1), c.end(c.Final, 2), c.end(1, 1)}
		p.rates = []float64{low, c.Peak, low, low / c.FinalDiv}
	}
	return p.rate, nil
}

// end is the step at which a part of all ends, after so many phases.
func (c *OneCycle) end(part, phases float64) float64 {
	x := float64(part * float64(c.Steps))
	if c.Inclusive {
		return x - phases
	}
	return math.Floor(x)
}

func (c *OneCycle) checkOrder() error {
	if c.Final > 0 && !(c.Final > c.Start) {
		return &update.ArgError{Arg: "Final", Value: c.Final, Want: "0, or more than Start"}
	}
	if c.Shape != Line && c.Shape != Cosine {
		return &update.ArgError{Arg: "Shape", Value: c.Shape, Want: "Line or Cosine"}
	}
	return nil
}

func checkPart(arg string, x float64) error {
	if !(x >= 0 && x <= 1) {
		return &update.ArgError{Arg: arg, Value: x, Want: "from 0 to 1"}
	}
	return nil
}

// A WSD is warm-up, stable, decay: a line from Init to Peak over Warmup steps, Peak for
// Stable, and then in Shape to End over Decay, where it stays (Hu et al. 2024; Hägele et
// al. 2024, who find OneMinusSqrt the best of the shapes). No framework of the three has
// it under a name.
type WSD struct {
	Init, Peak, End       float64
	Warmup, Stable, Decay int64
	Shape                 Shape
}

// Schedule is the function of the step.
func (s WSD) Schedule() (Schedule, error) {
	if err := firstError(checkRate("Init", s.Init), checkRate("Peak", s.Peak), checkRate("End", s.End), checkSteps("Warmup", s.Warmup, 0), checkSteps("Stable", s.Stable, 0), checkSteps("Decay", s.Decay, 1)); err != nil {
		return nil, err
	}
	if s.Shape > OneMinusSqrt {
		return nil, &update.ArgError{Arg: "Shape", Value: s.Shape, Want: "Line, Cosine or OneMinusSqrt"}
	}
	return s.at, nil
}

func (s WSD) at(steps int64) float64 {
	if steps < s.Warmup {
		return between(s.Init, s.Peak, 1-fraction(steps, s.Warmup))
	}
	falling := max(0, steps-s.Warmup-s.Stable)
	return between(s.Peak, s.End, s.Shape.left(fraction(falling, s.Decay)))
}
