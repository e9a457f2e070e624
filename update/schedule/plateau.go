package schedule

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/update"
)

// PlateauOptions are those of a rate that falls when a measure, such as the loss of an
// epoch, gets no better. Begin with TorchPlateau, KerasPlateau or OptaxPlateau, and change
// what differs.
type PlateauOptions struct {
	LR     float64 // at first
	Factor float64 // of the rate each time, above 0 and below 1
	Least  float64 // min_lr: the rate falls no further

	// Bad is how many measures in a row that are no better lower the rate: patience of Keras
	// and Optax, patience+1 of PyTorch.
	Bad int64

	// Cooldown is how many measures do not count after the rate was lowered: cooldown of
	// PyTorch and Optax. Keras counts the last of them, and so it is cooldown-1 there.
	Cooldown int64

	// A measure is better if it is below best·(1-Relative) - Absolute. PyTorch's threshold is
	// one or the other, by threshold_mode; min_delta is Absolute, rtol and atol are both.
	Relative, Absolute float64

	// Maximize is PyTorch's and Keras' mode "max": better is above best·(1+Relative) +
	// Absolute.
	Maximize bool

	// MinChange is PyTorch's eps: the rate is left as it is where it would change by no more.
	MinChange float64
}

// TorchPlateau is torch.optim.lr_scheduler.ReduceLROnPlateau: factor .1, patience 10,
// threshold .0001 (rel), eps 1e-8.
func TorchPlateau(lr float64) PlateauOptions {
	return PlateauOptions{LR: lr, Factor: .1, Bad: 11, Relative: 1e-4, MinChange: 1e-8}
}

// KerasPlateau is keras.callbacks.ReduceLROnPlateau: factor .1, patience 10, min_delta .0001.
func KerasPlateau(lr float64) PlateauOptions {
	return PlateauOptions{LR: lr, Factor: .1, Bad: 10, Absolute: 1e-4}
}

// OptaxPlateau is optax.contrib.reduce_on_plateau: factor .1, patience 10, rtol .0001.
// Its accumulation_size averages measures; its min_scale is Least/LR.
func OptaxPlateau(lr float64) PlateauOptions {
	return PlateauOptions{LR: lr, Factor: .1, Bad: 10, Relative: 1e-4}
}

// A Plateau is a learning rate with what its options must remember. It is not for several
// goroutines at a time.
type Plateau struct {
	options PlateauOptions
	state   PlateauState
}

// A PlateauState is what a Plateau remembers, for checkpoints. Best is infinite before the
// first measure, which encoding/json cannot write.
type PlateauState struct {
	LR, Best      float64
	Bad, Cooldown int64 // measures in a row that were no better, and that will not count
}

// NewPlateau returns a rate that no measure has lowered.
func NewPlateau(o PlateauOptions) (*Plateau, error) {
	if !(o.Factor > 0 && o.Factor < 1) {
		return nil, &update.ArgError{Arg: "Factor", Value: o.Factor, Want: "above 0 and below 1"}
	}
	if !(o.Relative >= 0 && o.Relative < 1) {
		return nil, &update.ArgError{Arg: "Relative", Value: o.Relative, Want: "at least 0 and below 1"}
	}
	err := firstError(checkRate("LR", o.LR), checkRate("Least", o.Least), checkSteps("Bad", o.Bad, 1), checkSteps("Cooldown", o.Cooldown, 0),
		checkRate("Absolute", o.Absolute), checkRate("MinChange", o.MinChange))
	if err != nil {
		return nil, err
	}
	worst := math.Inf(1)
	if o.Maximize {
		worst = math.Inf(-1)
	}
	return &Plateau{o, PlateauState{LR: o.LR, Best: worst}}, nil
}

// Observe takes a measure and returns the rate from now on. NaN is no better than any.
func (p *Plateau) Observe(measure float64) float64 {
	s := &p.state
	s.Bad++
	if p.better(measure) {
		s.Best, s.Bad = measure, 0
	}
	switch {
	case s.Cooldown > 0:
		s.Cooldown--
		s.Bad = 0
	case s.Bad >= p.options.Bad:
		s.Bad, s.Cooldown = 0, p.options.Cooldown
		p.lower()
	}
	return s.LR
}

func (p *Plateau) better(x float64) bool {
	o, best := &p.options, p.state.Best
	if o.Maximize {
		return x > float64(best*(1+o.Relative))+o.Absolute
	}
	return x < float64(best*(1-o.Relative))-o.Absolute
}

func (p *Plateau) lower() {
	o, s := &p.options, &p.state
	if lr := max(s.LR*o.Factor, o.Least); s.LR-lr > o.MinChange {
		s.LR = lr
	}
}

// LR is the rate at present.
func (p *Plateau) LR() float64 { return p.state.LR }

// State is what it remembers.
func (p *Plateau) State() PlateauState { return p.state }

// SetState goes on from a state.
func (p *Plateau) SetState(s PlateauState) error {
	if math.IsNaN(s.Best) {
		return &update.ArgError{Arg: "Best", Value: s.Best, Want: "a number or an infinity"}
	}
	if err := firstError(checkRate("LR", s.LR), checkSteps("Bad", s.Bad, 0), checkSteps("Cooldown", s.Cooldown, 0)); err != nil {
		return fmt.Errorf("schedule: state of a plateau: %w", err)
	}
	p.state = s
	return nil
}
