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
	small                fallback.FlushScalars
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
	if math.Abs(scale) <= 1 {
		h.First = h.Drop
	}
	if r.KeepSubnormals {
		h.Drop, h.First = 0, 0
	}
	g.fade = fallback.FadeScalars{Scale: h.Scale, Drop: h.Drop, Small: fallback.DropSmall}
	for _, s := range g.state {
		if s.goes() {
			g.small.Small = s.flushes // one mask: of a rule's squares there is one mean
		}
	}
	g.regularizes, g.shrinks, g.decays = false, false, h.Decay != 0 || h.L2 != 0
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
	if k == len(g.passes)-1 && g.flushes(o.step-t.missed) {
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
		case s.goes():
			w.list.Set(t.state[j][lo:hi])
			kernels.Flush(table, &w.list, &g.small)
		case s.fadesAway():
			w.list.Set(t.state[j][lo:hi], grad)
			kernels.Fade(table, &w.list, &g.fade)
		}
	}
	if g.decays {
		w.list.Set(p, grad)
		kernels.Fade(table, &w.list, &g.fade)
	}
}

// goes reports whether what is small of a slot goes, fadesAway whether it does where the
// gradient has ceased.
func (s slot) goes() bool      { return s.square && s.flushes != 0 }
func (s slot) fadesAway() bool { return !s.square && s.fades < 1 }

// flushed are the lists of what is flushed of the small tensors of a unit.
type flushed struct {
	placed      int // when they were made
	decays      bool
	small, fade kernels.List
	smalls      [][]float32
	fades       [][]float32
}

// flushSmall is flush for the small tensors of a unit, in two calls.
func (o *Optimizer) flushSmall(u *unit) {
	g := &o.groups[u.group]
	f := u.flushed
	if f.placed != o.placed || f.decays != g.decays {
		f.list(o, g, u)
	}
	if len(f.smalls) > 0 {
		kernels.Flush(o.table, &f.small, &g.small)
	}
	if len(f.fades) > 0 {
		kernels.Fade(o.table, &f.fade, &g.fade)
	}
}

// list lists the buffers where they are now.
func (f *flushed) list(o *Optimizer, g *group, u *unit) {
	f.placed, f.decays = o.placed, g.decays
	f.smalls, f.fades = f.smalls[:0], f.fades[:0]
	n := g.buffers()
	for at := u.lo; at < u.hi; at++ {
		of := g.list[at*n : (at+1)*n]
		for j, s := range g.state {
			switch {
			case s.goes():
				f.smalls = append(f.smalls, of[2+j])
			case s.fadesAway():
				f.fades = append(f.fades, of[2+j], of[1])
			}
		}
		if g.decays {
			f.fades = append(f.fades, of[0], of[1])
		}
	}
	f.small.Reset(1, f.smalls)
	f.fade.Reset(2, f.fades)
}
