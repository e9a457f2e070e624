package engine

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A rowSet is the rows of the only tensor that a step takes, each once and in order, and
// room for what finds them. The room grows with the longest list of rows.
type rowSet struct {
	e        *Engine
	columns  int
	list     []row
	places   []place // by row, those of one row in order of appearance
	room     []place
	grads    []float32
	repeated []float32 // the gradients of rows that appear more than once, summed up
	summed   bool
	partial  [][MaxSums]float64 // by unit

	squaring  squaringRows
	exceeding exceedingRows
	stepping  steppingRows
}

// A row is one of the tensor's, whose gradient is the sum of those at so many places.
type row struct {
	index         int
	first, places int
	grad          []float32
}

// A place is where the gradient of a row is in what a step is given.
type place struct{ row, at int }

// TakesRows reports whether a step of the rule can be taken on some rows alone: it has one
// pass, over elements or rows, that leaves no sums and asks for none of other rows, and nothing
// is counted in all of them.
func (e *Engine) TakesRows(rule int) bool {
	g := &e.groups[rule]
	if g.CautiousUpdate || len(g.passes) != 1 || g.passes[0].sums != NoSums || !g.plain && g.passes[0].walk != rows {
		return false
	}
	return !slices.ContainsFunc(g.State, func(s Slot) bool { return s.Extent > PerRow })
}

// TakeRows takes note of the rows that the next step takes, with the gradients of each in
// order, until ForgetRows. It returns the place of the first index that is none of the
// tensor's rows, and less than 0 if all are.
func TakeRows[I int32 | int64](e *Engine, indices []I, grads []float32) (wrong int) {
	r := &e.rows
	t := &e.tensors[0]
	r.e, r.columns, r.summed = e, t.columns(), false
	r.places = grown(r.places, len(indices))
	rows, before, ordered := uint64(t.rows()), -1, true
	for k, i := range indices {
		if uint64(i) >= rows {
			return k
		}
		ordered = ordered && int(i) >= before
		before = int(i)
		r.places[k] = place{before, k}
	}
	if !ordered {
		r.sort(int(rows))
	}
	r.grads = grads
	r.join()
	r.growWorkers()
	return -1
}

// grown is a slice of so many elements, in the same memory if there is room.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, max(n, 2*cap(s)))
	}
	return s[:n]
}

// sort sorts the places by row, and leaves those of one row in order. Digit by digit it
// takes as long whatever the rows are, as a table of those that were seen would not.
func (r *rowSet) sort(rows int) {
	const digit, least = 11, 512 // bits, and places from which on counting is faster
	if len(r.places) < least {
		slices.SortFunc(r.places, func(a, b place) int { return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.at, b.at)) })
		return
	}
	r.room = grown(r.room, len(r.places))
	for shift := 0; shift < bits.Len(uint(rows-1)); shift += digit {
		var begin [1 << digit]int
		for _, p := range r.places {
			begin[p.row>>shift%(1<<digit)]++
		}
		at := 0
		for k, n := range begin {
			begin[k] = at
			at += n
		}
		for _, p := range r.places {
			k := p.row >> shift % (1 << digit)
			r.room[begin[k]] = p
			begin[k]++
		}
		r.places, r.room = r.room, r.places
	}
}

// join makes one row of places that follow each other.
func (r *rowSet) join() {
	r.list = r.list[:0]
	repeated := 0
	for lo := 0; lo < len(r.places); {
		p, hi := r.places[lo], lo+1
		for hi < len(r.places) && r.places[hi].row == p.row {
			hi++
		}
		x := row{index: p.row, first: lo, places: hi - lo}
		if x.places == 1 {
			x.grad = r.grads[p.at*r.columns:][:r.columns]
		} else {
			repeated++
		}
		r.list = append(r.list, x)
		lo = hi
	}
	r.repeated = grown(r.repeated, repeated*r.columns)
	room := r.repeated
	for k := range r.list {
		if x := &r.list[k]; x.places > 1 {
			x.grad, room = room[:r.columns:r.columns], room[r.columns:]
		}
	}
	r.partial = grown(r.partial, r.units())
}

// growWorkers makes room for the lists of a unit, whichever worker will have it.
func (r *rowSet) growWorkers() {
	g := &r.e.groups[r.e.tensors[0].Rule]
	n := r.unitLen()
	for _, w := range r.e.workers {
		if cap(w.rows) < n*g.buffers() {
			w.rows = make([][]float32, 0, n*g.buffers())
			w.flushed.grow(n, len(g.State))
		}
	}
}

// ForgetRows lets go of the gradients, which are the caller's.
func (e *Engine) ForgetRows() {
	clear(e.rows.list)
	e.rows.grads = nil
}

// unitLen is the number of rows of a unit.
func (r *rowSet) unitLen() int { return max(1, tune.UnitLen/max(r.columns, tune.TensorLen)) }

func (r *rowSet) units() int { return (len(r.list) + r.unitLen() - 1) / r.unitLen() }

// unit is the rows of a unit.
func (r *rowSet) unit(k int) []row {
	n := r.unitLen()
	return r.list[k*n : min((k+1)*n, len(r.list))]
}

// share has the units carried out: see Engine.share.
func (r *rowSet) share(t interface{ Do(unit, worker int) }, more bool) {
	r.e.pool.Run(t, r.units(), len(r.list)*r.columns, more)
	for _, w := range r.e.workers {
		w.Forget()
	}
}

