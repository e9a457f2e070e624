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
	case s.pass >= len(g.passes) || g.passes[s.pass].walk == together:
	case u.tensor < 0:
		s.small(u, g, w)
	default:
		s.large(k, u, g, w)
	}
}

// small takes a step of small tensors: in one call, unless some are left out or for
// themselves.
func (s *stepping) small(u *unit, g *group, w *Worker) {
	e, list := s.e, g.shared[u.lo:u.hi]
	follows := e.following.follows()
	trails := follows || e.copies
	if e.apart && !u.alike || g.penalized() || e.shards.on() {
		for _, k := range list {
			t := &e.tensors[k]
			if e.present(k) {
				w.setShards(&e.shards, k, 0, t.Size)
				e.apply(w, t, 0, 0, t.Size, s.params[k], s.grads[k])
			} else if follows {
				e.followApart(w, t, 0, t.Size, s.params[k])
			}
		}
		return
	}
	first := &e.tensors[list[0]]
	g.call(first, 0).run(e.table, u.list, nil, &w.sums)
	if g.flushes(e.step - first.missed) {
		e.flushSmall(u)
	}
	if !trails && !e.zeroes {
		return
	}
	for _, k := range list {
		if trails {
			e.trail(w, &e.tensors[k], 0, e.tensors[k].Size, s.params[k])
		}
		if e.zeroes {
			clear(s.grads[k])
		}
	}
}

