package update

import (
	"fmt"
	"maps"
	"slices"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/engine"
)

// A State is all that an optimizer must remember between steps: for checkpoints.
// encoding/gob can write it, and encoding/json as long as it has no NaN or infinity.
type State struct {
	Steps   int64
	Rules   []RuleState
	Tensors []TensorState
}

// A RuleState is a rule as it was: its name, its options as text, and its learning rate.
type RuleState struct {
	Name, Options string
	LR            float64
}

// A TensorState is the state of one tensor.
type TensorState struct {
	Name    string
	Rule    string // Name of its rule
	Steps   int64  // fewer than the optimizer's if it was left out of some
	Buffers map[string][]float32
}

// Export copies the state. Within a step that was begun there is none.
func (o *Optimizer) Export() (State, error) {
	if err := o.enter(); err != nil {
		return State{}, err
	}
	defer o.leave()
	if o.begun != nil {
		return State{}, &ArgError{"step", o.Steps(), "one that End has ended"}
	}
	s := State{Steps: o.Steps()}
	for k := range o.groups {
		g := &o.groups[k]
		s.Rules = append(s.Rules, RuleState{g.rule.Name(), fmt.Sprintf("%+v", g.rule), o.engine.LR(k)})
	}
	for k, t := range o.tensors {
		g := &o.groups[t.group]
		state := map[string][]float32{}
		for j, slot := range g.slots {
			if b, ok := o.engine.State(k, j); ok {
				state[slot.Name] = make([]float32, len(b))
				buffers.Copy(state[slot.Name], b)
			}
		}
		s.Tensors = append(s.Tensors, TensorState{t.name, g.rule.Name(), o.engine.TensorSteps(k), state})
	}
	return s, nil
}

// Import copies an exported state into the optimizer, which must have tensors of the
// same names, sizes and rules. Learning rates go over, options are the optimizer's own.
func (o *Optimizer) Import(s State) error {
	if err := o.checkState(s); err != nil {
		return err
	}
	o.engine.SetSteps(s.Steps)
	for k, t := range o.tensors {
		var list [][]float32
		for _, slot := range o.groups[t.group].slots {
			list = append(list, s.Tensors[k].Buffers[slot.Name])
		}
		o.engine.Load(k, s.Tensors[k].Steps, list)
	}
	for k := range s.Rules {
		o.engine.SetLR(k, s.Rules[k].LR)
	}
	o.begun, o.torn, o.clip = nil, false, 1
	return nil
}

