package engine

import (
	"runtime"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// workers carries out the units of one step.
type workers struct {
	units    int
	parallel bool // the work is worth a second goroutine
	limit    int  // goroutines, the caller's included
	helpers  []*helper
	own      Worker // the caller's
	task     task

	next    atomic.Int64                  // unit; beyond the last one between steps
	pending atomic.Int64                  // units that are not done
	waiting atomic.Pointer[chan struct{}] // the caller waits there for the word that all are
}

func (w *workers) init(units int, parallel bool) {
	w.units, w.parallel = units, parallel
	w.next.Store(int64(units))
}

// A helper is a goroutine beside the caller's. It lives as long as steps follow
// each other closely: an optimizer that is not at work has none.
type helper struct {
	w     *workers
	state atomic.Int32
	run   func() // made once, so that go allocates nothing
	own   Worker
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

// A task is what is done with each unit.
type task interface {
	do(unit int, w *Worker)
}

func (w *workers) run(t task) {
	if !w.parallel || w.limit <= 1 || w.units <= 1 {
		for k := range w.units {
			t.do(k, &w.own)
		}
		w.own.Forget()
		return
	}
	w.task = t
	w.pending.Store(int64(w.units))
	w.next.Store(0)
	w.engage()
	w.work(&w.own)
	w.await()
}

// engage puts helpers to work, those who are awake first. One who comes late finds
// no unit, and no one has waited for him.
func (w *workers) engage() {
	want := min(w.limit, w.units) - 1
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
func (w *workers) work(own *Worker) {
	for {
		k := int(w.next.Add(1)) - 1
		if k >= w.units {
			own.Forget()
			return
		}
		w.task.do(k, own)
		if w.pending.Add(-1) == 0 {
			if word := w.waiting.Swap(nil); word != nil {
				*word <- struct{}{}
			}
		}
	}
}
