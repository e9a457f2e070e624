package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Fused is kernels that do in one loop what a pass and the conversions around it do block by
// block: steps along a gradient of BF16, each of one form. Their scalars begin with those of the
// pass.
type Fused struct {
	takes func(c call) bool // a pass with these scalars
	run   [forms]fusedRun
}

type fusedRun func(c call, t kernels.Table, f *fusing)

// A form is what else a fused kernel converts beside the gradient.
type form uint8

const (
	alone  form = iota // nothing
	copied             // a copy of the parameters is left in BF16
	halved             // parameters are in two halves
	packs              // both slots are PackedBF16
	forms
	unfused = forms
)

// fusing are the buffers of a range of a tensor.
type fusing struct {
	p       []float32
	g, h, r []kernels.BF16 // of halves or a copy; the rests of halves
	state   [2][]float32
	packed  [2][]kernels.BF16
	hashes  []float32
	block   int // the number of the first
	drawing drawing
	adam    fallback.AdamStateBF16Scalars
}

// FuseOne is the Fused of a kernel with one slot, which leaves a copy.
func FuseOne[C any](kernel func(t kernels.Table, p []float32, g []kernels.BF16, m []float32, h []kernels.BF16, c *C)) Fused {
	f := Fused{takes: takes[C]}
	f.run[copied] = func(c call, t kernels.Table, f *fusing) { kernel(t, f.p, f.g, f.state[0], f.h, &c.(*elementCall[C]).c) }
	return f
}

// AdamKernels are those of package kernels whose names have BF16 behind these and Adam before, or
// functions that call them.
type AdamKernels struct {
	BF16  func(t kernels.Table, p []float32, g []kernels.BF16, m, v []float32, h []kernels.BF16, c *fallback.AdamScalars)
	Grad  func(t kernels.Table, p []float32, g []kernels.BF16, m, v []float32, c *fallback.AdamScalars)
	Split func(t kernels.Table, h, r, g []kernels.BF16, m, v []float32, c *fallback.AdamScalars)
	State func(t kernels.Table, p []float32, g, m, v []kernels.BF16, h []float32, c *fallback.AdamStateBF16Scalars)
}

// FuseAdam is the Fused of Adam.
func FuseAdam(k AdamKernels) Fused {
	scalars := func(c call) *fallback.AdamScalars { return &c.(*elementCall[fallback.AdamScalars]).c }
	return Fused{takes[fallback.AdamScalars], [forms]fusedRun{
		alone:  func(c call, t kernels.Table, f *fusing) { k.Grad(t, f.p, f.g, f.state[0], f.state[1], scalars(c)) },
		copied: func(c call, t kernels.Table, f *fusing) { k.BF16(t, f.p, f.g, f.state[0], f.state[1], f.h, scalars(c)) },
		halved: func(c call, t kernels.Table, f *fusing) {
			k.Split(t, f.h, f.r, f.g, f.state[0], f.state[1], scalars(c))
		},
		packs: func(c call, t kernels.Table, f *fusing) {
			f.adam.AdamScalars = *scalars(c)
			for at, end, block := 0, 0, f.block; at < len(f.p); at, block = end, block+1 {
				end = min(at+tune.PackLen, len(f.p))
				f.adam.Factor, f.adam.Add = f.drawing.at(block)
				k.State(t, f.p[at:end], f.g[at:end], f.packed[0][at:end], f.packed[1][at:end], f.hashes[:end-at], &f.adam)
			}
		},
	}}
}

func takes[C any](c call) bool {
	_, ok := c.(*elementCall[C])
	return ok
}

// Fuse gives a rule kernels, which steps take wherever it comes to the same as the blocks. A
// rule whose options ask for another pass goes on without.
func (e *Engine) Fuse(rule int, f Fused) {
	if g := &e.groups[rule]; g.plain && f.takes(g.passes[0].call) {
		g.fused = f
	}
}

