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

// Place takes note of where buffers are, if any is elsewhere than in the step before:
// gradients, or parameters too if moved says so. It keeps those of small tensors, because it
// lists them for the kernels once and not in each step.
func (e *Engine) Place(params, grads [][]float32, moved bool) {
	e.placed++
	if len(e.tensors) == 1 && e.groups[e.tensors[0].Rule].plain && e.total < tune.ParallelLen && len(grads[0]) == e.total && e.tensors[0].packed == nil {
		all := append(e.workers[0].buffers[:0], params[0], grads[0])
		e.only.Set(append(all, e.tensors[0].State...)...)
	}
	for k := range e.groups {
		g := &e.groups[k]
		n := g.buffers()
		for at, tensor := range g.shared {
			g.list[at*n+1] = grads[tensor]
			if moved {
				g.list[at*n] = params[tensor]
			}
		}
	}
	for k := range e.units {
		if u := &e.units[k]; u.tensor < 0 && (moved || !u.listed) {
			e.relist(u, grads)
		}
	}
}

// relist makes the list of a unit whose tensors all have a gradient. Gradients that are
// elsewhere later are put into it.
func (e *Engine) relist(u *unit, grads [][]float32) {
	g := &e.groups[u.group]
	lacks := func(k int) bool { return grads[k] == nil && e.tensors[k].Size > 0 }
	if u.listed = !slices.ContainsFunc(g.shared[u.lo:u.hi], lacks); u.listed {
		u.list.Reset(g.buffers(), g.list[u.lo*g.buffers():u.hi*g.buffers()])
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
	f.run(e.table, g)
}

// run flushes what is listed.
func (f *flushed) run(table kernels.Table, g *group) {
	if len(f.smalls) > 0 {
		kernels.Flush(table, &f.small, &g.small)
	}
	if len(f.fades) > 0 {
		kernels.Fade(table, &f.fade, &g.fade)
	}
}

// list lists the buffers where they are now.
func (f *flushed) list(e *Engine, g *group, u *unit) {
	f.placed, f.decays = e.placed, g.decays
	n := g.buffers()
	f.fill(g, g.list[u.lo*n:u.hi*n])
}

// fill lists what is flushed of buffers, those of one tensor after those of another.
func (f *flushed) fill(g *group, list [][]float32) {
	f.smalls, f.fades = f.smalls[:0], f.fades[:0]
	n := g.buffers()
	for at := 0; at < len(list); at += n {
		of := list[at : at+n]
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

// forget lets go of the buffers.
func (f *flushed) forget() {
	clear(f.smalls[:cap(f.smalls)])
	clear(f.fades[:cap(f.fades)])
	f.small.Forget()
	f.fade.Forget()
	f.smalls, f.fades = f.smalls[:0], f.fades[:0]
}

// growLists makes room for the lists of what is flushed.
func (e *Engine) growLists() {
	for k := range e.units {
		if u := &e.units[k]; u.tensor < 0 {
			u.flushed = &flushed{placed: -1}
			u.flushed.grow(u.hi-u.lo, len(e.groups[u.group].State))
		}
	}
}

// grow makes room for so many tensors.
func (f *flushed) grow(tensors, slots int) {
	f.smalls, f.fades = make([][]float32, 0, tensors), make([][]float32, 0, 2*tensors*(slots+1))
}
