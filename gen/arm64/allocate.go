package arm64

import (
	"math/bits"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

const registers = 32

// An allocation hands out the vector registers while the schedule is printed:
// from the last one down to what is held throughout, from the first one up to
// everything else, until its last use.
type allocation struct {
	steps      []rule.Step
	last       []int        // by node, see rule.LastUse
	invariants []int        // the nodes that do not change in a loop, the most wanted first
	slots      []int        // those of them that are constants
	held       map[int]bool // those of them that stay in a register
	reg        map[int]int  // by node
	free       uint32
	short      bool
}

// allocate holds as many of the invariants of r as it is allowed to.
func allocate(r *rule.Rule, held int) allocation {
	steps := r.Schedule()
	a := allocation{
		steps:      steps,
		last:       r.LastUse(steps),
		invariants: r.Invariants(),
		held:       map[int]bool{},
		reg:        map[int]int{},
		free:       1<<registers - 1,
	}
	for _, id := range a.invariants {
		if r.Nodes[id].Op == rule.Const {
			a.slots = append(a.slots, id)
		}
	}
	for _, step := range steps {
		if n := r.Nodes[step.ID]; !step.IsEffect && n.Op == rule.Load && r.Buffers[n.X].Shape == rule.PerRow {
			a.invariants = slices.Insert(a.invariants, 0, step.ID)
		}
	}
	for rank, id := range a.invariants[:min(held, len(a.invariants))] {
		v := registers - 1 - rank
		if v < 0 {
			a.short = true
			break
		}
		a.held[id], a.reg[id] = true, v
		a.free &^= 1 << v
	}
	return a
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

// release gives back what is dead after step at: values that had their last
// use, and invariants that were fetched for this step only.
func (a *allocation) release(at int) {
	for id, v := range a.reg {
		if !a.held[id] && (a.last[id] == at || slices.Contains(a.invariants, id)) {
			delete(a.reg, id)
			a.give(v)
		}
	}
}
