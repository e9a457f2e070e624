package update

import "math"

// SetMaxValue clips each element of the gradients, scaled as SetGradScale says and clipped
// to a norm, to at most so large a magnitude, from the next step on and before penalties
// are added: torch.nn.utils.clip_grad_value_, Keras' clipvalue and optax.clip. NaN stays
// NaN, and infinities become the limit if the policy lets them through. It costs no pass
// over memory. +Inf, at first, is for none.
func (o *Optimizer) SetMaxValue(limit float64) error {
	if !(limit > 0 && float32(limit) > 0 && (limit <= math.MaxFloat32 || math.IsInf(limit, 1))) {
		return &ArgError{"limit", limit, "a float32 above 0, or +Inf for no clipping"}
	}
	if err := o.betweenSteps(); err != nil {
		return err
	}
	o.maxValue = limit
	o.engine.SetClips(o.maxTensorNorm, limit)
	return nil
}

// MaxValue is what SetMaxValue has set, +Inf at first.
func (o *Optimizer) MaxValue() float64 { return o.maxValue }

// SetMaxTensorNorm clips the gradient of each tensor for itself: where its Euclidean norm,
// scaled as SetGradScale says, is above maxNorm, it is multiplied by maxNorm/norm. It is
// Keras' clipnorm; of all tensors together SetMaxNorm has the norm, and only one of the two
// can be. The gradients are read once before the step. Sums are float64 in a fixed order.
// +Inf, at first, is for none.
func (o *Optimizer) SetMaxTensorNorm(maxNorm float64) error {
	if !(maxNorm > 0) {
		return &ArgError{"maxNorm", maxNorm, "a number above 0, or +Inf for no clipping"}
	}
	if o.clips() && !math.IsInf(maxNorm, 1) {
		return &ArgError{"maxNorm", maxNorm, "+Inf while SetMaxNorm clips to the norm of all tensors"}
	}
	if err := o.betweenSteps(); err != nil {
		return err
	}
	o.maxTensorNorm = maxNorm
	o.engine.SetClips(maxNorm, o.maxValue)
	return nil
}

// MaxTensorNorm is what SetMaxTensorNorm has set, +Inf at first.
func (o *Optimizer) MaxTensorNorm() float64 { return o.maxTensorNorm }

// clipsTensors reports whether there is a norm of each tensor to clip to.
func (o *Optimizer) clipsTensors() bool { return !math.IsInf(o.maxTensorNorm, 1) }

// betweenSteps refuses what would change a step that is begun.
func (o *Optimizer) betweenSteps() error {
	if o.begun != nil {
		return &ArgError{"step", o.Steps(), "one that is not begun"}
	}
	return nil
}
