package update

import (
	"fmt"

	"github.com/lockstep-go/lockstep/kernels"
)

// Observe takes a part of the gradients of the next step as it arrives: that of a tensor
// which starts at an offset and is as long as grads. Once all have arrived, the step has
// the norm that SetMaxNorm clips to without reading the gradients again, with the same
// bits in any order of arrival and for any parts. Any goroutines may call it at the same
// time.
//
// The gradients must stay what and where they are until the step, Step, StepSet or Begin,
// which is an error while one of them has not arrived: parts of all tensors but of those
// whose gradient is nil. A part that overlaps one before it is an error, as is Observe
// without a norm to clip to. After a step what was observed is forgotten and the next
// gradients can arrive, also where the policy has skipped or refused the step; an ArgError
// forgets nothing. ForgetObserved lets go of those that no step will have.
func (o *Optimizer) Observe(tensor, offset int, grads []float32) error {
	return o.ObserveTyped(tensor, offset, kernels.TypedOf(grads))
}

// ObserveTyped is Observe for a gradient of any type.
func (o *Optimizer) ObserveTyped(tensor, offset int, grads Typed) error {
	if err := o.checkTensorIndex(tensor); err != nil {
		return err
	}
	t := &o.tensors[tensor]
	if offset < 0 || offset > t.size {
		return &ArgError{"offset", offset, fmt.Sprintf("within the %d elements of the tensor", t.size)}
	}
	if grads.Len() > t.size-offset {
		return &ArgError{"len(grads)", length(grads), fmt.Sprintf("at most the %d elements from the offset on", t.size-offset)}
	}
	if !o.clips() {
		return &ArgError{"MaxNorm", o.maxNorm, "a number with Observe, which is for clipping to it"}
	}
	if from, to, apart := o.engine.Observe(tensor, offset, grads); !apart {
		return &ArgError{"offset", offset, fmt.Sprintf("of a part apart from %d to %d, which has been observed", from, to)}
	}
	return nil
}

// ForgetObserved forgets all parts that Observe has taken since the last step, and those that
// it is taking, for which it waits.
func (o *Optimizer) ForgetObserved() { o.engine.ForgetObserved() }

// observed is the sum of the squares of the gradients that were observed, which must be all
// that are not nil. It is then that of this step and no other.
func (o *Optimizer) observed(grads [][]float32) (float64, error) {
	if o.engine.Observing() {
		return 0, &ArgError{"the gradients", "being observed", "observed before the step"}
	}
	if k, at, whole := o.engine.Unobserved(grads); !whole {
		name, want := fmt.Sprintf("tensor %d%s", k, quoted(o.tensors[k].name)), fmt.Sprintf("all of its %d elements", o.tensors[k].size)
		if grads != nil && grads[k] == nil {
			return 0, &ArgError{name, fmt.Sprintf("observed from %d on", at), "not observed, since its gradient is nil"}
		}
		return 0, &ArgError{name, fmt.Sprintf("not observed from %d on", at), want}
	}
	squares := o.engine.ObservedSquares()
	o.engine.ForgetObserved()
	return squares, nil
}
