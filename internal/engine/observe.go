package engine

import (
	"runtime"
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// observing adds up the squares of gradients as they arrive. A unit is summed once all of it
// is there, in the order of SumSquares, and so the sum is the same in any order of arrival.
type observing struct {
	mu      sync.Mutex
	running int
	begun   bool
	pieces  [][]piece // by tensor, in order and apart
	missing []int     // elements of each unit that have not arrived
	unitOf  []int     // of each tensor: its first one, or that which it shares
	partial [][MaxSums]float64
	workers []*Worker
}

// A piece is a part of a tensor's gradient, from an element on.
type piece struct {
	lo    int
	grads kernels.Typed
}

func (p piece) hi() int { return p.lo + p.grads.Len() }

// growObserving makes room for a sum of squares.
func (e *Engine) growObserving() {
	o := &e.observing
	o.pieces, o.unitOf = make([][]piece, len(e.tensors)), make([]int, len(e.tensors))
	o.missing, o.partial = make([]int, len(e.units)), make([][MaxSums]float64, len(e.units))
	for k := range e.units {
		u := &e.units[k]
		if u.tensor < 0 {
			for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
				o.unitOf[tensor] = k
			}
		} else if u.lo == 0 {
			o.unitOf[u.tensor] = k
		}
	}
}

// ForgetObserved begins anew, once no part is being taken: one that is would be summed up
// among those that arrive next.
func (e *Engine) ForgetObserved() {
	o := &e.observing
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.running > 0 {
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	if !o.begun {
		return
	}
	for k := range o.pieces {
		clear(o.pieces[k])
		o.pieces[k] = o.pieces[k][:0]
	}
	o.begun = false
}

// begin counts what has to arrive.
func (o *observing) begin(e *Engine) {
	if o.pieces == nil {
		e.growObserving()
	}
	o.begun = true
	for k := range e.units {
		u := &e.units[k]
		o.missing[k] = u.hi - u.lo
		if u.tensor < 0 {
			o.missing[k] = 0
			for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
				o.missing[k] += e.tensors[tensor].Size
			}
		}
	}
}

// Observe takes a part of a tensor's gradient, which must stay as it is until the step. Any
// goroutines may call it at the same time. Of a part that overlaps one before, it reports
// where that one is.
func (e *Engine) Observe(tensor, lo int, grads kernels.Typed) (from, to int, apart bool) {
	o := &e.observing
	w, before, apart := o.enter(e, tensor, piece{lo, grads})
	if !apart {
		return before.lo, before.hi(), false
	}
	defer o.leave(w)
	for last := len(w.ready) - 1; last >= 0; last-- {
		e.sumObserved(w.ready[last], w)
		w.ready = w.ready[:last]
	}
	return 0, 0, true
}

// enter notes a part, and lends a worker that knows which units it has made whole.
func (o *observing) enter(e *Engine, tensor int, x piece) (w *Worker, before piece, apart bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.begun {
		o.begin(e)
	}
	list := o.pieces[tensor]
	at := from(list, x.lo)
	if x.grads.Len() > 0 && at < len(list) && list[at].lo < x.hi() {
		return nil, list[at], false
	}
	w = o.lend()
	if w.ready = w.ready[:0]; x.grads.Len() > 0 {
		o.pieces[tensor] = slices.Insert(list, at, x)
		o.count(e, tensor, x, w)
	}
	return w, piece{}, true
}

// lend lends a worker.
func (o *observing) lend() (w *Worker) {
	o.running++
	n := len(o.workers)
	if n == 0 {
		return new(Worker)
	}
	w, o.workers = o.workers[n-1], o.workers[:n-1]
	return w
}

// count takes a part off what is missing of its units.
func (o *observing) count(e *Engine, tensor int, x piece, w *Worker) {
	t := &e.tensors[tensor]
	k, length := o.unitOf[tensor], max(1, t.Size)
	if t.listed < 0 {
		length = e.units[k].hi
	}
	for k, lo := k+x.lo/length, x.lo; lo < x.hi(); k++ {
		hi := min((lo/length+1)*length, x.hi())
		if o.missing[k] -= hi - lo; o.missing[k] == 0 {
			w.ready = append(w.ready, k)
		}
		lo = hi
	}
}

