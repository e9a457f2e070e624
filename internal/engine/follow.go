package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// An Averaging is how a running average of the parameters is kept: see package update.
type Averaging struct {
	After, Every int64
	Overwrite    int64 // how many steps apart the parameters become the average, 0 for never
	FromStart    bool
	Decay        func(n int64) float64 // what the n-th leaves of the average, n ≥ 1
}

// A Lookahead is how slow parameters follow: see package update.
type Lookahead struct {
	Period int64
	Weight float64
}

// following is what follows the parameters, behind a rule's last pass: slow ones, which they
// then become, and their average. A tensor that is left out of a step has it too.
type following struct {
	Averaging
	Lookahead
	averages int64 // taken, the parameters from the start included
	slowHas  bool  // slow parameters have begun

	// In this step.
	begins, looks            bool // average, slow begin as the parameters before it
	takes, copies            bool // the average takes the parameters, and is they
	overwrites, synchronizes bool
	keeps, slowKeeps         float64
	flushes, slowFlushes     bool
}

// follows reports whether there is something to do with parameters that have been moved.
func (f *following) follows() bool { return f.takes || f.overwrites || f.synchronizes }

// starts reports whether there is something to do with parameters before they are moved.
func (f *following) starts() bool { return f.begins || f.looks }

// SetAveraging keeps an average as a says, or none if it is nil. One that has begun goes on.
func (e *Engine) SetAveraging(a *Averaging) {
	f := &e.following
	f.rest()
	keeps := f.Averaging.Every > 0
	if f.Averaging = (Averaging{}); a != nil {
		f.Averaging = *a
	}
	if keeps == (a != nil) {
		return
	}
	f.averages = 0
	list := e.beside(0, a != nil)
	for k := range e.tensors {
		e.tensors[k].average = list[k]
	}
}

// SetLookahead keeps slow parameters as l says, or none if it is nil. Those that have begun
// stay what they are.
func (e *Engine) SetLookahead(l *Lookahead) {
	f := &e.following
	f.rest()
	keeps := f.Period > 0
	if f.Lookahead = (Lookahead{}); l != nil {
		f.Lookahead = *l
	}
	if keeps == (l != nil) {
		return
	}
	f.slowHas = false
	list := e.beside(1, l != nil)
	for k := range e.tensors {
		e.tensors[k].slow = list[k]
	}
}

// beside allocates a buffer for each tensor beside all its own and so many others, unless
// they are to be nil.
func (e *Engine) beside(others int, some bool) [][]float32 {
	list, slots := make([][]float32, len(e.tensors)), []Slot{{}}
	if !some {
		return list
	}
	tensors := make([]Tensor, len(e.tensors))
	for k := range e.tensors {
		tensors[k] = Tensor{Size: e.tensors[k].Size}
	}
	room := newRoom(tensors, []group{{Rule: Rule{Plan: Plan{State: slots}}}})
	for k, t := range tensors {
		if t.Size > tune.RoomLen || len(room.memory) == 0 {
			list[k] = alloc(t.Size, 1, 2+len(e.tensors[k].State)+others)[0]
		} else {
			list[k] = room.memory[room.take(t, slots)[0]:][:t.Size:t.Size]
		}
	}
	return list
}

// Average is that of a tensor's parameters, nil if none is kept.
func (e *Engine) Average(tensor int) []float32 { return e.tensors[tensor].average }

// Averages is how many parameters the averages are of, those from the start included.
func (e *Engine) Averages() int64 { return e.following.averages }

// Slow are the slow parameters of a tensor, nil if there are none.
func (e *Engine) Slow(tensor int) []float32 { return e.tensors[tensor].slow }

// SlowHas reports whether slow parameters have begun.
func (e *Engine) SlowHas() bool { return e.following.slowHas }

// LoadBeside copies averages, of so many, and slow parameters if they have begun.
func (e *Engine) LoadBeside(average [][]float32, averages int64, slow [][]float32, slowHas bool) {
	f := &e.following
	f.averages, f.slowHas = averages, slowHas
	for k := range e.tensors {
		if averages > 0 {
			buffers.Copy(e.tensors[k].average, average[k])
		}
		if slowHas {
			buffers.Copy(e.tensors[k].slow, slow[k])
		}
	}
}

// rest forgets what there was to do in a step.
func (f *following) rest() {
	*f = following{Averaging: f.Averaging, Lookahead: f.Lookahead, averages: f.averages, slowHas: f.slowHas}
}

