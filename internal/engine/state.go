package engine

import (
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// smallState is room for the state of all small tensors, side by side. A tensor
// alone is laid out like a large one.
func smallState(tensors []Tensor, groups []group) []float32 {
	n := 0
	if len(tensors) == 1 {
		return nil
	}
	for _, t := range tensors {
		if t.State == nil && t.Size <= tune.SmallLen {
			for _, s := range groups[t.Rule].State {
				n += roundUp(s.Len(t), lineLen)
			}
		}
	}
	return Alloc(n, 1)[0]
}

// allocate makes the state of a tensor, that of small ones in the room for them.
func (g *group) allocate(t Tensor, room *[]float32) [][]float32 {
	s := make([][]float32, len(g.State))
	large := t.Size > tune.SmallLen || *room == nil
	if large {
		g.allocateLarge(t, s)
	}
	for j, slot := range g.State {
		if n := slot.Len(t); !large {
			s[j] = (*room)[:n:n]
			*room = (*room)[roundUp(n, lineLen):]
		}
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

// Buffers are the state buffers of a tensor, whether they have begun or not.
func (e *Engine) Buffers(tensor int) [][]float32 { return e.tensors[tensor].State }

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
