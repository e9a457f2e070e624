package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// shards are parts of the gradients of a step, which has their sum: of each tensor those
// that are not nil, in their order and each with its factor.
type shards struct {
	list    [][][]float32     // by shard and tensor
	typed   [][]kernels.Typed // or these
	factors []float32
}

func (s *shards) on() bool { return len(s.list)+len(s.typed) > 0 }

// SetShards says of what gradients those of the next steps are the sum, until it is called
// with none. What steps and measures take for the gradients has then their lengths, and is
// nil where all shards are. Factors that are absent are 1.
func (e *Engine) SetShards(list [][][]float32, factors []float64) {
	e.shards.list = list
	e.setFactors(len(list), factors)
}

// SetTyped is SetShards for gradients of several types, of which blocks are made float32 as
// they are added up.
func (e *Engine) SetTyped(list [][]kernels.Typed, factors []float64) {
	e.shards.typed = list
	e.setFactors(len(list), factors)
}

func (e *Engine) setFactors(n int, factors []float64) {
	s := &e.shards
	s.factors = s.factors[:0]
	for j := range n {
		factor := 1.
		if factors != nil {
			factor = factors[j]
		}
		s.factors = append(s.factors, float32(factor))
	}
	for _, w := range e.workers { // which a panic has left with the last ones
		w.forgetShards()
	}
}

// A shard is a range of one of those of a tensor, with its factor.
type shard struct {
	factor float32
	grads  kernels.Typed
}

// setShards lists the shards of a range of a tensor.
func (w *Worker) setShards(s *shards, tensor, lo, hi int) {
	w.shards = w.shards[:0]
	for j, grads := range s.list {
		if g := grads[tensor]; g != nil {
			w.shards = append(w.shards, shard{s.factors[j], kernels.TypedOf(g[lo:hi])})
		}
	}
	for j, grads := range s.typed {
		if g := grads[tensor]; !g.IsNil() {
			w.shards = append(w.shards, shard{s.factors[j], g.Slice(lo, hi)})
		}
	}
}

func (w *Worker) forgetShards() {
	clear(w.shards)
	w.shards = w.shards[:0]
}

// floats is a range of a shard as float32, in room of a term's own if it is of another type.
func (e *Engine) floats(w *Worker, s *shard, lo, hi, term int) []float32 {
	x := s.grads.Slice(lo, hi)
	if x.Element() == kernels.Float32 {
		return x.Float32()
	}
	n := hi - lo
	if need := min(len(w.shards), len(w.adding.terms)) * n; len(w.widened) < need {
		w.widened = make([]float32, max(need, tune.BlockLen))
	}
	room := w.widened[term*n:][:n]
	x.Widen(e.table, room)
	return room
}

// sum adds up a range of the worker's shards, in x or y unless it is one of them. As many as
// a kernel has are read side by side: one stream alone is far from what memory can give.
func (e *Engine) sum(w *Worker, x, y []float32, lo, hi int) []float32 {
	a := &w.adding
	a.n = 0
	for k := range w.shards {
		s := &w.shards[k]
		a.take(e.floats(w, s, lo, hi, a.n), s.factor)
		if a.n == len(a.terms) {
			e.add(w, x)
			a.take(x, 1)
			x, y = y, x
		}
	}
	switch {
	case a.n > 1 || a.n == 1 && a.factors[0] != 1:
		e.add(w, x)
		return x
	case a.n == 1:
		return a.terms[0]
	}
	return x[:0]
}

// adding is what is to be added up.
type adding struct {
	n       int
	terms   [4][]float32
	factors [4]float32
	one     fallback.ClipScalars
	two     fallback.Add2Scalars
	three   fallback.Add3Scalars
	four    fallback.Add4Scalars
}

func (a *adding) take(x []float32, factor float32) {
	a.terms[a.n], a.factors[a.n] = x, factor
	a.n++
}

// add adds up the terms that there are, in x.
func (e *Engine) add(w *Worker, x []float32) {
	a, t, f := &w.adding, &w.adding.terms, &w.adding.factors
	switch a.n {
	case 1:
		a.one = fallback.ClipScalars{Part: 1, Scale: f[0], Limit: float32(math.Inf(1))}
		w.list.Set(x, t[0])
		kernels.Clip(e.table, &w.list, &a.one)
	case 2:
		a.two = fallback.Add2Scalars{Scale1: f[0], Scale2: f[1]}
		w.list.Set(x, t[0], t[1])
		kernels.Add2(e.table, &w.list, &a.two)
	case 3:
		a.three = fallback.Add3Scalars{Scale1: f[0], Scale2: f[1], Scale3: f[2]}
		w.list.Set(x, t[0], t[1], t[2])
		kernels.Add3(e.table, &w.list, &a.three)
	case 4:
		a.four = fallback.Add4Scalars{Scale1: f[0], Scale2: f[1], Scale3: f[2], Scale4: f[3]}
		w.list.Set(x, t[0], t[1], t[2], t[3])
		kernels.Add4(e.table, &w.list, &a.four)
	}
	a.n = 0
}

// gradient is a range of a tensor's gradient, added up if there are shards.
func (e *Engine) gradient(w *Worker, grads [][]float32, tensor, lo, hi int) []float32 {
	if !e.shards.on() {
		return grads[tensor][lo:hi]
	}
	n := hi - lo
	room := w.scratch(2 * n)
	w.setShards(&e.shards, tensor, lo, hi)
	x := e.sum(w, room[:n], room[n:], 0, n)
	w.forgetShards()
	return x
}
