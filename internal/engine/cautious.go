package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A step is cautious in either of two ways, or both: see Options of package update. The
// rule's own kernel, which does nothing with parameters but decay them, takes a block of its
// step from parameters of -0 that nobody has. What it makes of them is that step with the
// other sign, to the bit and to the sign of 0, and another kernel has the parameters move by
// it. Which part of a tensor agrees is known before: a first walk, which writes nothing,
// counts in each block what the kernel makes of copies of the state.

// cautious reports whether there is caution of either kind.
func (o *Options) cautious() bool { return o.CautiousUpdate || o.CautiousDecay }

// leastAgreeing is what the part of a tensor that agrees is taken for at least.
const leastAgreeing = 1e-3

// trustIn is the factor of steps that agree, of which a tensor has so many.
func trustIn(agreeing float64, n int) float32 {
	return float32(1 / max(agreeing/float64(max(n, 1)), leastAgreeing))
}

// caution are the scalars of a tensor's cautious step.
func (g *group) caution(t *tensor) fallback.CautiousScalars {
	c := fallback.CautiousScalars{Scale: g.input.Scale, Trust: 1, Distrust: 1, Decay: g.input.Decay, Growth: g.input.Decay}
	if g.CautiousUpdate {
		c.Trust, c.Distrust = t.trust, 0
	}
	if g.CautiousDecay {
		c.Growth = 0
	}
	return c
}

// cautiously takes the step of a block from element lo on, of which grad is the gradient as
// the rule has it.
func (e *Engine) cautiously(w *Worker, t *tensor, lo int, p, grad []float32) {
	d := w.unmoved(len(p), 0)
	e.runPass(w, t, 0, lo, lo+len(p), d, grad)
	w.cautious = e.groups[t.Rule].caution(t)
	w.list.Set(p, grad, d)
	kernels.Cautious(e.table, &w.list, &w.cautious)
}

// agree adds up how many elements of a block agree.
func (e *Engine) agree(w *Worker, t *tensor, lo int, grad []float32) {
	n, g := len(grad), &e.groups[t.Rule]
	d := w.unmoved(n, len(t.State))
	all, room := append(w.buffers[:0], d, grad), w.moves[n:]
	for j := range t.State {
		state := room[j*n:][:n]
		copy(state, w.state(t, j, lo, lo+n))
		all = append(all, state)
	}
	w.list.Set(all...)
	g.call(t, 0).run(e.table, &w.list, &w.matrix, &w.sums)
	w.agrees.Scale = g.input.Scale
	w.list.Set(grad, d)
	kernels.Agree(e.table, &w.list, &w.agrees, &w.sums[0])
}

// unmoved is a block of -0, behind which w.moves has room for some others.
func (w *Worker) unmoved(n, others int) []float32 {
	if len(w.still) < n {
		w.still = make([]float32, max(n, tune.BlockLen))
		for i := range w.still {
			w.still[i] = float32(math.Copysign(0, -1))
		}
	}
	if len(w.moves) < n*(1+others) {
		w.moves = make([]float32, len(w.still)*(1+others))
	}
	copy(w.moves[:n], w.still)
	return w.moves[:n]
}

// countAgreeing finds what steps that agree are multiplied by, tensor by tensor.
func (e *Engine) countAgreeing(params, grads [][]float32) {
	e.agreeing.params, e.agreeing.grads = params, grads
	e.share(&e.agreeing, true)
	e.agreeing.params, e.agreeing.grads = nil, nil
	for k := range e.tensors {
		t := &e.tensors[k]
		if !e.groups[t.Rule].CautiousUpdate || !e.present(k) {
			continue
		}
		if t.listed < 0 {
			t.sums = sumPairs(e.partial[t.units[0]:t.units[1]])
		}
		t.trust = trustIn(t.sums[0], t.Size)
	}
}

// agreeing counts the elements of a unit that agree, small tensors apart.
type agreeing struct {
	e             *Engine
	params, grads [][]float32
}

func (c *agreeing) Do(k, worker int) {
	e, w := c.e, c.e.workers[worker]
	u := &e.units[k]
	switch g := &e.groups[u.group]; {
	case !g.CautiousUpdate:
	case u.tensor >= 0:
		e.partial[k] = c.count(w, u.tensor, u.lo, u.hi)
	default:
		for _, tensor := range g.shared[u.lo:u.hi] {
			t := &e.tensors[tensor]
			t.sums = c.count(w, tensor, 0, t.Size)
		}
	}
}

func (c *agreeing) count(w *Worker, tensor, lo, hi int) (sums [MaxSums]float64) {
	e := c.e
	if !e.present(tensor) {
		return sums
	}
	w.sums = Sums{}
	w.setShards(&e.shards, tensor, lo, hi)
	e.blocks(w, &e.tensors[tensor], 0, lo, c.params[tensor][lo:hi], c.grads[tensor][lo:hi], blockOf{counts: true})
	sums[0] = fallback.Total(&w.sums[0])
	return sums
}
