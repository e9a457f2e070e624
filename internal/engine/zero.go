package engine

import "github.com/lockstep-go/lockstep/internal/buffers"

// SetZeroGrads says whether steps leave zeros of the gradients that they have taken, which
// then overlap no others.
func (e *Engine) SetZeroGrads(on bool) { e.zeroes = on }

// zeroes reports whether a pass of a tensor's step leaves zeros of the gradients: the last
// one that takes them, or where state is flushed, for which they are looked at, the last.
func (g *group) zeroes(k int, t int64) bool {
	if g.flushes(t) {
		return g.passes[k].last
	}
	return g.passes[k].lastGrads
}

// zero makes zeros of a range of the gradient, or of all its shards.
func (w *Worker) zero(grad []float32, lo, hi int) {
	if len(w.shards) == 0 {
		buffers.Clear(grad[lo:hi])
	}
	for _, s := range w.shards {
		s.grads.Slice(lo, hi).Clear()
	}
}

// ZeroGrads makes zeros of gradients without a step.
func (e *Engine) ZeroGrads(grads [][]float32) {
	e.zeroing.grads = grads
	e.share(&e.zeroing, false)
	e.zeroing.grads = nil
}

// zeroing makes zeros of a unit's gradients.
type zeroing struct {
	e     *Engine
	grads [][]float32
}

func (z *zeroing) Do(k, worker int) {
	e, w := z.e, z.e.workers[worker]
	u := &e.units[k]
	if u.tensor >= 0 {
		e.zeroRange(w, z.grads, u.tensor, u.lo, u.hi)
		return
	}
	for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
		e.zeroRange(w, z.grads, tensor, 0, e.tensors[tensor].Size)
	}
}

func (e *Engine) zeroRange(w *Worker, grads [][]float32, tensor, lo, hi int) {
	if g := grads[tensor]; g != nil {
		if w.setShards(&e.shards, tensor, lo, hi); !e.shards.on() {
			g = g[lo:hi]
		}
		w.zero(g, 0, hi-lo)
	}
}
