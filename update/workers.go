package update

import (
	"sync"
	"sync/atomic"
)

const (
	// parallelLen is the number of elements from which on a step is worth a
	// second goroutine: waking an idle processor takes some 100 microseconds.
	parallelLen = 512 << 10

	// unitLen is the most elements that a worker takes at a time. Workers take
	// units as they come to them, so that one that loses its processor to
	// another program holds up one unit and not half of the step.
	unitLen = 32 << 10
)

// A unit is work for one goroutine: a range of one tensor, or several whole
// tensors that are small.
type unit struct {
	first, last int // tensors
	lo, hi      int // of the tensor, if it is one
}

// split cuts the tensors into units.
func split(tensors []tensor) []unit {
	var units []unit
	size := 0 // of the unit that is being filled
	for k, t := range tensors {
		if t.size > unitLen {
			for lo := 0; lo < t.size; lo += unitLen {
				units = append(units, unit{k, k, lo, min(lo+unitLen, t.size)})
			}
			size = 0
			continue
		}
		if n := len(units); size > 0 && size+t.size <= unitLen {
			units[n-1].last = k
			size += t.size
			continue
		}
		units = append(units, unit{k, k, 0, t.size})
		size = max(1, t.size)
	}
	return units
}

// workers carries out the units of one step.
type workers struct {
	o     *Optimizer
	limit int // goroutines, the caller's included

	params, grads [][]float32
	one           [2][1][]float32 // params and grads of the only tensor
	next          atomic.Int64    // unit
	running       sync.WaitGroup
	helper        func() // work and be done, made once so that go allocates nothing
}

func (w *workers) init(o *Optimizer) {
	w.o = o
	w.helper = func() {
		w.work()
		w.running.Done()
	}
}

func (w *workers) run(params, grads [][]float32) {
	w.params, w.grads = params, grads
	if helpers := min(w.limit, len(w.o.units)) - 1; helpers > 0 && w.o.total >= parallelLen {
		w.next.Store(0)
		w.running.Add(helpers)
		for range helpers {
			go w.helper()
		}
		w.work()
		w.running.Wait()
	} else {
		for _, u := range w.o.units {
			w.do(u)
		}
	}
	w.params, w.grads = nil, nil
}

// work takes units until none is left.
func (w *workers) work() {
	for {
		k := int(w.next.Add(1)) - 1
		if k >= len(w.o.units) {
			return
		}
		w.do(w.o.units[k])
	}
}

func (w *workers) do(u unit) {
	o := w.o
	for k := u.first; k <= u.last; k++ {
		t := &o.tensors[k]
		lo, hi := 0, t.size
		if u.first == u.last {
			lo, hi = u.lo, u.hi
		}
		o.groups[t.group].apply(o, t, lo, hi, w.params[k][lo:hi], w.grads[k][lo:hi])
	}
}
