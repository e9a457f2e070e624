package update

import (
	"fmt"

	"github.com/lockstep-go/lockstep/kernels"
)

// Eval makes the parameters, those of each tensor in order, what is to be evaluated or
// shipped: the mean of rules that take gradients elsewhere, which are the
// Schedule-Free ones. The parameters of other rules stay. Until Train, which makes them again
// what a step wants, steps, Export and SetRule are errors, as is a second Eval.
//
// Each number is computed in float64 and rounded once, and so are those of Train. A
// parameter between two powers of two comes back to the bit if its mean is not beyond the
// larger one, and else within half of the mean's last bit. Who wants every bit back has
// Eval turn a copy, gives Train that, and goes on with the original.
func (o *Optimizer) Eval(params ...[]float32) error { return o.turnTo(true, params) }

// Train makes parameters that Eval has turned again what a step wants.
func (o *Optimizer) Train(params ...[]float32) error { return o.turnTo(false, params) }

func (o *Optimizer) turnTo(evaluated bool, params [][]float32) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if o.begun != nil {
		return &ArgError{"step", o.Steps(), "one that End has ended"}
	}
	if o.evaluated == evaluated {
		return &ArgError{"the mode of the parameters", mode(evaluated), "that of " + mode(!evaluated)}
	}
	if err := o.checkParams(params); err != nil {
		return err
	}
	o.torn = true
	o.engine.ToMean(params, !evaluated)
	o.evaluated, o.torn = evaluated, false
	return nil
}

func mode(evaluated bool) string {
	if evaluated {
		return "Eval"
	}
	return "Train"
}

// checkTraining refuses what is not to be done with parameters that are evaluated.
func (o *Optimizer) checkTraining() error {
	if o.evaluated {
		return &ArgError{"the mode of the parameters", mode(true), "that of Train, which makes them what a step wants"}
	}
	return nil
}

// checkParams refuses parameters that are not of the tensors' sizes, or that overlap each
// other or state.
func (o *Optimizer) checkParams(params [][]float32) error {
	if len(params) != len(o.tensors) {
		return &ArgError{"len(params)", len(params), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	list := o.stateIntervals()
	for k, p := range params {
		if len(p) != o.sizes[k] {
			return o.wrongLength(k, p, nil)
		}
		list = append(list, o.interval(kernels.TypedOf(p), "params", k))
	}
	_, err := disjoint(list)
	return err
}
