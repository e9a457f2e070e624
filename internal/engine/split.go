package engine

import (
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// RunSplit carries out the step that was begun, of plain rules and along shards, on parameters
// in two halves: see kernels.SplitBF16. They are joined block by block in the cache. Without rests
// they are BF16 alone, and rounded at random: see round.
func (e *Engine) RunSplit(params [][]kernels.BF16, rests [][]int16) {
	s, ok := e.splitting.(*splitting)
	if !ok {
		s = &splitting{e: e}
		e.splitting = s
	}
	s.params, s.rests, s.rounds = params, rests, rests == nil
	e.share(s, false)
	s.params, s.rests = nil, nil
	if e.late {
		e.late = false
		for k := range e.tensors {
			t := &e.tensors[k]
			t.begins = t.begins && !e.present(k)
			e.late = e.late || t.begins
		}
	}
}

// PartSplit is Part of parameters in two halves, or of BF16 alone, whose rests are nil.
func (e *Engine) PartSplit(w *Worker, tensor, lo int, params []kernels.BF16, rests []int16, grads kernels.Typed) {
	t := &e.tensors[tensor]
	if rests != nil && grads.Element() != kernels.Float32 {
		w.shards = append(w.shards[:0], shard{1, grads})
		fused := e.fuseSplit(w, t, lo, params, Uppers(rests))
		w.forgetShards()
		if fused {
			return
		}
	}
	length := e.splitLen(t)
	for at, end := 0, 0; at < len(params); at = end {
		end = min(at+length, len(params))
		x := halves{h: params[at:end]}
		if rests != nil {
			x.r = Uppers(rests[at:end])
		}
		p := e.join(w, x)
		e.Part(w, tensor, lo+at, p, grads.Slice(at, end))
		e.put(w, t, lo+at, x, p)
	}
}

// halves are a block of parameters; r is nil of BF16 alone.
type halves struct{ h, r []kernels.BF16 }

// join makes float32 of a block.
func (e *Engine) join(w *Worker, x halves) []float32 {
	p := w.joinedRoom(len(x.h))
	if x.r == nil {
		kernels.WidenBF16(e.table, p, x.h)
	} else {
		kernels.JoinBF16(e.table, p, x.h, x.r)
	}
	return p
}

// put makes a block, from element lo of a tensor on, of what it was joined to and has become.
func (e *Engine) put(w *Worker, t *tensor, lo int, x halves, p []float32) {
	if x.r == nil {
		e.round(w, t, lo, x.h, p)
	} else {
		kernels.SplitBF16(e.table, x.h, x.r, p)
	}
}

// fuseSplit takes the step of a range from element lo on, if there is a fused kernel for it.
func (e *Engine) fuseSplit(w *Worker, t *tensor, lo int, h, r []kernels.BF16) bool {
	g := &e.groups[t.Rule]
	if t.begins || e.following.starts() || g.flushes(e.step-t.missed) || e.formOf(g, t, w) != alone {
		return false
	}
	w.fusing.h, w.fusing.r = h, r
	return e.fuse(w, t, halved, lo, lo+len(h), nil)
}

// splitLen is the length of a tensor's blocks, of whole rows where rows are looked at.
func (e *Engine) splitLen(t *tensor) int {
	if e.groups[t.Rule].clipping.byRows(t) {
		return rowsOf(tune.BlockLen, t.columns())
	}
	return tune.BlockLen
}

// splitting takes a step of a unit's parameters.
type splitting struct {
	e      *Engine
	params [][]kernels.BF16
	rests  [][]int16
	rounds bool // there are no rests
}

// of is a range of a tensor.
func (s *splitting) of(tensor, lo, hi int) halves {
	x := halves{h: s.params[tensor][lo:hi]}
	if !s.rounds {
		x.r = Uppers(s.rests[tensor][lo:hi])
	}
	return x
}

func (s *splitting) Do(k, worker int) {
	e, w := s.e, s.e.workers[worker]
	u := &e.units[k]
	if u.tensor >= 0 {
		s.run(w, u.tensor, u.lo, u.hi)
		return
	}
	for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
		s.run(w, tensor, 0, e.tensors[tensor].Size)
	}
}

// run takes a step of a range of a tensor.
func (s *splitting) run(w *Worker, tensor, lo, hi int) {
	e, t := s.e, &s.e.tensors[tensor]
	present := e.present(tensor)
	follows := e.following.follows()
	if !present && !follows && !e.following.starts() {
		return
	}
	if present {
		w.setShards(&e.shards, tensor, lo, hi)
		if x := s.of(tensor, lo, hi); !s.rounds && e.fuseSplit(w, t, lo, x.h, x.r) {
			return
		}
	}
	length := e.splitLen(t)
	for at, end := lo, 0; at < hi; at = end {
		end = min(at+length, hi)
		x := s.of(tensor, at, end)
		p := e.join(w, x)
		if present {
			w.setShards(&e.shards, tensor, at, end)
			e.part(w, t, at, p, p)
		} else if e.following.beginAs(t, at, p); follows {
			e.followApart(w, t, at, end, p)
		}
		e.put(w, t, at, x, p)
	}
}

// joinedRoom is a block for parameters.
func (w *Worker) joinedRoom(n int) []float32 {
	if len(w.joined) < n {
		w.joined = make([]float32, max(n, tune.BlockLen))
	}
	return w.joined[:n]
}

// Uppers are integers as what kernels take them for.
func Uppers(x []int16) []kernels.BF16 {
	return unsafe.Slice((*kernels.BF16)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