// addUp adds up the gradients of rows that appear more than once, in order of appearance.
func (r *rowSet) addUp(list []row, w *Worker) {
	if r.summed {
		return
	}
	add := fallback.AccumulateScalars{Scale: 1}
	for k := range list {
		x := &list[k]
		if x.places == 1 {
			continue
		}
		for j, p := range r.places[x.first:][:x.places] {
			grad := r.grads[p.at*r.columns:][:r.columns]
			if j == 0 {
				copy(x.grad, grad)
				continue
			}
			w.list.Set(x.grad, grad)
			kernels.Accumulate(r.e.table, &w.list, &add)
		}
	}
}

// RowSquares is the sum of the squares of the gradients of rows, each of which is the sum
// of those of a row.
func (e *Engine) RowSquares() float64 {
	r := &e.rows
	r.squaring.rowSet = r
	r.share(&r.squaring, true)
	r.summed = true
	return sumPairs(r.partial)[0]
}

// MeasureRows is MeasureTensors of the tensor's gradient, which is 0 elsewhere.
func (e *Engine) MeasureRows(scale float64) {
	t := &e.tensors[0]
	t.sums[0] = e.RowSquares()
	t.clipTo(&e.groups[t.Rule], scale)
}

// CountRowsBeyond is CountBeyond of the gradients of rows.
func (e *Engine) CountRowsBeyond(scale float64) (count int64) {
	r := &e.rows
	r.exceeding.rowSet, r.exceeding.scale = r, scale
	r.share(&r.exceeding, true)
	r.summed = true
	for _, n := range r.partial {
		count += int64(n[0])
	}
	return count
}

// RunRows carries out the step that was begun on the rows that were taken.
func (e *Engine) RunRows(params []float32) {
	r := &e.rows
	if e.late {
		e.beginAsParams([][]float32{params})
	}
	r.stepping.rowSet, r.stepping.params = r, params
	r.share(&r.stepping, false)
	r.stepping.params = nil
}

// squaringRows sums up the squares of a unit's gradients.
type squaringRows struct{ *rowSet }

func (s *squaringRows) Do(k, worker int) {
	w := s.e.workers[worker]
	s.reduce(k, w, func(lanes *[fallback.Lanes]float64) { kernels.SumSquares(s.e.table, &w.list, lanes) })
}

// exceedingRows counts a unit's gradients that are too large.
type exceedingRows struct {
	*rowSet
	scale float64
}

func (x *exceedingRows) Do(k, worker int) {
	w := x.e.workers[worker]
	c := fallback.CountBeyondScalars{Limit: x.e.limitOf(0, x.scale)}
	x.reduce(k, w, func(lanes *[fallback.Lanes]float64) { kernels.CountBeyond(x.e.table, &w.list, &c, lanes) })
}

// reduce sums up the gradients of a unit, which are set as the worker's list.
func (r *rowSet) reduce(k int, w *Worker, add func(lanes *[fallback.Lanes]float64)) {
	list := r.unit(k)
	r.addUp(list, w)
	w.rows = w.rows[:0]
	for i := range list {
		w.rows = append(w.rows, list[i].grad)
	}
	w.list.Reset(1, w.rows)
	lanes := &w.sums[0]
	*lanes = [fallback.Lanes]float64{}
	add(lanes)
	r.partial[k] = [MaxSums]float64{fallback.Total(lanes)}
}

// steppingRows takes a step of the rows.
type steppingRows struct {
	*rowSet
	params []float32
}

func (s *steppingRows) Do(k, worker int) {
	e, w, list := s.e, s.e.workers[worker], s.unit(k)
	t := &e.tensors[0]
	g := &e.groups[t.Rule]
	s.addUp(list, w)
	if !g.plain || g.penalized() {
		s.fetch(list, t, w)
		for k := range list {
			lo := list[k].index * s.columns
			e.apply(w, t, 0, lo, lo+s.columns, s.params[lo:][:s.columns], list[k].grad)
		}
		return
	}
	w.rows = w.rows[:0]
	for k := range list {
		lo := list[k].index * s.columns
		hi := lo + s.columns
		w.rows = append(w.rows, s.params[lo:hi], list[k].grad)
		for _, b := range t.State {
			w.rows = append(w.rows, b[lo:hi])
		}
	}
	w.list.Reset(g.buffers(), w.rows)
	g.call(t, 0).run(e.table, &w.list, nil, &w.sums)
	if g.flushes(e.step - t.missed) {
		w.flushed.fill(g, w.rows)
		w.flushed.run(e.table, g)
	}
	for k := range list {
		lo := list[k].index * s.columns
		e.copyOut(t, lo, lo+s.columns, s.params[lo:][:s.columns])
	}
}

// fetch reads the parameters and the state of rows that are taken one by one, so that they
// are in the cache: a kernel with a list looks ahead, a step of one row does not. Without,
// row-wise AdaGrad took two and a half times as long.
func (s *steppingRows) fetch(list []row, t *tensor, w *Worker) {
	rows := t.rows()
	w.rows = w.rows[:0]
	for k := range list {
		at := list[k].index
		w.rows = append(w.rows, s.params[at*s.columns:][:s.columns])
		for _, b := range t.State {
			n := len(b) / rows
			w.rows = append(w.rows, b[at*n:][:n])
		}
	}
	w.list.Reset(1, w.rows)
	kernels.SumSquares(s.e.table, &w.list, &w.sums[0])
}