// checkState refuses a state that is not one of this optimizer's.
func (o *Optimizer) checkState(s State) error {
	if s.Steps < 0 {
		return &ArgError{"Steps", s.Steps, "at least 0"}
	}
	if len(s.Rules) != len(o.groups) {
		return &ArgError{"len(Rules)", len(s.Rules), fmt.Sprintf("the number of rules, %d", len(o.groups))}
	}
	for k := range o.groups {
		g := &o.groups[k]
		if s.Rules[k].Name != g.rule.Name() {
			return &ArgError{fmt.Sprintf("Rules[%d].Name", k), s.Rules[k].Name, g.rule.Name()}
		}
		if err := g.checkLR(s.Rules[k].LR); err != nil {
			return err
		}
	}
	if len(s.Tensors) != len(o.tensors) {
		return &ArgError{"len(Tensors)", len(s.Tensors), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	for k := range o.tensors {
		if err := o.checkTensor(k, s); err != nil {
			return err
		}
	}
	return nil
}

func (o *Optimizer) checkTensor(k int, s State) error {
	t, from := &o.tensors[k], s.Tensors[k]
	g := &o.groups[t.group]
	switch {
	case from.Name != t.name:
		return &ArgError{fmt.Sprintf("Tensors[%d].Name", k), fmt.Sprintf("%q", from.Name), fmt.Sprintf("%q", t.name)}
	case from.Rule != g.rule.Name():
		return &ArgError{fmt.Sprintf("Tensors[%d].Rule", k), from.Rule, g.rule.Name()}
	case from.Steps < 0 || from.Steps > s.Steps:
		return &ArgError{fmt.Sprintf("Tensors[%d].Steps", k), from.Steps, fmt.Sprintf("from 0 to the optimizer's %d", s.Steps)}
	}
	slots := g.slotsOf(from.Buffers)
	if len(from.Buffers) != len(slots) {
		return &ArgError{fmt.Sprintf("Tensors[%d].Buffers", k), slices.Sorted(maps.Keys(from.Buffers)), fmt.Sprint(g.names())}
	}
	for _, slot := range slots {
		name := fmt.Sprintf("Tensors[%d].Buffers[%q]", k, slot.Name)
		b, ok := from.Buffers[slot.Name]
		if n := slot.Len(engine.Tensor{Size: t.size}); !ok || len(b) != n {
			return &ArgError{"len(" + name + ")", len(b), fmt.Sprint(n)}
		}
		if err := checkSlot(slot, name, b); err != nil {
			return err
		}
	}
	return nil
}

// slotsOf are the slots of which a tensor's exported state has buffers: all, or before its
// first step those that do not begin as the parameters.
func (g *group) slotsOf(buffers map[string][]float32) []engine.Slot {
	begins := func(s engine.Slot) bool { return s.BeginsAsParams() }
	begun := func(s engine.Slot) bool { _, ok := buffers[s.Name]; return begins(s) && ok }
	if slices.ContainsFunc(g.slots, begun) {
		return g.slots
	}
	return slices.DeleteFunc(slices.Clone(g.slots), begins)
}

// Buffer is a state buffer of a tensor by its name, not a copy, or nil.
func (o *Optimizer) Buffer(tensor int, name string) []float32 {
	if tensor < 0 || tensor >= len(o.tensors) {
		return nil
	}
	for j, slot := range o.groups[o.tensors[tensor].group].slots {
		if slot.Name == name {
			b, _ := o.engine.State(tensor, j)
			return b
		}
	}
	return nil
}

// Buffers names the state buffers of a tensor.
func (o *Optimizer) Buffers(tensor int) []string {
	if tensor < 0 || tensor >= len(o.tensors) {
		return nil
	}
	return o.groups[o.tensors[tensor].group].names()
}

func (g *group) names() []string {
	var names []string
	for _, slot := range g.slots {
		names = append(names, slot.Name)
	}
	return names
}

// FrameworkNames maps the names of a rule's state to those of a framework, for
// checkpoints that go from one to the other: "torch" (the keys of an entry of
// state_dict()["state"]), "keras" (the variables of an optimizer, after the parameter's
// name) or "optax" (the fields of its state). rule is its Name. A name that begins with
// a minus is of a buffer with the opposite sign there. Names that are absent have no
// counterpart, nor has a rule without names: so nu_max of optax.amsgrad is the largest v
// once its bias is corrected, another number than max_v.
func FrameworkNames(rule, framework string) map[string]string {
	return maps.Clone(frameworkNames[framework][rule])
}

var frameworkNames = map[string]map[string]map[string]string{
	"torch": {
		"momentum":                    {"momentum": "momentum_buffer"},
		"adagrad":                     {"accumulator": "sum"},
		"adam":                        {"m": "exp_avg", "v": "exp_avg_sq"},
		"amsgrad":                     {"m": "exp_avg", "v": "exp_avg_sq", "max_v": "max_exp_avg_sq"},
		"rmsprop":                     {"v": "square_avg"},
		"rmsprop, centered":           {"v": "square_avg", "mean": "grad_avg"},
		"rmsprop, momentum":           {"v": "square_avg", "momentum": "momentum_buffer"},
		"rmsprop, centered, momentum": {"v": "square_avg", "mean": "grad_avg", "momentum": "momentum_buffer"},
	},
	"keras": {
		"momentum, lr inside":                    {"momentum": "-momentum"},
		"adagrad":                                {"accumulator": "accumulator"},
		"adam":                                   {"m": "momentum", "v": "velocity"},
		"amsgrad":                                {"m": "momentum", "v": "velocity", "max_v": "velocity_hat"},
		"lion":                                   {"m": "momentum"},
		"lamb":                                   {"m": "momentum", "v": "velocity"},
		"rmsprop":                                {"v": "velocity"},
		"rmsprop, centered":                      {"v": "velocity", "mean": "average_gradient"},
		"rmsprop, momentum, lr inside":           {"v": "velocity", "momentum": "momentum"},
		"rmsprop, centered, momentum, lr inside": {"v": "velocity", "mean": "average_gradient", "momentum": "momentum"},
	},
	"optax": {
		"adabelief":                              {"m": "mu", "s": "nu"},
		"momentum":                               {"momentum": "trace"},
		"adagrad":                                {"accumulator": "sum_of_squares"},
		"adam":                                   {"m": "mu", "v": "nu"},
		"amsgrad":                                {"m": "mu", "v": "nu"},
		"lion":                                   {"m": "mu"},
		"lamb":                                   {"m": "mu", "v": "nu"},
		"rmsprop":                                {"v": "nu"},
		"rmsprop, centered":                      {"v": "nu", "mean": "mu"},
		"rmsprop, momentum, lr inside":           {"v": "nu", "momentum": "-trace"},
		"rmsprop, centered, momentum, lr inside": {"v": "nu", "mean": "mu", "momentum": "-trace"},
	},
}
