package update

import (
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Which rules have a kernel for which types, beside that of float32, is said here alone. All
// of them are for a gradient of BF16 with a copy of the parameters in BF16, and Adam has others
// without a copy, on parameters in two halves and with both moments of BF16: where memory is crossed,
// one loop over all buffers is faster than blocks. With moments of 8 bits Adam takes a block in two,
// along float32 or BF16, for a code needs the largest of its block. What has no line here goes block by
// block, with the same bits.
//
// No rule is asked but by a step with a gradient of another type, or for state of 8 bits, so that a
// program without such links none of these kernels.

func (Adam) fused() engine.Fused {
	return engine.FuseAdam(engine.AdamKernels{BF16: kernels.AdamBF16, Grad: kernels.AdamGradBF16, Split: kernels.AdamSplitBF16, State: kernels.AdamStateBF16})
}
func (Momentum) fused() engine.Fused { return engine.FuseOne(kernels.MomentumBF16) }
func (Lion) fused() engine.Fused     { return engine.FuseOne(kernels.LionBF16) }
func (SignSGD) fused() engine.Fused  { return engine.FuseOne(kernels.LionBF16) } // with a momentum
func (AdaGrad) fused() engine.Fused  { return engine.FuseOne(kernels.AdaGradBF16) }

func (Adam) paired() engine.Paired {
	return engine.PairAdam(engine.AdamPairs{Float32: kernels.AdamStateFloat8, GradBF16: kernels.AdamGradBF16StateFloat8})
}

// fuse gives the engine the kernels of rules that have one.
func (o *Optimizer) fuse() {
	for k := range o.groups {
		if r, ok := o.groups[k].rule.(interface{ fused() engine.Fused }); ok {
			o.engine.Fuse(k, r.fused())
		}
	}
}

// pair is fuse for state of 8 bits.
func (o *Optimizer) pair() {
	for k := range o.groups {
		if r, ok := o.groups[k].rule.(interface{ paired() engine.Paired }); ok {
			o.engine.Pair(k, r.paired())
		}
	}
}
