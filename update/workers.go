package update

import (
	"runtime"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A unit is work for one goroutine: a range of one tensor, or some of a group's
// small tensors.
type unit struct {
	group  int
	tensor int // -1 for small tensors
	lo, hi int // elements of the tensor, or the places of tensors among the small
	size   int // elements
	list   *kernels.List
	*flushed
}

// split cuts the tensors into units.
func split(tensors []tensor, groups []group) []unit {
	var units []unit
	for k := range tensors {
		t := &tensors[k]
		if t.listed >= 0 {
			continue
		}
		t.units[0] = len(units)
		for lo := 0; lo < t.size; lo += tune.UnitLen {
			hi := min(lo+tune.UnitLen, t.size)
			units = append(units, unit{group: t.group, tensor: k, lo: lo, hi: hi, size: hi - lo})
		}
		t.units[1] = len(units)
	}
	for g := range groups {
		u := unit{group: g, tensor: -1}
		for at, k := range groups[g].shared {
			u.hi = at + 1
			u.size += tensors[k].size
			if u.size >= tune.UnitLen || at == len(groups[g].shared)-1 {
				u.list = new(kernels.List)
				units = append(units, u)
				u = unit{group: g, tensor: -1, lo: u.hi, hi: u.hi}
			}
		}
	}
	return units
}

// A worker is what a goroutine at work has for itself.
type worker struct {
	list    kernels.List
	buffers [8][]float32
	sums    sums
	block   *[tune.BlockLen]float32
}

// scratch is a block that stays in the cache.
func (w *worker) scratch() *[tune.BlockLen]float32 {
	if w.block == nil {
		w.block = new([tune.BlockLen]float32)
	}
	return w.block
}

// workers carries out the units of one step.
type workers struct {
	o       *Optimizer
	limit   int // goroutines, the caller's included
	helpers []*helper
	own     worker // the caller's

	job           job
	params, grads [][]float32

	next    atomic.Int64                  // unit; beyond the last one between steps
	pending atomic.Int64                  // units that are not done
	waiting atomic.Pointer[chan struct{}] // the caller waits there for the word that all are
}

func (w *workers) init(o *Optimizer) {
	w.o = o
	w.next.Store(int64(len(o.units)))
}

// A helper is a goroutine beside the caller's. It lives as long as steps follow
// each other closely: an optimizer that is not at work has none.
type helper struct {
	w     *workers
	state atomic.Int32
	run   func() // made once, so that go allocates nothing
	own   worker
}

const (
	gone  = iota // there is no goroutine
	awake        // it waits for work
	busy         // it works, or will as soon as it has a processor
)

func (w *workers) setLimit(n int) {
	w.limit = n
	for len(w.helpers) < n-1 {
		h := &helper{w: w}
		h.run = h.live
		w.helpers = append(w.helpers, h)
	}
}

// A job is what is done with each unit.
type job uint8

const (
	firstPass job = iota
	secondPass
	squaresOf
	nonFiniteOf
)

func (w *workers) run(j job, params, grads [][]float32) {
	w.job, w.params, w.grads = j, params, grads
	if w.o.total >= tune.ParallelLen && w.limit > 1 && len(w.o.units) > 1 {
		w.pending.Store(int64(len(w.o.units)))
		w.next.Store(0)
		w.engage()
		w.work(&w.own)
		w.await()
	} else {
		for k := range w.o.units {
			w.do(k, &w.own)
		}
	}
	w.params, w.grads = nil, nil
}

// engage puts helpers to work, those who are awake first. One who comes late finds
// no unit, and no one has waited for him.
func (w *workers) engage() {
	want := min(w.limit, len(w.o.units)) - 1
	for _, h := range w.helpers[:w.limit-1] {
		if want > 0 && (h.state.CompareAndSwap(awake, busy) || h.state.Load() == busy) {
			want--
		}
	}
	for _, h := range w.helpers[:w.limit-1] {
		if want > 0 && h.state.CompareAndSwap(gone, busy) {
			want--
			go h.run()
		}
	}
}

// live works for as long as there is work. It waits without a clock, which in a
// testing/synctest bubble stands still while a goroutine runs.
func (h *helper) live() {
	for {
		h.w.work(&h.own)
		h.state.Store(awake)
		for turns := 0; h.state.Load() == awake; turns++ {
			if turns > tune.Patience && h.state.CompareAndSwap(awake, gone) {
				return
			}
			runtime.Gosched()
		}
	}
}

// await returns when all units are done. The channel is made where it is needed, since
// one made in a bubble cannot be used outside of it.
func (w *workers) await() {
	for turns := 0; w.pending.Load() > 0; turns++ {
		if turns < tune.Patience {
			runtime.Gosched()
			continue
		}
		word := make(chan struct{}, 1)
		w.waiting.Store(&word)
		if w.pending.Load() > 0 || w.waiting.Swap(nil) == nil {
			<-word
		}
		return
	}
}

// work takes units until none is left.
func (w *workers) work(own *worker) {
	for {
		k := int(w.next.Add(1)) - 1
		if k >= len(w.o.units) {
			return
		}
		w.do(k, own)
		if w.pending.Add(-1) == 0 {
			if word := w.waiting.Swap(nil); word != nil {
				*word <- struct{}{}
			}
		}
	}
}

func (w *workers) do(k int, own *worker) {
	u := &w.o.units[k]
	switch {
	case w.job == squaresOf || w.job == nonFiniteOf:
		w.o.partial[k] = [2]float64{w.o.reduce(w.job, u, w.grads, own)}
	case u.tensor < 0:
		w.small(u, own)
	default:
		w.large(k, u, own)
	}
}

// large takes a step of a range of a tensor.
func (w *workers) large(k int, u *unit, own *worker) {
	t := &w.o.tensors[u.tensor]
	g := &w.o.groups[u.group]
	pass := int(w.job - firstPass)
	if !w.o.takes(u.tensor) || pass >= len(g.passes) {
		return
	}
	own.sums = sums{}
	w.o.apply(own, t, pass, u.lo, u.hi, w.params[u.tensor][u.lo:u.hi], w.grads[u.tensor][u.lo:u.hi])
	if g.passes[pass].measures() {
		for j := range own.sums {
			w.o.partial[k][j] = fallback.Total(&own.sums[j])
		}
	}
}

// small takes a step of small tensors: in one call, unless some are left out or for
// themselves.
func (w *workers) small(u *unit, own *worker) {
	g := &w.o.groups[u.group]
	if w.job != firstPass {
		return
	}
	if w.o.apart || g.penalized() {
		for _, k := range g.shared[u.lo:u.hi] {
			if w.o.takes(k) {
				t := &w.o.tensors[k]
				w.o.apply(own, t, 0, 0, t.size, w.params[k], w.grads[k])
			}
		}
		return
	}
	g.passes[0].run(w.o.table, u.list, &own.sums)
	if g.flushes(w.o.step) {
		w.o.flushSmall(u)
	}
}
