package engine

import "github.com/lockstep-go/lockstep/kernels"

// A Fused is a kernel that does in one loop what a pass and the conversions around it do block
// by block: a step along a gradient of BF16, after which a copy of the parameters is left in
// BF16. Its scalars are those of the pass.
type Fused struct {
	takes func(c call) bool // a pass with these scalars
	run   func(c call, t kernels.Table, f *fusing)
}

// fusing are the buffers of a range of a tensor.
type fusing struct {
	p     []float32
	g, h  []kernels.BF16
	state [2][]float32
}

// FuseOne is the Fused of a kernel with one slot.
func FuseOne[C any](kernel func(t kernels.Table, p []float32, g []kernels.BF16, m []float32, h []kernels.BF16, c *C)) Fused {
	return Fused{takes[C], func(c call, t kernels.Table, f *fusing) {
		kernel(t, f.p, f.g, f.state[0], f.h, &c.(*elementCall[C]).c)
	}}
}

// FuseTwo is the Fused of a kernel with two slots.
func FuseTwo[C any](kernel func(t kernels.Table, p []float32, g []kernels.BF16, m, v []float32, h []kernels.BF16, c *C)) Fused {
	return Fused{takes[C], func(c call, t kernels.Table, f *fusing) {
		kernel(t, f.p, f.g, f.state[0], f.state[1], f.h, &c.(*elementCall[C]).c)
	}}
}

func takes[C any](c call) bool {
	_, ok := c.(*elementCall[C])
	return ok
}

// Fuse gives a rule a kernel, which steps take wherever it comes to the same as the blocks. A
// rule whose options ask for another pass goes on without.
func (e *Engine) Fuse(rule int, f Fused) {
	if g := &e.groups[rule]; g.plain && f.takes(g.passes[0].call) {
		g.fused = f
	}
}

// fuses reports whether a tensor's step is that of its rule's fused kernel: along one gradient
// of BF16, with a copy in BF16 and no stage between. Where small state is looked at, a block is
// better in the cache.
func (e *Engine) fuses(g *group, t *tensor, w *Worker) bool {
	return t.packed == nil && len(w.shards) == 1 && w.shards[0].factor == 1 && w.shards[0].grads.Element() == kernels.Bfloat16 &&
		g.fused.run != nil && t.copied.Element() == kernels.Bfloat16 && !g.penalized() && !e.following.follows()
}

// fuse takes the step of a range, from element lo on.
func (e *Engine) fuse(w *Worker, t *tensor, lo int, p []float32) {
	g, f, hi := &e.groups[t.Rule], &w.fusing, lo+len(p)
	f.p, f.g, f.h = p, w.shards[0].grads.BF16(), t.copied.Slice(lo, hi).BF16()
	for j, s := range t.State {
		f.state[j] = s[lo:hi]
	}
	g.fused.run(g.call(t, 0), e.table, f)
	if e.zeroes {
		w.zero(nil, 0, len(p))
	}
}
