package update

import (
	"fmt"
	"sync"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Parameters may be kept in two halves of 16 bits: a BF16, with which a model computes, and an
// int16, which has what that lacks of the bits of the float32. A step joins them, is that of
// the float32 to the bit, and splits them, block by block in the cache. So parameters and what
// a model computes with take 4 bytes and not 6, and memory is crossed as little.
//
// The BF16 is the nearest one, and of two the one of larger magnitude: where SetCopies leaves
// the even one. As with any rounding to BF16, a number from 0x1.ffp127 on, half way to what
// would be next, is infinite in it. A NaN whose payload is below 2¹⁵ is infinite too, and one
// whose upper payload is all ones and that rounds up is a zero of the other sign: arithmetic
// makes no such NaN of others. All of these are what they were once they are joined: nothing
// is lost of any float32.

// SplitParams makes halves of float32 parameters, all three of one length.
func SplitParams(params []BF16, rests []int16, from []float32) error {
	if err := sameLengths(len(from), "from", params, rests); err != nil {
		return err
	}
	kernels.SplitBF16(kernels.Active(), params, engine.Uppers(rests), from)
	return nil
}

// JoinParams makes float32 parameters of the halves of SplitParams, all three of one length.
func JoinParams(to []float32, params []BF16, rests []int16) error {
	if err := sameLengths(len(to), "to", params, rests); err != nil {
		return err
	}
	kernels.JoinBF16(kernels.Active(), to, params, engine.Uppers(rests))
	return nil
}

func sameLengths(n int, name string, params []BF16, rests []int16) error {
	switch {
	case len(params) != n:
		return &ArgError{"len(params)", len(params), fmt.Sprintf("len(%s) = %d", name, n)}
	case len(rests) != n:
		return &ArgError{"len(rests)", len(rests), fmt.Sprintf("len(%s) = %d", name, n)}
	}
	return nil
}

// A split is where parameters of 16 bits were when they were last checked.
type split struct {
	owned    []interval // with all state, in order; nil if that is elsewhere
	known    []halves
	standIns [][]float32 // for gradients that there are
	hashes   sync.Once   // for rounding
}

// halves are where those of a tensor's parameters begin.
type halves struct{ params, rests uintptr }

// StepSplit is StepTyped on parameters that are kept in two halves, as SplitParams makes them:
// params[k] and rests[k] are those of the k-th tensor. What they are joined to, state and norms
// have the bits of StepTyped on the float32 parameters, but for which NaN one is.
//
// Rules are those that Begin takes: of one pass over elements, without sums or
// CautiousUpdate. SetCopies, averages, clipping and the other stages are as in any step. What
// takes float32 parameters otherwise, such as SwapAverage, WriteCopies or Eval, takes them
// joined, and what it changes is split again.
func (o *Optimizer) StepSplit(params [][]BF16, rests [][]int16, grads []Typed) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if len(rests) != len(o.tensors) {
		return &ArgError{"len(rests)", len(rests), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	return o.stepHalves("StepSplit", "ApplySplit", params, rests, grads)
}

// stepHalves takes a step of parameters of 16 bits, whose rests are nil if there are none. The names
// are those of the calls that take it and its ranges.
func (o *Optimizer) stepHalves(call, part string, params [][]BF16, rests [][]int16, grads []Typed) error {
	if o.begun != nil {
		return &ArgError{"step", o.Steps(), "one that is not begun: its ranges are the caller's to " + part}
	}
	if err := firstError(o.checkTraining(), o.checkPlain(call), o.checkHalves(params, rests)); err != nil {
		return err
	}
	o.single[0] = grads
	o.typed, o.shardNames = o.single[:], gradNames
	defer func() { // also if it panics
		o.single[0], o.typed, o.shardNames = nil, nil, nil
		o.engine.SetTyped(nil, nil)
		clear(o.first)
	}()
	if err := firstError(o.standIn(o.split.standIns, o.typed, gradNames), o.checkSplitGrads()); err != nil {
		return err
	}
	if o.Steps() >= mostSteps {
		return &ArgError{"the number of steps", o.Steps(), "one that can be counted on"}
	}
	o.fusing.Do(o.fuse)
	o.engine.SetTyped(o.typed, nil)
	return o.carryOutSplit(params, rests)
}

// carryOutSplit takes the step, unless its gradients are refused.
func (o *Optimizer) carryOutSplit(params [][]BF16, rests [][]int16) error {
	if err := o.measure(o.first); err != nil {
		return err
	}
	if o.policy != Propagate {
		if skip, err := o.refuse(o.first); skip || err != nil {
			o.clip = 1
			if err == nil && o.zeroes {
				o.engine.ZeroGrads(o.first)
			}
			return err
		}
	}
	o.torn = true
	o.engine.Begin(o.scale*o.clip, o.first)
	o.engine.RunSplit(params, rests)
	o.clip, o.torn = 1, false
	return nil
}

// checkPlain refuses rules whose steps are not of ranges, one apart from the other.
func (o *Optimizer) checkPlain(call string) error {
	for k := range o.groups {
		if !o.engine.IsPlain(k) {
			return &ArgError{"rule", o.groups[k].rule.Name(), "one of a single pass over elements, without sums or CautiousUpdate, with " + call}
		}
	}
	return nil
}

// checkHalves checks the lengths of both halves of all parameters, or of the one that there is, and
// that they are apart from each other and from state.
func (o *Optimizer) checkHalves(params [][]BF16, rests [][]int16) error {
	s := &o.split
	if len(params) != len(o.tensors) {
		return &ArgError{"len(params)", len(params), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	if s.known == nil {
		s.known, s.standIns = make([]halves, len(o.tensors)), make([][]float32, len(o.tensors))
		for k := range s.standIns {
			s.standIns[k] = []float32{}
		}
	}
	moved := s.owned == nil
	for k, n := range o.sizes {
		if len(params[k]) != n {
			return &ArgError{fmt.Sprintf("len(params[%d])", k) + quoted(o.tensors[k].name), len(params[k]), fmt.Sprintf("the tensor's size, %d", n)}
		}
		at := halves{params: kernels.TypedOf(params[k]).Address()}
		if rests != nil {
			at.rests = kernels.TypedOf(engine.Uppers(rests[k])).Address()
		}
		if rests != nil && len(rests[k]) != n {
			return &ArgError{fmt.Sprintf("len(rests[%d])", k) + quoted(o.tensors[k].name), len(rests[k]), fmt.Sprintf("the tensor's size, %d", n)}
		}
		moved = moved || at != s.known[k]
		s.known[k] = at
	}
	if !moved {
		return nil
	}
	list := s.owned[:0]
	s.owned = nil // until they are known to be apart
	for k := range o.tensors {
		list = append(list, o.interval(kernels.TypedOf(params[k]), "params", k))
		if rests != nil {
			list = append(list, o.interval(kernels.TypedOf(engine.Uppers(rests[k])), "rests", k))
		}
	}
	list, err := disjoint(append(list, o.states...))
	if err != nil {
		return err
	}
	s.owned = list
	return nil
}

// checkSplitGrads checks that gradients are apart from all that is written.
func (o *Optimizer) checkSplitGrads() error {
	if o.zeroes {
		if err := o.shardsApart(); err != nil {
			return err
		}
	}
	return o.eachShard(func(x interval) error { return apartFrom(o.split.owned, x) })
}

// ApplySplit is ApplyTyped on parameters in two halves, as StepSplit has them: of the part of a
// tensor from the offset on.
func (o *Optimizer) ApplySplit(tensor, offset int, params []BF16, rests []int16, grads Typed) error {
	if len(rests) != len(params) {
		return &ArgError{"len(rests)", len(rests), fmt.Sprintf("len(params) = %d", len(params))}
	}
	if o.begun != nil {
		o.fusing.Do(o.fuse)
	}
	x := portion{tensor: tensor, offset: offset, params: kernels.TypedOf(params), rests: rests, grads: grads}
	return o.applyPart(&x)
}
