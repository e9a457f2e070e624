package engine

import "github.com/lockstep-go/lockstep/kernels"

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
