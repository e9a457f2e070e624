package update

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// StepRows is a step on some rows of a matrix alone, such as an embedding table of which a
// batch uses few: params, its state and its gradient are those of the only tensor, which has
// Columns. indices are the rows, in any order; grads is their gradients, one after the
// other, len(indices) x Columns. No other row of params or of any state is read or written.
//
// Where a row appears more than once its gradients are added up first, as float32 and in
// order of appearance. Every index is checked before anything is written. The bits depend on
// neither the order of different rows nor the number of workers, and are those of Step where
// all rows are given: but for a norm, which is added up row by row.
//
// A row that is left out stays as it is, as in torch.optim.SparseAdam and TensorFlow's
// ResourceSparseApply operations: its means do not fade, its momentum does not move it, and
// neither decay nor penalty applies to it until it appears again. What depends on the step's
// number, such as the correction of Adam's bias, goes by the steps of the optimizer and not
// by those of the row.
//
// A rule of more than one pass, such as LAMB, is refused, and so is CautiousUpdate: they need the whole tensor. What a rule does
// in its first step alone, as ADOPT and Adan do, it does to the rows of the optimizer's first
// step. RowwiseAdaGrad, RowwiseAdam and RowwiseLAMB keep a number for each row where others
// keep one for each element.
//
// What clips, scales or looks at gradients takes the sums, where rows appear more than once: a
// norm is that of the whole tensor's gradient, which is 0 in other rows. Of
// state that fades those rows are looked at (see KeepSubnormals) that a step takes whose
// number is a multiple of 16. SetAverage, SetLookahead, SetNoise, SetZeroGrads, SetAdaptiveClip
// and SetCentralize are about all rows, and an error here.
//
// A call takes memory for as many rows as the longest so far, and none in proportion to the
// table.
func StepRows[I int32 | int64](o *Optimizer, params []float32, indices []I, grads []float32) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if err := o.checkRows(params, len(indices), grads); err != nil {
		return err
	}
	defer o.engine.ForgetRows()
	if k := engine.TakeRows(o.engine, indices, grads); k >= 0 {
		t := &o.tensors[0]
		return &ArgError{fmt.Sprintf("indices[%d]", k), indices[k], fmt.Sprintf("at least 0 and below the number of rows, %d", t.size/t.columns)}
	}
	return o.stepRows(params)
}

// checkRows checks all of a step on rows but the indices.
func (o *Optimizer) checkRows(params []float32, rows int, grads []float32) error {
	if len(o.tensors) != 1 {
		return &ArgError{"the number of tensors", len(o.tensors), "1 with StepRows: an optimizer for each table"}
	}
	t := &o.tensors[0]
	switch {
	case t.columns == 0:
		return &ArgError{"tensors[0].Columns", 0, "the length of a row with StepRows"}
	case !o.engine.TakesRows(t.group):
		return &ArgError{"rule", o.groups[t.group].rule.Name(), "one of a single pass without sums or CautiousUpdate with StepRows"}
	case o.packsState():
		return &ArgError{"the state", "not float32", "float32 with StepRows: SetStateTypes"}
	case o.begun != nil:
		return &ArgError{"step", o.Steps(), "one that is not begun: its ranges are the caller's to Apply"}
	case o.takesAll():
		return &ArgError{"the optimizer", "with SetAverage, SetLookahead, SetNoise, SetZeroGrads, SetAdaptiveClip or SetCentralize", "without them with StepRows: they are about all rows"}
	case o.engine.Observed():
		return &ArgError{"the gradients", "observed", "not observed with StepRows: see ForgetObserved"}
	case len(params) != t.size:
		return &ArgError{"len(params)" + quoted(t.name), len(params), fmt.Sprintf("the tensor's size, %d", t.size)}
	case len(grads)%t.columns != 0 || len(grads)/t.columns != rows:
		return &ArgError{"len(grads)" + quoted(t.name), len(grads), fmt.Sprintf("%d indices times %d columns", rows, t.columns)}
	case o.Steps() >= mostSteps:
		return &ArgError{"the number of steps", o.Steps(), "one that can be counted on"}
	}
	return firstError(o.checkTraining(), o.placeRows(params, grads))
}

// takesAll reports whether something is set that is about whole tensors.
func (o *Optimizer) takesAll() bool {
	return o.average != Averaging{} || o.lookahead != Lookahead{} || o.noise != Noise{} || o.zeroes || o.centralizes || !math.IsInf(o.adaptive, 1)
}

// placeRows checks that a step's gradients are apart from parameters and state.
func (o *Optimizer) placeRows(params, grads []float32) error {
	if len(o.owned) == 0 || o.known[0].params != address(params) {
		o.one[0][0] = params
		err := o.own(o.one[0][:])
		o.one[0][0] = nil
		if err != nil {
			return err
		}
	}
	o.known[0].grads = nowhere
	return apartFrom(o.owned, o.interval(kernels.TypedOf(grads), "grads", 0))
}

// stepRows takes the step on rows that the engine has.
func (o *Optimizer) stepRows(params []float32) error {
	squares := 0.0
	if o.clips() {
		squares = o.engine.RowSquares()
	}
	o.clipTo(squares)
	if o.clipsTensors() {
		o.engine.MeasureRows(o.scale)
	}
	if o.policy != Propagate {
		if skip, err := o.refuseRows(); skip || err != nil {
			o.clip = 1
			return err
		}
	}
	o.torn = true
	o.engine.Begin(o.scale*o.clip, nil)
	o.engine.RunRows(params)
	o.clip, o.torn = 1, false
	return nil
}

// refuseRows is refuse of a step on rows.
func (o *Optimizer) refuseRows() (skip bool, err error) {
	o.nonFinite = 0
	if o.clips() && o.withinLimits() {
		return false, nil
	}
	return o.judge(o.engine.CountRowsBeyond(o.factor()), 0)
}
