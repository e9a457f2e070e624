package update

import "github.com/lockstep-go/lockstep/kernels"

// SetZeroGrads has steps leave zeros of the gradients that they have taken, for a backward
// pass that adds to them: PyTorch's zero_grad(set_to_none=False) without a pass of its own
// over memory, since each block becomes zeros while it is in the cache. At first gradients
// are only read.
//
// A step that the policy Skip leaves out makes zeros of them too, as a loop with zero_grad
// would: what is not finite would spoil all that is added to it. An error leaves them as
// they are, that of the policy Refuse too. Gradients that are zeroed must not overlap each
// other; parts that are handed to Apply are the caller's to keep apart.
func (o *Optimizer) SetZeroGrads(on bool) error {
	if err := o.betweenSteps(); err != nil {
		return err
	}
	o.zeroes = on
	o.owned = nil // so that the next step looks at all gradients
	o.engine.SetZeroGrads(on)
	return nil
}

// ZeroGrads is what SetZeroGrads has set, false at first.
func (o *Optimizer) ZeroGrads() bool { return o.zeroes }

// gradsApart checks that no gradients overlap, which will be written.
func (o *Optimizer) gradsApart(grads [][]float32) error {
	o.apart = o.apart[:0]
	for k, g := range grads {
		o.apart = append(o.apart, o.interval(kernels.TypedOf(g), "grads", k))
	}
	_, err := disjoint(o.apart)
	return err
}

// shardsApart is gradsApart of shards.
func (o *Optimizer) shardsApart() error {
	o.apart = o.apart[:0]
	o.eachShard(func(x interval) error {
		o.apart = append(o.apart, x)
		return nil
	})
	_, err := disjoint(o.apart)
	return err
}