// leave takes back what was lent. Units that a panic has left unsummed are the step's to sum.
func (o *observing) leave(w *Worker) {
	w.Forget()
	o.mu.Lock()
	for _, k := range w.ready {
		o.missing[k] = 1
	}
	o.running--
	o.workers = append(o.workers, w)
	o.mu.Unlock()
}

// from is the first of the pieces that ends behind an element.
func from(list []piece, lo int) int {
	at, _ := slices.BinarySearchFunc(list, lo, func(x piece, lo int) int {
		if x.hi() <= lo {
			return -1
		}
		return 1
	})
	return at
}

// sumObserved sums a unit up as reduce does.
func (e *Engine) sumObserved(k int, w *Worker) {
	u := &e.units[k]
	lanes := &w.sums[0]
	*lanes = [fallback.Lanes]float64{}
	add := func(tensor, lo, hi int) {
		x := e.observing.join(e.table, tensor, lo, hi, w)
		if x.IsNil() {
			return
		}
		if x.Element() != kernels.Float32 {
			room := w.scratch(hi - lo)
			x.Widen(e.table, room)
			x = kernels.TypedOf(room)
		}
		w.list.Set(x.Float32())
		kernels.SumSquares(e.table, &w.list, lanes)
	}
	if u.tensor >= 0 {
		add(u.tensor, u.lo, u.hi)
	} else {
		for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
			add(tensor, 0, e.tensors[tensor].Size)
		}
	}
	e.observing.partial[k] = [MaxSums]float64{fallback.Total(lanes)}
}

// join is a range of a gradient that has arrived: a part of a piece, or a copy of several, of
// float32. It is nil if none has.
func (o *observing) join(table kernels.Table, tensor, lo, hi int, w *Worker) kernels.Typed {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.pieces[tensor]
	at := from(list, lo)
	if at == len(list) || list[at].lo >= hi {
		return kernels.Typed{}
	}
	if p := list[at]; p.hi() >= hi {
		return p.grads.Slice(lo-p.lo, hi-p.lo)
	}
	room := w.scratch(hi - lo)
	for _, p := range list[at:] {
		if p.lo >= hi {
			break
		}
		first, end := max(lo, p.lo), min(hi, p.hi())
		p.grads.Slice(first-p.lo, end-p.lo).Widen(table, room[first-lo:])
	}
	return kernels.TypedOf(room)
}

// Observed reports whether parts have arrived since the last step.
func (e *Engine) Observed() bool {
	e.observing.mu.Lock()
	defer e.observing.mu.Unlock()
	return e.observing.begun
}

// Observing reports whether a part is being taken.
func (e *Engine) Observing() bool {
	e.observing.mu.Lock()
	defer e.observing.mu.Unlock()
	return e.observing.running > 0
}

// Unobserved is the first element that has not arrived of any tensor, but for those whose
// gradient is nil if grads are given: of these it is the first that has.
func (e *Engine) Unobserved(grads [][]float32) (tensor, at int, whole bool) {
	for k := range e.tensors {
		list := e.observing.pieces[k]
		if grads != nil && grads[k] == nil {
			if len(list) > 0 {
				return k, list[0].lo, false
			}
			continue
		}
		at := 0
		for _, p := range list {
			if p.lo > at {
				break
			}
			at = p.hi()
		}
		if at < e.tensors[k].Size {
			return k, at, false
		}
	}
	return 0, 0, true
}

// ObservedSquares is SumSquares of what has arrived, which must be whole.
func (e *Engine) ObservedSquares() float64 {
	o := &e.observing
	for k, missing := range o.missing {
		if missing > 0 { // tensors without a gradient
			e.sumObserved(k, e.workers[0])
		}
	}
	return sumPairs(o.partial)[0]
}
