package update

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// A unit is work for one goroutine: a range of one tensor, or some of a group's
// small tensors.
type unit struct {
	group  int
	tensor int // -1 for small tensors
	lo, hi int // elements of the tensor, or the places of tensors among the small
	size   int // elements
}

// split cuts the tensors into units.
func split(tensors []tensor, groups []group) []unit {
	var units []unit
	for k, t := range tensors {
		if _, small := slices.BinarySearch(groups[t.group].small, k); small {
			continue
		}
		for lo := 0; lo < t.size; lo += tune.UnitLen {
			hi := min(lo+tune.UnitLen, t.size)
			units = append(units, unit{t.group, k, lo, hi, hi - lo})
		}
	}
	for g := range groups {
		u := unit{group: g, tensor: -1}
		for at, k := range groups[g].small {
			u.hi = at + 1
			u.size += tensors[k].size
			if u.size >= tune.UnitLen {
				units = append(units, u)
				u = unit{group: g, tensor: -1, lo: u.hi, hi: u.hi}
			}
		}
		if u.size > 0 {
			units = append(units, u)
		}
	}
	return units
}

// workers carries out the units of one step.
type workers struct {
	o       *Optimizer
	limit   int // goroutines, the caller's included
	helpers []*helper

	job           job
	params, grads [][]float32
	one           [2][1][]float32 // params and grads of the only tensor
	lanes         [fallback.Lanes]float64

	next    atomic.Int64  // unit; beyond the last one between steps
	pending atomic.Int64  // units that are not done
	waiting atomic.Bool   // the caller waits for a word that all are
	done    chan struct{} // the word
}

func (w *workers) init(o *Optimizer) {
	w.o = o
	w.done = make(chan struct{}, 1)
	w.next.Store(int64(len(o.units)))
}

// A helper is a goroutine beside the caller's. It lives as long as steps follow
// each other closely: an optimizer that is not at work has none.
type helper struct {
	w     *workers
	state atomic.Int32
	run   func()                  // made once, so that go allocates nothing
	lanes [fallback.Lanes]float64 // of a reduction
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
	stepOf job = iota
	squaresOf
	nonFiniteOf
)

func (w *workers) run(j job, params, grads [][]float32) {
	w.job, w.params, w.grads = j, params, grads
	if w.o.total >= tune.ParallelLen && w.limit > 1 && len(w.o.units) > 1 {
		w.pending.Store(int64(len(w.o.units)))
		w.next.Store(0)
		w.engage()
		w.work(&w.lanes)
		w.await()
	} else {
		for k := range w.o.units {
			w.do(k, &w.lanes)
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

// live works for as long as there is work.
func (h *helper) live() {
	for {
		h.w.work(&h.lanes)
		h.state.Store(awake)
		for since := time.Now(); h.state.Load() == awake; {
			if time.Since(since) > tune.Patience && h.state.CompareAndSwap(awake, gone) {
				return
			}
			runtime.Gosched()
		}
	}
}

// await returns when all units are done.
func (w *workers) await() {
	for since := time.Now(); w.pending.Load() > 0; {
		if time.Since(since) < tune.Patience {
			runtime.Gosched()
			continue
		}
		w.waiting.Store(true)
		if w.pending.Load() > 0 || !w.waiting.CompareAndSwap(true, false) {
			<-w.done
		}
		return
	}
}

// work takes units until none is left.
func (w *workers) work(lanes *[fallback.Lanes]float64) {
	for {
		k := int(w.next.Add(1)) - 1
		if k >= len(w.o.units) {
			return
		}
		w.do(k, lanes)
		if w.pending.Add(-1) == 0 && w.waiting.CompareAndSwap(true, false) {
			w.done <- struct{}{}
		}
	}
}

func (w *workers) do(k int, lanes *[fallback.Lanes]float64) {
	o := w.o
	u := o.units[k]
	g := &o.groups[u.group]
	switch {
	case w.job != stepOf:
		o.partial[k] = o.reduce(w.job, u, w.grads, lanes)
	case u.tensor < 0:
		g.many(o.table, &o.lists[k])
	default:
		g.apply(o, &o.tensors[u.tensor], u.lo, u.hi, w.params[u.tensor][u.lo:u.hi], w.grads[u.tensor][u.lo:u.hi])
	}
}
