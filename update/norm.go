package update

import "math"

// SetMaxNorm clips the gradients from the next step on: where the Euclidean norm
// of all tensors' gradients, scaled as SetGradScale says, is above maxNorm, they
// are multiplied by maxNorm/norm (Pascanu, Mikolov, Bengio 2013). PyTorch's
// clip_grad_norm_ adds 1e-6 to the norm first, TensorFlow's clip_by_global_norm
// does not, nor does this.
//
// The gradients are read once before the step, which has the factor, and stay as
// they are. Observe takes them as they arrive instead. Sums are float64 in a fixed order, so that no gradient overflows them
// and the bits depend on neither workers nor instruction set. A norm that is not
// finite makes the factor 0 or NaN, if the policy lets it through. +Inf, the
// default, switches clipping off.
func (o *Optimizer) SetMaxNorm(maxNorm float64) error {
	if !(maxNorm > 0) {
		return &ArgError{"maxNorm", maxNorm, "a number above 0, or +Inf for no clipping"}
	}
	if o.clipsTensors() && !math.IsInf(maxNorm, 1) {
		return &ArgError{"maxNorm", maxNorm, "+Inf while SetMaxTensorNorm clips to the norm of each tensor"}
	}
	if o.maxNorm = maxNorm; !o.clips() {
		o.engine.ForgetObserved()
	}
	return nil
}

// MaxNorm is what SetMaxNorm has set, +Inf at first.
func (o *Optimizer) MaxNorm() float64 { return o.maxNorm }

// clips reports whether there is a norm to clip to.
func (o *Optimizer) clips() bool { return !math.IsInf(o.maxNorm, 1) }

// GradNorm is the norm of the scaled gradients before they were clipped in the
// last step, one that was skipped included. It is 0 without SetMaxNorm.
func (o *Optimizer) GradNorm() float64 { return o.norm }

// measure computes the norm and the factor of the gradients that follows.
func (o *Optimizer) measure(grads [][]float32) error {
	squares := 0.0
	switch {
	case !o.clips():
	case o.engine.Observed():
		var err error
		if squares, err = o.observed(grads); err != nil {
			return err
		}
	default:
		squares = o.engine.SumSquares(grads)
	}
	o.clipTo(squares)
	if o.clipsTensors() {
		o.engine.MeasureTensors(grads, o.scale)
	}
	return nil
}

// clipTo computes the factor that clips gradients with so large a sum of squares.
func (o *Optimizer) clipTo(squares float64) {
	o.norm, o.clip = 0, 1
	if !o.clips() {
		return
	}
	o.norm = math.Sqrt(squares) * math.Abs(o.scale)
	if !(o.norm <= o.maxNorm) {
		o.clip = o.maxNorm / o.norm
	}
}
