package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// SumSquares is the sum of the squares of all gradients that are not nil, unit by unit.
func (e *Engine) SumSquares(grads [][]float32) float64 {
	e.squaring.grads = grads
	e.share(&e.squaring, true)
	e.squaring.grads = nil
	return sumPairs(e.partial)[0]
}

// CountBeyond counts the elements of gradients that are not within the Limit of their
// rule, NaN among them, and tells the first tensor that has some.
func (e *Engine) CountBeyond(grads [][]float32, scale float64) (count int64, first int) {
	e.exceeding.grads, e.exceeding.scale = grads, scale
	e.share(&e.exceeding, true)
	e.exceeding.grads = nil
	first = len(e.tensors)
	for k, n := range e.partial {
		if n[0] > 0 {
			count += int64(n[0])
			first = min(first, e.firstBeyond(&e.units[k], grads, scale))
		}
	}
	return count, first
}

// Limit is the largest gradient, before it is scaled, that a rule can take: beyond it
// the scaled one is no float32, or its square is none where the rule squares it.
func (e *Engine) Limit(rule int, scale float64) float32 {
	return float32(min(e.largest(rule)/math.Abs(scale), math.MaxFloat32))
}

// largest is the largest scaled gradient that a rule can take.
func (e *Engine) largest(rule int) float64 {
	for _, s := range e.groups[rule].State {
		if s.Square {
			return 0x1p63
		}
	}
	return math.MaxFloat32
}

// firstBeyond is the tensor of a unit, or of a unit that has some.
func (e *Engine) firstBeyond(u *unit, grads [][]float32, scale float64) int {
	if u.tensor >= 0 {
		return u.tensor
	}
	for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
		limit := e.limitOf(tensor, scale)
		for _, x := range e.gradient(e.workers[0], grads, tensor, 0, e.lenOf(grads[tensor], tensor)) {
			if !(math.Abs(float64(x)) <= float64(limit)) {
				return tensor
			}
		}
	}
	return len(e.tensors) - 1
}

// squaring sums up the squares of a unit's gradients.
type squaring struct {
	e     *Engine
	grads [][]float32
}

func (s *squaring) Do(k, worker int) {
	w := s.e.workers[worker]
	s.e.reduce(k, s.grads, w, func(_ int, lanes *[fallback.Lanes]float64) {
		kernels.SumSquares(s.e.table, &w.list, lanes)
	})
}

// exceeding counts a unit's gradients that are too large.
type exceeding struct {
	e     *Engine
	grads [][]float32
	scale float64
}

func (x *exceeding) Do(k, worker int) {
	w := x.e.workers[worker]
	x.e.reduce(k, x.grads, w, func(tensor int, lanes *[fallback.Lanes]float64) {
		c := fallback.CountBeyondScalars{Limit: x.e.limitOf(tensor, x.scale)}
		kernels.CountBeyond(x.e.table, &w.list, &c, lanes)
	})
}

// reduce sums up the gradients of a unit, of which each is set as the worker's list.
func (e *Engine) reduce(k int, grads [][]float32, w *Worker, add func(tensor int, lanes *[fallback.Lanes]float64)) {
	u := &e.units[k]
	lanes := &w.sums[0]
	*lanes = [fallback.Lanes]float64{}
	if u.tensor >= 0 {
		if grads[u.tensor] != nil {
			w.list.Set(e.gradient(w, grads, u.tensor, u.lo, u.hi))
			add(u.tensor, lanes)
		}
	} else {
		for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
			w.list.Set(e.gradient(w, grads, tensor, 0, e.lenOf(grads[tensor], tensor)))
			add(tensor, lanes)
		}
	}
	e.partial[k] = [MaxSums]float64{fallback.Total(lanes)}
}

// lenOf is the length of a tensor's gradient, which is 0 where there is none. What stands in for
// one may be of another.
func (e *Engine) lenOf(grad []float32, tensor int) int {
	if grad == nil {
		return 0
	}
	return e.tensors[tensor].Size
}
