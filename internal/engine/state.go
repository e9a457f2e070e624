package engine

import (
	"slices"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// A room is where the state of many tensors is, side by side: each in memory of its own
// would begin and end with parts of pages that nobody uses.
type room struct {
	memory []float32
	end    int // of what is taken
}

// newRoom has room for the tensors of a set that are not large. A tensor alone is laid out
// like a large one.
func newRoom(tensors []Tensor, groups []group) *room {
	var r room
	for _, t := range tensors {
		if len(tensors) > 1 && t.State == nil && t.Size <= tune.RoomLen {
			r.take(t, groups[t.Rule].State)
		}
	}
	r.memory, r.end = Alloc(r.end, 1)[0], 0
	return &r
}

// take finds the places of a tensor's slots.
func (r *room) take(t Tensor, slots []Slot) []int {
	list := make([]int, len(slots))
	for j, slot := range slots {
		n := slot.Len(t)
		if 4*n >= tune.Page {
			r.end = staggered(r.end, list[:j])
		}
		list[j] = r.end
		r.end += roundUp(n, lineLen)
	}
	return list
}

// staggered is the first place from one on that is some lines from others within a page,
// and from where Alloc lays parameters and gradients.
func staggered(at int, others []int) int {
	const page, apart = tune.Page / 4, 4 * lineLen
	others = append([]int{0, tune.Stagger / 4}, others...)
	near := func(x int) bool {
		d := ((at-x)%page + page) % page
		return d < apart || d > page-apart
	}
	for slices.ContainsFunc(others, near) {
		at += lineLen
	}
	return at
}

// allocate makes the state of a tensor, that of others than large ones in the room.
func (g *group) allocate(t Tensor, r *room) [][]float32 {
	s := make([][]float32, len(g.State))
	if t.Size > tune.RoomLen || len(r.memory) == 0 {
		g.allocateLarge(t, s)
	} else {
		for j, at := range r.take(t, g.State) {
			n := g.State[j].Len(t)
			s[j] = r.memory[at:][:n:n]
		}
	}
	for j, slot := range g.State {
		slot.First.fill(s[j])
	}
	return s
}

// allocateLarge staggers the slots that a step goes through side by side, beside the
// parameters and the gradients.
func (g *group) allocateLarge(t Tensor, s [][]float32) {
	const others = 2
	side := 0
	for _, slot := range g.State {
		if slot.Extent == PerElement {
			side++
		}
	}
	buffers := alloc(t.Size, side, others)
	for j, slot := range g.State {
		if slot.Extent == PerElement {
			s[j], buffers = buffers[0], buffers[1:]
		} else {
			s[j] = Alloc(slot.Len(t), 1)[0]
		}
	}
}

// scratch makes the scratch of a tensor whose caller owns its state.
func (g *group) scratch(t Tensor) [][]float32 {
	var list [][]float32
	for _, slot := range g.State[len(g.Kept()):] {
		list = append(list, Alloc(slot.Len(t), 1)[0])
	}
	return list
}

// fill writes a constant's first values.
func (f First) fill(s []float32) {
	if f.value == 0 {
		return
	}
	for i := range s {
		s[i] = float32(f.value)
	}
}

func (p *Plan) beginsAsParams() bool {
	for _, s := range p.State {
		if s.First.params {
			return true
		}
	}
	return false
}

// beginAs begins the elements from lo on of a tensor's slots as the parameters there.
func (t *tensor) beginAs(p *Plan, lo int, params []float32) {
	for j, s := range p.State {
		if s.First.params {
			buffers.Copy(t.State[j][lo:], params)
		}
	}
}

// Buffers are the state buffers of a tensor but for scratch, whether they have begun or not.
func (e *Engine) Buffers(tensor int) [][]float32 {
	t := &e.tensors[tensor]
	return t.State[:len(e.groups[t.Rule].Kept())]
}

// State is a state buffer of a tensor, and whether it has begun: one that begins as the
// parameters has not before the tensor's first step.
func (e *Engine) State(tensor, slot int) (buffer []float32, ok bool) {
	t := &e.tensors[tensor]
	if t.begins && e.groups[t.Rule].State[slot].First.params {
		return nil, false
	}
	return t.State[slot], true
}

// Load copies state into that of a tensor, which has taken so many of the steps that
// SetSteps has set. Nil for a slot that begins as the parameters says that it has not begun.
func (e *Engine) Load(tensor int, steps int64, state [][]float32) {
	t := &e.tensors[tensor]
	t.begins = false
	for j, s := range state {
		buffers.Copy(t.State[j], s)
		t.begins = t.begins || s == nil && e.groups[t.Rule].State[j].First.params
	}
	t.missed = e.step - steps
	e.apart = e.apart || t.missed != 0
	e.late = e.late || t.begins
}
