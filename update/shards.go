package update

import (
	"fmt"

	"github.com/lockstep-go/lockstep/kernels"
)

// StepShards is StepSet with gradients that are sums: shards[j][k] is what the j-th of
// several goroutines, each with samples of its own, has for the k-th tensor. They are added
// within the step, block by block, so that memory is crossed once, in the order of the
// shards and in float32: the bits are those of StepSet with
//
//	((shards[0][k] + shards[1][k]) + shards[2][k]) + ...
//
// for any number of workers. SetGradScale makes a mean of the sum. A shard that is nil is
// none of a tensor's, and a tensor without any is left out of the step. Norms, policies and
// all else look at the sums, for which a step with a norm or a policy reads the shards twice.
// Observe has not seen sums: with what it has observed StepShards is an error.
func (o *Optimizer) StepShards(params [][]float32, shards [][][]float32) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	return o.stepShards(params, shards, o.numbers(len(shards)), nil)
}

// numbers are what errors call so many shards.
func (o *Optimizer) numbers(n int) []string {
	for j := len(o.numbered); j < n; j++ {
		o.numbered = append(o.numbered, fmt.Sprintf("shards[%d]", j))
	}
	return o.numbered
}

// stepShards is StepShards with what errors call each shard, and a factor of each, or nil
// for none.
func (o *Optimizer) stepShards(params [][]float32, shards [][][]float32, names []string, factors []float64) error {
	if err := o.findFirst(shards); err != nil {
		return err
	}
	if o.clips() && o.engine.Observed() {
		return &ArgError{"shards", len(shards), "gradients of StepSet or Begin, which Observe has seen: ForgetObserved"}
	}
	o.shards, o.shardNames = shards, names
	o.engine.SetShards(shards, factors)
	defer func() { // also if it panics
		o.shards, o.shardNames = nil, nil
		o.engine.SetShards(nil, nil)
		clear(o.first)
	}()
	return o.stepSet(params, o.first)
}

// findFirst checks the lengths of all shards and finds the first of each tensor.
func (o *Optimizer) findFirst(shards [][][]float32) error {
	if len(shards) == 0 {
		return &ArgError{"len(shards)", 0, "at least 1"}
	}
	if o.first == nil {
		o.first = make([][]float32, len(o.tensors))
	}
	clear(o.first)
	for j, grads := range shards {
		if len(grads) != len(o.tensors) {
			return &ArgError{fmt.Sprintf("len(shards[%d])", j), len(grads), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
		}
		for k, g := range grads {
			if g == nil {
				continue
			}
			if len(g) != o.sizes[k] {
				return &ArgError{fmt.Sprintf("len(shards[%d][%d])", j, k) + quoted(o.tensors[k].name), len(g), fmt.Sprintf("the tensor's size, %d", o.sizes[k])}
			}
			if o.first[k] == nil {
				o.first[k] = g
			}
		}
	}
	return nil
}

// checkShards checks that all shards are apart from what is written, in each step.
func (o *Optimizer) checkShards() (err error) {
	defer func() {
		if err != nil {
			o.owned = nil // checkSet has noted the first of each tensor
		}
	}()
	if o.zeroes && o.sums() {
		if err := o.shardsApart(); err != nil {
			return err
		}
	}
	last := lastGap{helps: true}
	return o.eachShard(func(x interval) error {
		if o.isApart(x.at, x.end(), &last) {
			return nil
		}
		return apartFrom(o.owned, x)
	})
}

// sums reports whether the gradients of this step are shards, or of several types.
func (o *Optimizer) sums() bool { return o.shards != nil || o.typed != nil }

// eachShard calls f with where each shard is of each tensor, up to an error.
func (o *Optimizer) eachShard(f func(x interval) error) error {
	for j, grads := range o.shards {
		for k, g := range grads {
			if err := f(o.interval(kernels.TypedOf(g), o.shardNames[j], k)); err != nil {
				return err
			}
		}
	}
	for j, grads := range o.typed {
		for k, g := range grads {
			if err := f(o.interval(g, o.shardNames[j], k)); err != nil {
				return err
			}
		}
	}
	return nil
}