// begin finds what there is to do in a step, if there ever is something.
func (f *following) begin(t int64) {
	f.rest()
	if f.Period > 0 {
		f.looks, f.slowHas = !f.slowHas, true
		f.synchronizes = t%f.Period == 0
		f.slowKeeps = 1 - f.Weight
		f.slowFlushes = t/f.Period%FlushEvery == 0 || f.slowKeeps < leastKept
	}
	if f.Every == 0 || t <= f.After {
		return
	}
	if f.FromStart && f.averages == 0 {
		f.begins, f.averages = true, 1
	}
	if f.takes = (t-f.After)%f.Every == 0; f.takes {
		f.take()
	}
	f.overwrites = f.Overwrite > 0 && t%f.Overwrite == 0 && f.averages > 0
}

// take counts an average that is taken.
func (f *following) take() {
	if f.copies = f.averages == 0; !f.copies {
		f.keeps = f.Decay(f.averages)
		f.flushes = f.averages%FlushEvery == 0 || f.keeps < leastKept
	}
	f.averages++
}

// beginFollowing begins what begins as the parameters of all tensors.
func (e *Engine) beginFollowing(params [][]float32) {
	f := &e.following
	if !f.starts() {
		return
	}
	for k := range e.tensors {
		f.beginAs(&e.tensors[k], 0, params[k])
	}
}

// beginAs does it for a range of a tensor, from an element on.
func (f *following) beginAs(t *tensor, lo int, params []float32) {
	if f.begins {
		buffers.Copy(t.average[lo:], params)
	}
	if f.looks {
		buffers.Copy(t.slow[lo:], params)
	}
}

// follow has what follows a range of a tensor's parameters do so.
func (e *Engine) follow(w *Worker, t *tensor, lo, hi int, p []float32) {
	f, flushes := &e.following, !e.groups[t.Rule].KeepSubnormals
	if f.synchronizes {
		slow := t.slow[lo:hi]
		e.approach(w, slow, p, f.slowKeeps, f.slowFlushes && flushes)
		buffers.Copy(p, slow)
	}
	if f.takes && f.copies {
		buffers.Copy(t.average[lo:hi], p)
	} else if f.takes {
		e.approach(w, t.average[lo:hi], p, f.keeps, f.flushes && flushes)
	}
	if f.overwrites {
		buffers.Copy(p, t.average[lo:hi])
	}
}

// approach moves x towards parameters, and keeps a part of it. Where they are 0 it ends as
// zeros: see FlushEvery.
func (e *Engine) approach(w *Worker, x, p []float32, keeps float64, flushes bool) {
	a := &w.approaching
	switch weight := fallback.Weight(keeps); {
	case weight > 0:
		a.average.Weight = weight
		w.list.Set(x, p)
		kernels.Average(e.table, &w.list, &a.average)
	default: // the same from the other end, so that neither is lost beside the other
		a.difference = fallback.Add2Scalars{Scale1: 1, Scale2: -1}
		a.back.Scale = weight
		d := w.scratch(len(x))
		w.list.Set(d, p, x)
		kernels.Add2(e.table, &w.list, &a.difference)
		buffers.Copy(x, p)
		w.list.Set(x, d)
		kernels.Accumulate(e.table, &w.list, &a.back)
	}
	if flushes {
		w.list.Set(x, p)
		kernels.Fade(e.table, &w.list, &nearZero)
	}
}

// approaching are the scalars of approach.
type approaching struct {
	average    fallback.AverageScalars
	difference fallback.Add2Scalars
	back       fallback.AccumulateScalars
}

// nearZero are the scalars of Fade for what approaches parameters.
var nearZero = fallback.FadeScalars{Scale: 1, Drop: fallback.DropSubnormal, Small: fallback.DropSmall}

// SwapAverage exchanges all parameters with their averages.
func (e *Engine) SwapAverage(params [][]float32) {
	e.swapping.params = params
	e.share(&e.swapping, false)
	e.swapping.params = nil
}

// swapping exchanges a unit's parameters with their averages.
type swapping struct {
	e      *Engine
	params [][]float32
}

func (s *swapping) Do(k, worker int) {
	u, w := &s.e.units[k], s.e.workers[worker]
	if u.tensor >= 0 {
		s.swap(w, u.tensor, u.lo, u.hi)
		return
	}
	for _, tensor := range s.e.groups[u.group].shared[u.lo:u.hi] {
		s.swap(w, tensor, 0, s.e.tensors[tensor].Size)
	}
}

func (s *swapping) swap(w *Worker, tensor, lo, hi int) {
	p, a := s.params[tensor][lo:hi], s.e.tensors[tensor].average[lo:hi]
	for len(p) > 0 {
		n := min(len(p), tune.BlockLen)
		room := w.scratch(n)
		copy(room, p[:n])
		copy(p[:n], a)
		copy(a[:n], room)
		p, a = p[n:], a[n:]
	}
}