// large runs a pass on a range of a tensor, and notes what it has measured there.
func (s *stepping) large(k int, u *unit, g *group, w *Worker) {
	e, t, p := s.e, &s.e.tensors[u.tensor], &g.passes[s.pass]
	if !e.runs(u.tensor, p) {
		if p.last && e.following.follows() {
			e.followApart(w, t, u.lo, u.hi, s.params[u.tensor][u.lo:u.hi])
		}
		return
	}
	if p.hasSums() {
		w.sums = Sums{}
	}
	switch {
	case p.walk != whole:
		w.matrix.ColumnSums, w.matrix.Room = t.beginColumns(p, k), nil
		if p.sums == ByColumn {
			w.matrix.Room = w.rowRoom(t.columns())
			clear(w.matrix.Room)
		}
		w.setShards(&e.shards, u.tensor, u.lo, u.hi)
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
	flushes := g.passes[k].last && g.flushes(e.step-t.missed) // for which blocks are better in the cache
	if !flushes && e.fuse(w, t, e.formOf(g, t, w), lo, hi, p) {
		return
	}
	if e.staged(g) || len(w.shards) > 0 || t.packed != nil {
		e.blocks(w, t, k, lo, p, grad, blockOf{flushes: flushes})
		return
	}
	if g.passes[k].sums == ByColumn {
		piece := tune.FactorRows * t.columns()
		for at := 0; at < len(p); at += piece {
			end := min(at+piece, len(p))
			e.runPass(w, t, k, lo+at, lo+end, p[at:end], grad[at:end])
			w.matrix.fold()
		}
	} else {
		e.runPass(w, t, k, lo, hi, p, grad)
	}
	if flushes {
		g.flush(e.table, w, t, lo, hi, p, grad)
	}
}

// fold adds what a piece of tune.FactorRows rows has left in Room up by column.
func (m *Matrix) fold() {
	for j, x := range m.Room {
		m.ColumnSums[j] += float64(x)
	}
	clear(m.Room)
}

// staged reports whether there are stages around the passes of a group, beside shards.
func (e *Engine) staged(g *group) bool {
	return g.penalized() || e.zeroes || e.copies || e.following.follows()
}

// blockOf is what is done with blocks: a pass, after which small state is flushed, or
// elements that agree are counted.
type blockOf struct{ flushes, counts bool }

// blocks runs a pass with the stages around it.
func (e *Engine) blocks(w *Worker, t *tensor, k, lo int, p, grad []float32, of blockOf) {
	g := &e.groups[t.Rule]
	pass := &g.passes[k]
	length, looks := e.blockLen(w, g, pass, t), pass.takesGrads || of.flushes
	piece := tune.FactorRows * t.columns()
	if t.packed != nil && g.paired.run != nil {
		w.packs.drawing = e.drawing(t, 0)
	}
	for at, end := 0, 0; at < len(p); at = end {
		end = min(at+length, len(p))
		if pass.sums == ByColumn {
			end = min(end, (at/piece+1)*piece)
		}
		if w.long {
			if end = min(end, (at/t.columns()+1)*t.columns()); at%t.columns() == 0 && looks {
				e.measureRow(w, g, t, at, at+t.columns(), p, grad)
			}
		}
		pairs := e.pairsUp(g, t, end-at, of)
		w.packs.pairs, w.packs.flushes = pairs, of.flushes
		d := grad[at:end]
		switch {
		case pairs && !of.flushes && w.alongBF16(g):
			d, w.packs.pairing.h = nil, w.shards[0].grads.BF16()[at:end]
		case looks:
			d = e.given(w, g, t, at, end, grad)
		}
		if t.packed != nil && !pairs {
			e.unpack(w, t, lo+at, lo+end)
		}
		if of.counts {
			e.agree(w, t, lo+at, e.before(w, g, t, lo+at, p[at:end], d))
			continue
		}
		e.block(w, t, k, lo+at, p[at:end], d, of.flushes)
		if t.packed != nil && !pairs {
			e.pack(w, t, lo+at)
		}
		if pass.sums == ByColumn && (end%piece == 0 || end == len(p)) {
			w.matrix.fold()
		}
		if e.zeroes && g.zeroes(k, e.step-t.missed) {
			w.zero(grad, at, end)
		}
	}
}

// blockLen is the length of blocks, of whole rows where rows are looked at: but those that
// are longer, which are then measured beforehand.
func (e *Engine) blockLen(w *Worker, g *group, pass *pass, t *tensor) int {
	length := tune.BlockLen
	switch {
	case len(w.shards) > 1:
		length = tune.ShardLen
	case len(w.shards) == 1 && t.packed == nil && !e.staged(g):
		length = tune.WidenLen
	}
	w.long = false
	switch {
	case pass.walk == rows:
		return rowsOf(length, t.columns())
	case !g.clipping.byRows(t):
	case t.columns() > length:
		w.long = true
	default:
		return rowsOf(length, t.columns())
	}
	return length
}

// given is a block of the gradient as the rule is given it: added up and centered.
func (e *Engine) given(w *Worker, g *group, t *tensor, at, end int, grad []float32) []float32 {
	d, n := grad[at:end], end-at
	if len(w.shards) > 0 {
		room := w.rooms(n)
		d = e.sum(w, room[:n], room[n:2*n], at, end)
	}
	if g.clipping.centers && t.Columns > 0 {
		d = e.centered(w, t, w.rooms(n)[2*n:], d)
	}
	return d
}

// block runs a pass on a block, from an element on, between the stages around it.
func (e *Engine) block(w *Worker, t *tensor, k, lo int, p, grad []float32, flushes bool) {
	g := &e.groups[t.Rule]
	pass, hi, x := &g.passes[k], lo+len(p), grad
	if pass.takesGrads {
		x = e.before(w, g, t, lo, p, grad)
	}
	if g.cautious() {
		e.cautiously(w, t, lo, p, x)
	} else {
		e.runPass(w, t, k, lo, hi, p, x)
	}
	if g.shrinks && pass.last {
		w.list.Set(p)
		kernels.Shrink(e.table, &w.list, &g.shrink)
	}
	if flushes && !w.packs.pairs {
		g.flush(e.table, w, t, lo, hi, p, grad)
	}
	if pass.last {
		e.trail(w, t, lo, hi, p)
	}
}

// before is a block of the gradient, from element lo on, as the stages before the kernel leave it.
func (e *Engine) before(w *Worker, g *group, t *tensor, lo int, p, grad []float32) []float32 {
	n := len(p)
	room := w.rooms(n)[3*n:]
	switch {
	case g.clipping.ratio > 0:
		grad = e.clippedRows(w, g, t, room[:n], p, grad)
	case g.clipping.on():
		c := &g.clip
		if g.clipping.norm > 0 {
			c = &t.clip
		}
		w.list.Set(room[:n], grad)
		kernels.Clip(e.table, &w.list, c)
		grad = room[:n]
	}
	if n := g.clipping.noise; n != nil {
		e.addNoise(w, n, t, lo, grad)
	}
	if g.prescales {
		grad = e.regularized(w, room[:n], grad, p, &g.prescale)
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
	case t.packed != nil && w.packs.pairs:
		e.runPair(w, t, lo, p, grad)
		return
	case pass.walk == rows:
		w.matrix.Params, w.matrix.Grads = p, grad
		w.setMatrix(g, t, lo, hi)
	case pass.buffers == nil:
		all := append(w.buffers[:0], p, grad)
		for j := range t.State {
			all = append(all, w.state(t, j, lo, hi))
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
