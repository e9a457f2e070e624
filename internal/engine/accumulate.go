package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// Accumulate adds gradients with a factor to sums, of the tensors that have some; those that
// have not begun it begins.
func (e *Engine) Accumulate(sums [][]float32, grads []kernels.Typed, factor float64, begun []bool) {
	a := &e.accumulating
	a.sums, a.grads, a.begun = sums, grads, begun
	a.first = fallback.ClipScalars{Part: 1, Scale: float32(factor), Limit: float32(math.Inf(1))}
	a.next = fallback.AccumulateScalars{Scale: float32(factor)}
	e.share(a, false)
	a.sums, a.grads, a.begun = nil, nil, nil
	for k, g := range grads {
		begun[k] = begun[k] || !g.IsNil()
	}
}

// accumulating adds a unit's gradients to sums.
type accumulating struct {
	e     *Engine
	sums  [][]float32
	grads []kernels.Typed
	begun []bool
	first fallback.ClipScalars
	next  fallback.AccumulateScalars
}

func (a *accumulating) Do(k, worker int) {
	w := a.e.workers[worker]
	u := &a.e.units[k]
	if u.tensor >= 0 {
		a.add(w, u.tensor, u.lo, u.hi)
		return
	}
	for _, tensor := range a.e.groups[u.group].shared[u.lo:u.hi] {
		a.add(w, tensor, 0, a.e.tensors[tensor].Size)
	}
}

func (a *accumulating) add(w *Worker, tensor, lo, hi int) {
	g := a.grads[tensor]
	if g.IsNil() {
		return
	}
	if g.Element() == kernels.Float32 {
		a.addFloats(w, tensor, a.sums[tensor][lo:hi], g.Float32()[lo:hi])
		return
	}
	for at, end := lo, 0; at < hi; at = end {
		end = min(at+tune.BlockLen, hi)
		room := w.scratch(end - at)
		g.Slice(at, end).Widen(a.e.table, room)
		a.addFloats(w, tensor, a.sums[tensor][at:end], room)
	}
}

func (a *accumulating) addFloats(w *Worker, tensor int, sum, grad []float32) {
	w.list.Set(sum, grad)
	if a.begun[tensor] {
		kernels.Accumulate(a.e.table, &w.list, &a.next)
	} else {
		kernels.Clip(a.e.table, &w.list, &a.first)
	}
}
