package update

import (
	"fmt"

	"github.com/lockstep-go/lockstep/kernels"
)

// BF16 and F16 are numbers of 16 bits: the upper half of a float32, and binary16 of IEEE 754.
// kernels.NarrowBF16 and its like convert them, fallback.ToBF16 one of them.
type (
	BF16 = kernels.BF16
	F16  = kernels.F16
)

// A Typed is a buffer of float32, BF16 or F16, as TypedOf or TypedList make them of slices.
// The zero Typed is none, as a nil slice is.
type Typed = kernels.Typed

// TypedOf is the buffer that a slice is, not a copy.
func TypedOf[T kernels.Number](x []T) Typed { return kernels.TypedOf(x) }

// TypedList are the buffers that slices are, nil ones too.
func TypedList[T kernels.Number](list [][]T) []Typed { return kernels.TypedList(list) }

// StepTyped is StepSet with gradients of any type, each tensor's of its own. They are only
// read, block by block as float32 within the step, which crosses half the memory for BF16 and
// F16: the bits are those of StepSet with the same numbers as float32, and so are norms and
// what policies see. A gradient of 16 bits is scaled once it is float32.
//
// Parameters and all arithmetic are float32, and state is unless SetStateTypes says otherwise.
// SetCopies has the step leave the parameters in 16 bits too: along gradients of BF16 and with
// copies in BF16, Adam, Momentum without Nesterov, Lion, SignSGD with momentum and AdaGrad have
// kernels that do all of it in one loop, and Adam along gradients of BF16 without copies too. StepSplit keeps the parameters themselves in two
// halves of 16 bits, and StepBF16 in one.
func (o *Optimizer) StepTyped(params [][]float32, grads []Typed) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	o.single[0] = grads
	defer func() { o.single[0] = nil }()
	return o.stepTyped(params, o.single[:], gradNames, nil)
}

// gradNames is what errors call gradients of one shard.
var gradNames = []string{"grads"}

// StepShardsTyped is StepShards with shards of any types, which are added as float32.
func (o *Optimizer) StepShardsTyped(params [][]float32, shards [][]Typed) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if len(shards) == 0 {
		return &ArgError{"len(shards)", 0, "at least 1"}
	}
	if o.clips() && o.engine.Observed() {
		return &ArgError{"shards", len(shards), "gradients of StepSet or Begin, which Observe has seen: ForgetObserved"}
	}
	return o.stepTyped(params, shards, o.numbers(len(shards)), nil)
}

// stepTyped takes a step with the sums of shards of any types, with a factor of each, or nil for none.
func (o *Optimizer) stepTyped(params [][]float32, shards [][]Typed, names []string, factors []float64) error {
	if err := o.standIn(params, shards, names); err != nil {
		return err
	}
	o.fusing.Do(o.fuse)
	o.typed, o.shardNames = shards, names
	o.engine.SetTyped(shards, factors)
	defer func() { // also if it panics
		o.typed, o.shardNames = nil, nil
		o.engine.SetTyped(nil, nil)
		clear(o.first)
	}()
	return o.stepSet(params, o.first)
}

// standIn checks the lengths of all shards, and has the parameters stand in for the gradients
// of tensors that have one: they are float32 and as long, and no element of them is read for
// one.
func (o *Optimizer) standIn(params [][]float32, shards [][]Typed, names []string) error {
	if len(params) != len(o.tensors) {
		return &ArgError{"len(params)", len(params), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	if o.first == nil {
		o.first = make([][]float32, len(o.tensors))
	}
	clear(o.first)
	for j, grads := range shards {
		if len(grads) != len(o.tensors) {
			return &ArgError{"len(" + names[j] + ")", len(grads), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
		}
		for k, g := range grads {
			if g.IsNil() {
				continue
			}
			if g.Len() != o.sizes[k] {
				return &ArgError{fmt.Sprintf("len(%s[%d])", names[j], k) + quoted(o.tensors[k].name), length(g), fmt.Sprintf("the tensor's size, %d", o.sizes[k])}
			}
			o.first[k] = params[k]
		}
	}
	return nil
}

// standIns notes whether parameters stand in for the gradients of this step, and forgets where
// gradients were if they do and did not before, or the other way: they must be placed anew.
func (o *Optimizer) standIns() (others bool) {
	if others = o.standing != (o.typed != nil); others {
		o.standing = !o.standing
		for k := range o.known {
			o.known[k].grads = nowhere
		}
	}
	return others
}

// length is that of a buffer as errors say it, with its type if that is not the usual one.
func length(x Typed) any {
	if x.Element() == kernels.Float32 {
		return x.Len()
	}
	return fmt.Sprintf("%d of %v", x.Len(), x.Element())
}

// SetCopies has each step leave copies of the parameters in BF16 or F16, rounded to nearest
// even: the weights that a model computes with, beside the float32 ones that it is trained in.
// Each block is copied in the pass over memory that moves it, once all else of the step is
// done to it. copies[k] is as long as the k-th tensor and is written in place from now on; of
// a tensor whose Typed is zero there is no copy. nil is for none at all.
//
// A step writes the copies of tensors that it moves: one that is left out, because its
// gradient is nil, keeps its copy, as do all in a step that is skipped. Apply writes the range
// that it is given, StepRows its rows. Before the first step, and where parameters have
// changed otherwise (SwapAverage, Eval and Train, a checkpoint), WriteCopies makes copies. They
// are no state: Export has none. Copies must not overlap parameters, state, gradients or each
// other.
func (o *Optimizer) SetCopies(copies []Typed) error {
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if err := o.checkCopies(copies); err != nil {
		return err
	}
	before := make([]Typed, len(o.tensors))
	for k := range before {
		before[k] = o.engine.Copied(k)
	}
	o.engine.SetCopies(copies)
	if err := o.placeStates(); err != nil {
		o.engine.SetCopies(before)
		return firstError(err, o.placeStates())
	}
	return nil
}

func (o *Optimizer) checkCopies(copies []Typed) error {
	if len(copies) == 0 {
		return nil
	}
	if len(copies) != len(o.tensors) {
		return &ArgError{"len(copies)", len(copies), fmt.Sprintf("the number of tensors, %d, or 0 for no copies", len(o.tensors))}
	}
	for k, c := range copies {
		name := fmt.Sprintf("copies[%d]", k)
		switch {
		case c.IsNil():
		case c.Element() == kernels.Float32:
			return &ArgError{name + quoted(o.tensors[k].name), "of float32", "of bfloat16 or float16"}
		case c.Len() != o.sizes[k]:
			return &ArgError{"len(" + name + ")" + quoted(o.tensors[k].name), length(c), fmt.Sprintf("the tensor's size, %d", o.sizes[k])}
		}
	}
	return nil
}

// WriteCopies makes the copies of SetCopies of all parameters, params[k] being those of the
// k-th tensor, with the optimizer's workers. Without copies it is an error.
func (o *Optimizer) WriteCopies(params [][]float32) error {
	if err := o.enterSwapped(); err != nil {
		return err
	}
	defer o.leave()
	if err := o.betweenSteps(); err != nil {
		return err
	}
	some := false
	for k := range o.tensors {
		some = some || !o.engine.Copied(k).IsNil()
	}
	if !some {
		return &ArgError{"copies", "none", "those of SetCopies"}
	}
	if err := o.checkParams(params); err != nil {
		return err
	}
	o.engine.CopyOut(params)
	return nil
}
