package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// stepping runs a pass of a step.
type stepping struct {
	e             *Engine
	pass          int
	params, grads [][]float32
}

func (s *stepping) Do(k, worker int) {
	u, w := &s.e.units[k], s.e.workers[worker]
	switch g := &s.e.groups[u.group]; {
	case s.pass >= len(g.passes):
	case u.tensor < 0:
		s.small(u, g, w)
	default:
		s.large(k, u, g, w)
	}
}

// small takes a step of small tensors: in one call, unless some are left out or for
// themselves.
func (s *stepping) small(u *unit, g *group, w *Worker) {
	e := s.e
	if e.apart && !u.alike || g.penalized() {
		for _, k := range g.shared[u.lo:u.hi] {
			if e.present(k) {
				t := &e.tensors[k]
				e.apply(w, t, 0, 0, t.Size, s.params[k], s.grads[k])
			}
		}
		return
	}
	first := &e.tensors[g.shared[u.lo]]
	g.call(first, 0).run(e.table, u.list, nil, &w.sums)
	if g.flushes(e.step - first.missed) {
		e.flushSmall(u)
	}
}

// large runs a pass on a range of a tensor, and notes what it has measured there.
func (s *stepping) large(k int, u *unit, g *group, w *Worker) {
	e, t, p := s.e, &s.e.tensors[u.tensor], &g.passes[s.pass]
	if !e.runs(u.tensor, p) {
		return
	}
	if p.hasSums() {
		w.sums = Sums{}
	}
	switch {
	case p.walk != whole:
		w.matrix.ColumnSums = t.beginColumns(p, k)
		e.apply(w, t, s.pass, u.lo, u.hi, s.params[u.tensor][u.lo:u.hi], s.grads[u.tensor][u.lo:u.hi])
	case k == t.units[0]: // which has all of it
		e.wholeTensor(w, t, s.pass)
	}
	if p.hasSums() {
		for j := range w.sums {
			e.partial[k][j] = fallback.Total(&w.sums[j])
		}
	}
}

// apply runs a pass on the elements lo to hi of a tensor, whose parameters and gradients
// are p and grad, and after the last one the stages of its state.
func (e *Engine) apply(w *Worker, t *tensor, k, lo, hi int, p, grad []float32) {
	g := &e.groups[t.Rule]
	if g.penalized() {
		e.blocks(w, t, k, lo, p, grad)
	} else {
		e.runPass(w, t, k, lo, hi, p, grad)
	}
	if g.passes[k].last && g.flushes(e.step-t.missed) {
		g.flush(e.table, w, t, lo, hi, p, grad)
	}
}

// blocks runs a pass with the stages around it.
func (e *Engine) blocks(w *Worker, t *tensor, k, lo int, p, grad []float32) {
	g := &e.groups[t.Rule]
	pass := &g.passes[k]
	length := tune.BlockLen
	if pass.walk == rows {
		columns := t.columns()
		length = max(1, tune.BlockLen/columns) * columns
	}
	for at := 0; at < len(p); at += length {
		end := min(at+length, len(p))
		q, d := p[at:end], grad[at:end]
		if pass.takesGrads {
			d = e.staged(w, g, q, d)
		}
		e.runPass(w, t, k, lo+at, lo+end, q, d)
		if g.shrinks && pass.last {
			w.list.Set(q)
			kernels.Shrink(e.table, &w.list, &g.shrink)
		}
	}
}

// staged is a block of the gradient as the stages before the kernel leave it.
func (e *Engine) staged(w *Worker, g *group, p, grad []float32) []float32 {
	room, n := w.scratch(2*len(p)), len(p)
	if g.splits {
		grad = e.regularized(w, room[:n], grad, p, &g.split)
	}
	if g.regularizes {
		grad = e.regularized(w, room[n:], grad, p, &g.regularize)
	}
	return grad
}

func (e *Engine) regularized(w *Worker, x, grad, p []float32, c *fallback.RegularizeScalars) []float32 {
	w.list.Set(x, grad, p)
	kernels.Regularize(e.table, &w.list, c)
	return x
}

// runPass runs a pass on a range.
func (e *Engine) runPass(w *Worker, t *tensor, k, lo, hi int, p, grad []float32) {
	g := &e.groups[t.Rule]
	pass := &g.passes[k]
	switch {
	case pass.walk == rows:
		w.matrix.Params, w.matrix.Grads = p, grad
		w.setMatrix(g, t, lo, hi)
	case pass.buffers == nil:
		all := append(w.buffers[:0], p, grad)
		for _, s := range t.State {
			all = append(all, s[lo:hi])
		}
		w.list.Set(all...)
	default:
		w.list.Set(w.pick(pass.buffers, t, lo, hi, p, grad)...)
	}
	g.call(t, k).run(e.table, &w.list, &w.matrix, &w.sums)
}

// wholeTensor runs a pass on all state of a tensor.
func (e *Engine) wholeTensor(w *Worker, t *tensor, k int) {
	g := &e.groups[t.Rule]
	w.matrix.Params, w.matrix.Grads, w.matrix.ColumnSums = nil, nil, nil
	if k > 0 && g.passes[k-1].sums == ByColumn {
		w.matrix.ColumnSums = t.byColumn[:t.columns()]
	}
	w.setMatrix(g, t, 0, t.Size)
	g.call(t, k).run(e.table, &w.list, &w.matrix, &w.sums)
}
