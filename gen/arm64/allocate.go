package arm64

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

const registers = 32

// A value is what a node is for one row of those side by side, and for one
// vector of those side by side. What all rows or vectors share is the first's.
type value struct{ node, row, vector int }

// An allocation hands out the vector registers while the schedule is printed:
// from the last one down to what is held throughout, from the first one up to
// everything else, until its last use.
type allocation struct {
	*rule.Rule
	steps      []rule.Task
	last       []int          // by node, see rule.LastUse
	varies     []bool         // by node, whether it depends on the row
	fixed      []bool         // by node, whether it does not change in a loop
	invariants []value        // what does not, the most wanted first
	slots      []int          // the nodes among them that are constants
	held       map[value]bool // those of them that stay in a register
	reg        map[value]int
	free       uint32
	short      bool
}

// allocate holds as many of the invariants of r as it is allowed to. The constants are
// those of the whole rule, of which r may be what it comes to.
func allocate(r, whole *rule.Rule, held, side int) allocation {
	steps := r.Schedule()
	a := allocation{
		Rule:  r,
		steps: steps,
		last:  r.LastUse(steps),
		held:  map[value]bool{},
		reg:   map[value]int{},
		free:  1<<registers - 1,
	}
	for id, n := range r.Nodes {
		change := func(x int) bool { return !a.fixed[x] || a.varies[x] }
		a.varies = append(a.varies, slices.ContainsFunc(n.Operands(), func(x int) bool { return a.varies[x] }))
		a.fixed = append(a.fixed, !slices.ContainsFunc(n.Operands(), change))
		if n.Op == rule.Load {
			a.varies[id] = r.Buffers[n.X].Shape != rule.Stream || r.Stores(n.X)
			a.fixed[id] = r.Buffers[n.X].Shape == rule.PerRow
		}
	}
	for _, step := range steps {
		if step.IsEffect || !a.fixed[step.ID] {
			continue
		}
		rows := 1
		if a.varies[step.ID] {
			rows = side
		}
		for row := range rows {
			a.invariants = append(a.invariants, value{step.ID, row, 0})
		}
	}
	for _, computed := range []bool{true, false} { // what is computed costs more to fetch again
		for _, id := range r.Invariants() {
			if computed == (r.Nodes[id].Op.Operands() > 0) {
				a.invariants = append(a.invariants, value{id, 0, 0})
			}
		}
	}
	for id, n := range whole.Nodes {
		if n.Op == rule.Const {
			a.slots = append(a.slots, id)
		}
	}
	for rank, v := range a.invariants[:min(held, len(a.invariants))] {
		register := registers - 1 - rank
		if register < 0 {
			a.short = true
			break
		}
		a.held[v], a.reg[v] = true, register
		a.free &^= 1 << register
	}
	return a
}

// specialized is the allocation for what the rule comes to, with the same registers held
// and free.
func (a *allocation) specialized(r *rule.Rule) allocation {
	s := allocate(r, r, 0, 1)
	s.slots, s.held, s.free, s.short = a.slots, a.held, a.free, a.short
	s.reg = maps.Clone(a.reg)
	return s
}

// value is what a node is for a row and a vector.
func (a *allocation) value(id, row, vector int) value {
	if !a.varies[id] {
		row = 0
	}
	if a.fixed[id] {
		vector = 0
	}
	return value{id, row, vector}
}

// take returns a free register, or any and is short from then on.
func (a *allocation) take() int {
	if a.free == 0 {
		a.short = true
		return 0
	}
	v := bits.TrailingZeros32(a.free)
	a.free &^= 1 << v
	return v
}

func (a *allocation) give(vs ...int) {
	for _, v := range vs {
		a.free |= 1 << v
	}
}

// A moment is a step of the schedule for a row and a vector.
type moment struct{ step, row, vector int }

// dies reports whether a value is dead after a moment, for it had its last use,
// or is an invariant that was fetched for this step only.
func (k *kernel) dies(v value, m moment) bool {
	switch {
	case k.held[v]:
		return false
	case k.fixed[v.node]:
		return m.vector == k.vectors-1
	case k.last[v.node] != m.step || v.vector != m.vector:
		return false
	case k.varies[v.node]:
		return v.row == m.row
	}
	return m.row == k.rows-1
}

// release gives back what is dead after a moment.
func (k *kernel) release(m moment) {
	for v, register := range k.reg {
		if k.dies(v, m) {
			delete(k.reg, v)
			k.give(register)
		}
	}
}
