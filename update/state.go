package update

import (
	"fmt"
	"maps"
	"slices"
)

// A State is all that an optimizer must remember between steps, apart from its
// options: for checkpoints. encoding/gob can write it, and encoding/json as long as
// it has no NaN or infinity.
type State struct {
	Steps   int64
	Tensors []TensorState
}

// A TensorState is the state of one tensor.
type TensorState struct {
	Rule    string // Name of its rule
	Buffers map[string][]float32
}

// Export copies the state.
func (o *Optimizer) Export() State {
	s := State{Steps: o.step}
	for k, t := range o.tensors {
		g := &o.groups[t.group]
		buffers := map[string][]float32{}
		for _, slot := range g.slots {
			buffers[slot.name] = slices.Clone(o.Buffer(k, slot.name))
		}
		s.Tensors = append(s.Tensors, TensorState{g.rule.Name(), buffers})
	}
	return s
}

// Import copies an exported state into the optimizer, which must have the same
// rules and sizes.
func (o *Optimizer) Import(s State) error {
	if s.Steps < 0 {
		return &ArgError{"Steps", s.Steps, "at least 0"}
	}
	if len(s.Tensors) != len(o.tensors) {
		return &ArgError{"len(Tensors)", len(s.Tensors), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	for k, t := range o.tensors {
		g, from := &o.groups[t.group], s.Tensors[k]
		if from.Rule != g.rule.Name() {
			return &ArgError{fmt.Sprintf("Tensors[%d].Rule", k), from.Rule, g.rule.Name()}
		}
		if len(from.Buffers) != len(g.slots) {
			return &ArgError{fmt.Sprintf("Tensors[%d].Buffers", k), slices.Sorted(maps.Keys(from.Buffers)), fmt.Sprint(g.names())}
		}
		for _, slot := range g.slots {
			if b, ok := from.Buffers[slot.name]; !ok || len(b) != t.size {
				return &ArgError{fmt.Sprintf("len(Tensors[%d].Buffers[%q])", k, slot.name), len(b), fmt.Sprint(t.size)}
			}
		}
	}
	for k, t := range o.tensors {
		for j, slot := range o.groups[t.group].slots {
			copy(t.state[j], s.Tensors[k].Buffers[slot.name])
		}
	}
	o.step, o.begun = s.Steps, false
	return nil
}

// Buffer is a state buffer of a tensor by its name, not a copy, or nil.
func (o *Optimizer) Buffer(tensor int, name string) []float32 {
	t := &o.tensors[tensor]
	for j, slot := range o.groups[t.group].slots {
		if slot.name == name {
			return t.state[j]
		}
	}
	return nil
}

// Buffers names the state buffers of a tensor.
func (o *Optimizer) Buffers(tensor int) []string {
	return o.groups[o.tensors[tensor].group].names()
}

func (g *group) names() []string {
	var names []string
	for _, slot := range g.slots {
		names = append(names, slot.name)
	}
	return names
}
