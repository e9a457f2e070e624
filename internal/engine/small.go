package engine

import (
	"slices"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// listSmall lists the tensors that share calls with others.
func (e *Engine) listSmall() {
	for k := range e.tensors {
		t := &e.tensors[k]
		if g := &e.groups[t.Rule]; len(e.tensors) > 1 && t.Size <= tune.SmallLen && g.plain && g.L1 == 0 {
			t.listed = len(g.shared)
			g.shared = append(g.shared, k)
		}
	}
	for k := range e.groups {
		g := &e.groups[k]
		g.list = make([][]float32, len(g.shared)*g.buffers())
		for at, tensor := range g.shared {
			copy(g.list[at*g.buffers()+2:], e.tensors[tensor].State)
		}
	}
}

// buffers is how many a tensor of a group with lists has.
func (g *group) buffers() int { return 2 + len(g.State) }

// Place takes note of where buffers are, if any is elsewhere than in the step before. It
// keeps those of small tensors, because it lists them for the kernels once and not in each
// step.
func (e *Engine) Place(params, grads [][]float32) {
	e.placed++
	if len(e.tensors) == 1 && e.groups[e.tensors[0].Rule].plain && e.total < tune.ParallelLen && len(grads[0]) == e.total {
		all := append(e.workers[0].buffers[:0], params[0], grads[0])
		e.only.Set(append(all, e.tensors[0].State...)...)
	}
	for k := range e.groups {
		g := &e.groups[k]
		for at, tensor := range g.shared {
			g.list[at*g.buffers()], g.list[at*g.buffers()+1] = params[tensor], grads[tensor]
		}
	}
	lacks := func(k int) bool { return grads[k] == nil && e.tensors[k].Size > 0 }
	for k := range e.units {
		u := &e.units[k]
		if u.tensor < 0 && !slices.ContainsFunc(e.groups[u.group].shared[u.lo:u.hi], lacks) {
			g := &e.groups[u.group]
			u.list.Reset(g.buffers(), g.list[u.lo*g.buffers():u.hi*g.buffers()])
		}
	}
}

// flushed are the lists of what is flushed of the small tensors of a unit.
type flushed struct {
	placed      int // when they were made
	decays      bool
	small, fade kernels.List
	smalls      [][]float32
	fades       [][]float32
}

// flushSmall is flush for the small tensors of a unit, in two calls.
func (e *Engine) flushSmall(u *unit) {
	g := &e.groups[u.group]
	f := u.flushed
	if f.placed != e.placed || f.decays != g.decays {
		f.list(e, g, u)
	}
	if len(f.smalls) > 0 {
		kernels.Flush(e.table, &f.small, &g.small)
	}
	if len(f.fades) > 0 {
		kernels.Fade(e.table, &f.fade, &g.fade)
	}
}

// list lists the buffers where they are now.
func (f *flushed) list(e *Engine, g *group, u *unit) {
	f.placed, f.decays = e.placed, g.decays
	f.smalls, f.fades = f.smalls[:0], f.fades[:0]
	n := g.buffers()
	for at := u.lo; at < u.hi; at++ {
		of := g.list[at*n : (at+1)*n]
		for j, s := range g.State {
			switch {
			case s.goes():
				f.smalls = append(f.smalls, of[2+j])
			case s.fadesAway():
				f.fades = append(f.fades, of[2+j], of[1])
			}
		}
		if g.decays {
			f.fades = append(f.fades, of[0], of[1])
		}
	}
	f.small.Reset(1, f.smalls)
	f.fade.Reset(2, f.fades)
}

// growLists makes room for the lists of what is flushed.
func (e *Engine) growLists() {
	for k := range e.units {
		if u := &e.units[k]; u.tensor < 0 {
			n, slots := u.hi-u.lo, len(e.groups[u.group].State)
			u.flushed = &flushed{placed: -1, smalls: make([][]float32, 0, n), fades: make([][]float32, 0, 2*n*(slots+1))}
		}
	}
}
