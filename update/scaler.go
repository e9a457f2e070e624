package update

import (
	"fmt"
	"math"
)

// LossScaling are the options of a LossScaler. Begin with TorchLossScaling or
// KerasLossScaling, and change what differs.
type LossScaling struct {
	Scale    float64 // at first
	Growth   float64 // the scale's factor after Interval good steps in a row, above 1
	Backoff  float64 // and after a step that was skipped, above 0 and below 1
	Interval int64
}

// TorchLossScaling is torch.amp.GradScaler: init_scale 65536, growth_factor 2,
// backoff_factor .5, growth_interval 2000.
func TorchLossScaling() LossScaling {
	return LossScaling{Scale: 1 << 16, Growth: 2, Backoff: .5, Interval: 2000}
}

// KerasLossScaling is keras.optimizers.LossScaleOptimizer: initial_scale 32768,
// dynamic_growth_steps 2000; it doubles and halves.
func KerasLossScaling() LossScaling {
	return LossScaling{Scale: 1 << 15, Growth: 2, Backoff: .5, Interval: 2000}
}

// A LossScaler finds the factor of a loss whose gradients, computed in a narrow type, then
// neither overflow nor vanish: as large as it can be, since it grows until a gradient is
// infinite, and then falls. It is PyTorch's GradScaler, with its float32 scale.
//
//	loss *= scaler.Scale()
//	... fill grads ...
//	err := scaler.StepSet(optimizer, params, grads)
//	err = scaler.Update()
//
// A step is skipped too where a finite gradient has a square that is none and the rule takes
// squares, which PyTorch does not see.
type LossScaler struct {
	options LossScaling
	state   LossScalerState
	stepped bool // since the last Update
	skipped bool
}

// A LossScalerState is what a LossScaler remembers, for checkpoints.
type LossScalerState struct {
	Scale float64
	Good  int64 // steps in a row that were not skipped
}

// NewLossScaler returns a scaler that has seen no step.
func NewLossScaler(o LossScaling) (*LossScaler, error) {
	switch {
	case !(o.Growth > 1 && o.Growth <= math.MaxFloat32):
		return nil, &ArgError{"Growth", o.Growth, "a finite float32 above 1"}
	case !(o.Backoff > 0 && o.Backoff < 1):
		return nil, &ArgError{"Backoff", o.Backoff, "above 0 and below 1"}
	case o.Interval < 1:
		return nil, &ArgError{"Interval", o.Interval, "at least 1"}
	}
	s := &LossScaler{options: o}
	return s, s.SetState(LossScalerState{Scale: o.Scale})
}

// Scale is what to multiply the loss by, a float32.
func (s *LossScaler) Scale() float64 { return s.state.Scale }

// State is what it remembers.
func (s *LossScaler) State() LossScalerState { return s.state }

// SetState goes on from a state.
func (s *LossScaler) SetState(state LossScalerState) error {
	if err := checkLossScale(state.Scale); err != nil {
		return err
	}
	if state.Good < 0 {
		return &ArgError{"Good", state.Good, "at least 0"}
	}
	*s = LossScaler{options: s.options, state: LossScalerState{float64(float32(state.Scale)), state.Good}}
	return nil
}

// checkLossScale refuses a scale that is not a float32 of which one over it is one too.
func checkLossScale(x float64) error {
	const least, most = 0x1p-126, math.MaxFloat32
	if !(x >= least && x <= most) {
		return &ArgError{"Scale", x, fmt.Sprintf("from %g to %g", float64(least), float64(most))}
	}
	return nil
}

// StepSet is the optimizer's StepSet with gradients of the scaled loss. They are unscaled
// by the step itself, in float64 together with the optimizer's own GradScale, which is for
// the unscaled ones. The optimizer's policy must be Skip or Refuse; one that is skipped lets
// Update lower the scale. Several optimizers may step before Update, as in PyTorch.
func (s *LossScaler) StepSet(o *Optimizer, params, grads [][]float32) error {
	return s.Take(o, func() error { return o.StepSet(params, grads) })
}

// Take is StepSet with a function that takes the step in another way: StepShards, or StepSet
// of an Accumulator, all of whose gradients have one scale.
func (s *LossScaler) Take(o *Optimizer, step func() error) error {
	if o.policy == Propagate {
		return &ArgError{"policy", o.policy, "Skip or Refuse with a LossScaler"}
	}
	own, skipped := o.scale, o.skipped
	if err := o.SetGradScale(own / s.state.Scale); err != nil {
		return err
	}
	defer func() { o.scale = own }()
	err := step()
	found := o.skipped != skipped
	if err == nil || found {
		s.stepped, s.skipped = true, s.skipped || found
	}
	return err
}

// Update makes the scale of the next loss, after the steps of all optimizers. If one was
// skipped it is multiplied by Backoff; after Interval updates without, by Growth, unless
// that is no float32. Without a step before it is an error, as is a scale that has fallen so
// far that something else must be wrong: the scale is then left as it is.
func (s *LossScaler) Update() error {
	if !s.stepped {
		return &ArgError{"the number of steps since the last Update", 0, "at least 1"}
	}
	next, good := s.state.Scale, s.state.Good+1
	switch {
	case s.skipped:
		next, good = float64(float32(next*s.options.Backoff)), 0
	case good >= s.options.Interval:
		good = 0
		if x := next * s.options.Growth; float64(float32(x)) <= math.MaxFloat32 {
			next = float64(float32(x))
		}
	}
	s.stepped, s.skipped = false, false
	if err := checkLossScale(next); err != nil {
		return err
	}
	s.state = LossScalerState{next, good}
	return nil
}