// A Paired is kernels that take a whole block of two slots PackedFloat8: what comes of them is packed
// together, once their largest magnitudes are known.
type Paired struct {
	takes func(c call) bool
	run   func(c call, t kernels.Table, b *pairing)
}

// pairing is a block of a step. The gradient is g, or h where that is nil. The units of both slots' rows
// become their largest magnitudes.
type pairing struct {
	p, g   []float32
	h      []kernels.BF16
	x      [2][]float32 // what becomes of the slots
	scales [2][quarters]float32
	words  [2][]float32
}

// AdamPairs are those of package kernels whose names have StateFloat8 behind these and Adam before, or
// functions that call them.
type AdamPairs struct {
	Float32  func(t kernels.Table, p, g, m, v, ms, vs, up, mq, vq []float32, c *fallback.AdamScalars)
	GradBF16 func(t kernels.Table, p []float32, g []kernels.BF16, m, v, ms, vs, up, mq, vq []float32, c *fallback.AdamScalars)
}

// ups bring the code of each part of a block to a word's highest byte.
var ups = []float32{math.Float32frombits(1 << 24), math.Float32frombits(1 << 16), math.Float32frombits(1 << 8), math.Float32frombits(1)}

// PairAdam is the Paired of Adam.
func PairAdam(k AdamPairs) Paired {
	return Paired{takes[fallback.AdamScalars], func(c call, t kernels.Table, b *pairing) {
		scalars, ms, vs := &c.(*elementCall[fallback.AdamScalars]).c, b.scales[0][:], b.scales[1][:]
		if b.g == nil {
			k.GradBF16(t, b.p, b.h, b.x[0], b.x[1], ms, vs, ups, b.words[0], b.words[1], scalars)
			return
		}
		k.Float32(t, b.p, b.g, b.x[0], b.x[1], ms, vs, ups, b.words[0], b.words[1], scalars)
	}}
}

// Pair is Fuse of a Paired.
func (e *Engine) Pair(rule int, p Paired) {
	if g := &e.groups[rule]; g.plain && p.takes(g.passes[0].call) {
		g.paired = p
	}
}

// formOf is the form of a tensor's step on float32 parameters, for which its rule may have a fused
// kernel, or unfused: it is along one gradient of BF16, and there is no stage between.
func (e *Engine) formOf(g *group, t *tensor, w *Worker) form {
	of := alone
	switch {
	case !w.alongBF16(g) || e.following.follows():
		return unfused
	case t.packed != nil:
		for j := range t.packed {
			if t.packed[j].packing != PackedBF16 {
				return unfused
			}
		}
		of = packs
	}
	switch {
	case t.copied.IsNil():
		return of
	case of == alone && t.copied.Element() == kernels.Bfloat16:
		return copied
	}
	return unfused
}

// alongBF16 reports whether a group's kernel may have the gradient as it comes, which is one of BF16.
func (w *Worker) alongBF16(g *group) bool {
	return len(w.shards) == 1 && w.shards[0].factor == 1 && w.shards[0].grads.Element() == kernels.Bfloat16 && !g.penalized()
}

// fuse takes the step of a range of a tensor, if there is a fused kernel for it. Of halves p is nil
// and the worker has them.
func (e *Engine) fuse(w *Worker, t *tensor, of form, lo, hi int, p []float32) bool {
	g, f := &e.groups[t.Rule], &w.fusing
	if of == unfused || g.fused.run[of] == nil {
		return false
	}
	f.p, f.g = p, w.shards[0].grads.BF16()
	switch of {
	case copied:
		f.h = t.copied.Slice(lo, hi).BF16()
	case packs:
		f.hashes, f.block, f.drawing = e.hashes, lo/tune.PackLen, e.drawing(t, 0)
	}
	for j, s := range t.State {
		if of == packs {
			f.packed[j] = bf16Of(t.packed[j].words)[lo:hi]
		} else {
			f.state[j] = s[lo:hi]
		}
	}
	g.fused.run[of](g.call(t, 0), e.table, f)
	if e.zeroes {
		w.zero(nil, 0, hi-lo)
	}
	return true
}
