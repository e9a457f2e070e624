package engine

import (
	"slices"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A unit is work for one goroutine: a range of one tensor, or some of a group's
// small tensors.
type unit struct {
	group  int
	tensor int // -1 for small tensors
	lo, hi int // elements of the tensor, or the places of tensors among the small
	size   int // elements
	list   *kernels.List
	*flushed
}

// split cuts the tensors into units.
func split(tensors []tensor, groups []group) []unit {
	var units []unit
	for k := range tensors {
		t := &tensors[k]
		if t.listed >= 0 {
			continue
		}
		t.units[0] = len(units)
		length := groups[t.Rule].unitLen(t)
		for lo := 0; lo < t.Size; lo += length {
			hi := min(lo+length, t.Size)
			units = append(units, unit{group: t.Rule, tensor: k, lo: lo, hi: hi, size: hi - lo})
		}
		t.units[1] = len(units)
	}
	for g := range groups {
		u := unit{group: g, tensor: -1}
		for at, k := range groups[g].shared {
			u.hi = at + 1
			u.size += tensors[k].Size
			if u.size >= tune.UnitLen || at == len(groups[g].shared)-1 {
				u.list = new(kernels.List)
				units = append(units, u)
				u = unit{group: g, tensor: -1, lo: u.hi, hi: u.hi}
			}
		}
	}
	return units
}

// unitLen is the number of elements of a tensor's units: of whole rows if a pass is by
// rows, and then of so many that sums by column are small beside the tensor.
func (g *group) unitLen(t *tensor) int {
	if !slices.ContainsFunc(g.passes, func(p pass) bool { return p.walk == rows }) {
		return tune.UnitLen
	}
	columns := max(1, t.columns())
	n := max(tune.UnitLen/columns, tune.UnitRows, (t.rows()+tune.RowUnits-1)/tune.RowUnits)
	return n * columns
}

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
	if len(e.tensors) == 1 && e.groups[e.tensors[0].Rule].plain && e.total < tune.ParallelLen {
		all := append(e.pool.own.buffers[:0], params[0], grads[0])
		e.only.Set(append(all, e.tensors[0].State...)...)
	}
	for k := range e.groups {
		g := &e.groups[k]
		for at, tensor := range g.shared {
			g.list[at*g.buffers()], g.list[at*g.buffers()+1] = params[tensor], grads[tensor]
		}
	}
	for k := range e.units {
		u := &e.units[k]
		if u.tensor < 0 && !slices.ContainsFunc(e.groups[u.group].shared[u.lo:u.hi], func(k int) bool { return grads[k] == nil }) {
			g := &e.groups[u.group]
			u.list.Reset(g.buffers(), g.list[u.lo*g.buffers():u.hi*g.buffers()])
		}
	}
}
