package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// stages are the kernels around a rule's own, for what it does not do itself. They work
// block by block, so that memory is crossed once.
type stages struct {
	regularizes, shrinks bool
	regularize           fallback.RegularizeScalars
	shrink               fallback.ShrinkScalars
	fade                 fallback.FadeScalars
	decays               bool
}

// penalized reports whether there is a stage around the kernel.
func (s *stages) penalized() bool { return s.regularizes || s.shrinks }

// factors of a gradient beyond these are applied in two parts: the product of both may
// be no normal float32, though the gradient it is for makes it one.
const leastFactor, mostFactor = 0x1p-100, 0x1p100

// input is what the scalars of a step are made from; it sets the stages that go with it.
func (g *group) input(t int64, scale float64) stepInput {
	r := &g.options
	if r.Maximize {
		scale = -scale
	}
	h := stepInput{t: t, lr: g.lr}
	h.Common = fallback.Common{Scale: float32(scale), L2: float32(r.L2), Decay: float32(g.lr * r.WeightDecay), Drop: fallback.DropSubnormal}
	if r.KeepSubnormals {
		h.Drop = 0
	}
	g.fade = fallback.FadeScalars{Scale: h.Scale, Drop: h.Drop, Small: fallback.DropSmall}
	g.regularizes, g.shrinks, g.decays = false, false, h.Decay != 0
	switch {
	case r.Proximal && g.inside:
		h.l1, h.l2, h.L2 = r.L1, r.L2, 0
	case r.Proximal && r.penalties():
		g.shrinks, g.decays, h.L2 = true, true, 0
		g.shrink = fallback.ShrinkScalars{Threshold: float32(g.lr * r.L1), Shrink: float32(1 / (1 + float64(g.lr*r.L2)))}
	case r.L1 != 0:
		g.regularizes = true
		g.regularize = fallback.RegularizeScalars{Scale: h.Scale, L2: h.L2, L1: float32(r.L1)}
		h.Scale, h.L2 = 1, 0
	}
	if size := math.Abs(scale); !g.regularizes && size != 0 && (size < leastFactor || size > mostFactor) {
		part := 0x1p80
		if size < 1 {
			part = 0x1p-80
		}
		g.regularizes = true
		g.regularize = fallback.RegularizeScalars{Scale: float32(part)}
		h.Scale = float32(scale / part)
	}
	return h
}

// apply runs a pass on the elements lo to hi of a tensor, whose parameters and gradients
// are p and grad, and after the last one the stages of its state.
func (o *Optimizer) apply(w *worker, t *tensor, k, lo, hi int, p, grad []float32) {
	g := &o.groups[t.group]
	if g.penalized() {
		o.blocks(w, t, k, lo, p, grad)
	} else {
		o.runPass(w, t, k, lo, hi, p, grad)
	}
	if k == len(g.passes)-1 && g.flushes(t.steps) {
		g.flush(o.table, w, t, lo, hi, p, grad)
	}
}

// blocks runs a pass with the stages around it.
func (o *Optimizer) blocks(w *worker, t *tensor, k, lo int, p, grad []float32) {
	g := &o.groups[t.group]
	x := w.scratch()
	for at := 0; at < len(p); at += tune.BlockLen {
		end := min(at+tune.BlockLen, len(p))
		q, d := p[at:end], grad[at:end]
		if g.regularizes {
			w.list.Set(x[:len(q)], d, q)
			kernels.Regularize(o.table, &w.list, &g.regularize)
			d = x[:len(q)]
		}
		o.runPass(w, t, k, lo+at, lo+end, q, d)
		if g.shrinks {
			w.list.Set(q)
			kernels.Shrink(o.table, &w.list, &g.shrink)
		}
	}
}

// runPass runs a pass on a range.
func (o *Optimizer) runPass(w *worker, t *tensor, k, lo, hi int, p, grad []float32) {
	pass := o.pass(t, k)
	all := append(w.buffers[:0], p, grad)
	for _, s := range t.state {
		all = append(all, s[lo:hi])
	}
	if takes := pass.takes(); takes != nil {
		n := 0
		for _, b := range takes {
			all[n] = all[b]
			n++
		}
		all = all[:n]
	}
	w.list.Set(all...)
	pass.run(o.table, &w.list, &w.sums)
}

// flush makes zeros of small state: see KeepSubnormals.
func (g *group) flush(table kernels.Table, w *worker, t *tensor, lo, hi int, p, grad []float32) {
	for j, s := range g.state {
		switch {
		case s.square && s.flushes != 0:
			w.list.Set(t.state[j][lo:hi])
			kernels.Flush(table, &w.list, &fallback.FlushScalars{Small: s.flushes})
		case !s.square && s.fades < 1:
			w.list.Set(t.state[j][lo:hi], grad)
			kernels.Fade(table, &w.list, &g.fade)
		}
	}
	if g.decays {
		w.list.Set(p, grad)
		kernels.Fade(table, &w.list, &g.fade)
	}
}
