package update

import (
	"fmt"

	"github.com/lockstep-go/lockstep/kernels"
)

// UpdateHessian moves the estimates that Sophia divides by towards new ones: all
// estimates[k] are of the k-th tensor's elements, or nil for one that keeps its own, such as
// those of other rules.
//
//	h ← h + (1-β₂)·(estimate - h)
//
// The caller makes them, every ten steps or so, of gradients at the parameters of the time:
// by Hutchinson's estimator u ⊙ ∇(∇L·u) with a random u of ±1, or by that of Gauss, Newton and
// Bartlett the squares of gradients for labels that the model itself has drawn (see
// Sophia.Gamma). No gradient scale touches them, and no policy looks
// at them: an infinity or NaN stays in h. As a step it is refused with nothing written.
func (o *Optimizer) UpdateHessian(estimates [][]float32) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if err := firstError(o.betweenSteps(), o.checkEstimates(estimates)); err != nil {
		return err
	}
	o.torn = true
	o.engine.UpdateHessian(estimates)
	o.torn = false
	return nil
}

func (o *Optimizer) checkEstimates(estimates [][]float32) error {
	if len(estimates) != len(o.tensors) {
		return &ArgError{"len(estimates)", len(estimates), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	for k, x := range estimates {
		if x == nil {
			continue
		}
		what := fmt.Sprintf("len(estimates[%d])", k) + quoted(o.tensors[k].name)
		if !o.engine.HasHessian(k) {
			return &ArgError{what, len(x), "nil, since its rule has no use for estimates"}
		}
		if len(x) != o.sizes[k] {
			return &ArgError{what, len(x), fmt.Sprintf("the tensor's size, %d", o.sizes[k])}
		}
		if err := apartFrom(o.states, o.interval(kernels.TypedOf(x), "estimates", k)); err != nil {
			return err
		}
	}
	return nil
}
