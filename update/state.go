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
	Steps    int64
	Averages int64 // of the parameters: see SetAverage
	Rules    []RuleState
	Tensors  []TensorState
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
	Typed   map[string]TypedState `json:",omitempty"` // buffers of other types: see SetStateTypes
}

// Export copies the state. Within a step that was begun there is none, nor between Eval and
// Train.
func (o *Optimizer) Export() (State, error) {
	if err := o.enter(); err != nil {
		return State{}, err
	}
	defer o.leave()
	if o.begun != nil {
		return State{}, &ArgError{"step", o.Steps(), "one that End has ended"}
	}
	if err := o.checkTraining(); err != nil {
		return State{}, err
	}
	s := State{Steps: o.Steps(), Averages: o.Averages()}
	for k := range o.groups {
		g := &o.groups[k]
		s.Rules = append(s.Rules, RuleState{g.rule.Name(), fmt.Sprintf("%+v", g.rule), o.engine.LR(k)})
	}
	for k, t := range o.tensors {
		g := &o.groups[t.group]
		state, typed := map[string][]float32{}, map[string]TypedState(nil)
		for j, slot := range o.slotsOf(&t) {
			if o.engine.Packing(k, j) != engine.Unpacked {
				if typed == nil {
					typed = map[string]TypedState{}
				}
				typed[slot.Name] = o.typedState(k, j)
			} else if b, ok := o.engine.State(k, j); ok {
				state[slot.Name] = make([]float32, len(b))
				buffers.Copy(state[slot.Name], b)
			}
		}
		for _, b := range o.besides(k) {
			if b.begun {
				state[b.name] = make([]float32, len(b.buffer))
				buffers.Copy(state[b.name], b.buffer)
			}
		}
		s.Tensors = append(s.Tensors, TensorState{t.name, g.rule.Name(), o.engine.TensorSteps(k), state, typed})
	}
	return s, nil
}

// Import copies an exported state into the optimizer, which must have tensors of the
// same names, sizes and rules. Learning rates go over, options are the optimizer's own.
// The parameters that go with it are those of training: see Eval.
func (o *Optimizer) Import(s State) error {
	if err := o.checkState(s); err != nil {
		return err
	}
	o.engine.SetSteps(s.Steps)
	for k, t := range o.tensors {
		var list [][]float32
		for _, slot := range o.slotsOf(&t) {
			list = append(list, s.Tensors[k].Buffers[slot.Name])
		}
		o.engine.Load(k, s.Tensors[k].Steps, list)
		for j, slot := range o.slotsOf(&t) {
			if b, ok := s.Tensors[k].Typed[slot.Name]; ok {
				o.loadTyped(k, j, b)
			}
		}
	}
	for k := range s.Rules {
		o.setLR(k, s.Rules[k].LR)
	}
	o.loadBesides(s)
	o.begun, o.torn, o.swapped, o.evaluated, o.clip = nil, false, false, false, 1
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
	return o.checkBesides(s)
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
	slots := given(o.slotsOf(t), from.Buffers)
	own := map[string]bool{}
	for name := range from.Buffers {
		own[name] = true
	}
	for name := range from.Typed {
		own[name] = true
	}
	delete(own, AverageName)
	delete(own, SlowName)
	if len(own) != len(slots) {
		return &ArgError{fmt.Sprintf("Tensors[%d].Buffers", k), slices.Sorted(maps.Keys(own)), fmt.Sprint(names(o.slotsOf(t)))}
	}
	for _, slot := range slots {
		name := fmt.Sprintf("Tensors[%d].Buffers[%q]", k, slot.Name)
		j := slices.IndexFunc(o.slotsOf(t), func(s engine.Slot) bool { return s.Name == slot.Name })
		if _, ok := from.Typed[slot.Name]; ok || o.engine.Packing(k, j) != engine.Unpacked {
			if err := o.checkTyped(k, j, from, name, fmt.Sprintf("Tensors[%d].Typed[%q]", k, slot.Name)); err != nil {
				return err
			}
			continue
		}
		b, ok := from.Buffers[slot.Name]
		if n := slot.Len(t.shape()); !ok || len(b) != n {
			return &ArgError{"len(" + name + ")", len(b), fmt.Sprint(n)}
		}
		if err := checkSlot(slot, name, b); err != nil {
			return err
		}
	}
	return nil
}

// given are the slots of which a tensor's exported state has buffers: all, or before its
// first step those that do not begin as the parameters.
func given(all []engine.Slot, buffers map[string][]float32) []engine.Slot {
	begins := func(s engine.Slot) bool { return s.BeginsAsParams() }
	begun := func(s engine.Slot) bool { _, ok := buffers[s.Name]; return begins(s) && ok }
	if slices.ContainsFunc(all, begun) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), begins)
}

// Buffer is a state buffer of a tensor by its name, not a copy. One that begins as the
// parameters is not there before the tensor's first step.
func (o *Optimizer) Buffer(tensor int, name string) ([]float32, error) {
	if err := o.checkTensorIndex(tensor); err != nil {
		return nil, err
	}
	for _, b := range o.besides(tensor) {
		switch {
		case b.name == name && b.begun:
			return b.buffer, nil
		case b.name == name:
			return nil, &ArgError{"name", name, "a buffer that has begun: this one does with a step"}
		}
	}
	t := &o.tensors[tensor]
	slots := o.slotsOf(t)
	for j, slot := range slots {
		if slot.Name != name {
			continue
		}
		if s := StateType(o.engine.Packing(tensor, j)); s != StateFloat32 {
			return nil, &ArgError{"name", name, fmt.Sprintf("a buffer of float32: this one is of %v, which Export copies", s)}
		}
		b, ok := o.engine.State(tensor, j)
		if !ok {
			return nil, &ArgError{"name", name, "a buffer that has begun: this one does with the tensor's first step"}
		}
		return b, nil
	}
	return nil, &ArgError{"name", name, fmt.Sprintf("one of %q, which are the %s rule's", names(slots), o.groups[t.group].rule.Name())}
}

// Buffers names the state buffers of a tensor, those of SetAverage and SetLookahead too.
func (o *Optimizer) Buffers(tensor int) ([]string, error) {
	if err := o.checkTensorIndex(tensor); err != nil {
		return nil, err
	}
	list := names(o.slotsOf(&o.tensors[tensor]))
	for _, b := range o.besides(tensor) {
		list = append(list, b.name)
	}
	return list, nil
}

func (o *Optimizer) checkTensorIndex(tensor int) error {
	if tensor < 0 || tensor >= len(o.tensors) {
		return &ArgError{"tensor", tensor, fmt.Sprintf("the index of one of %d tensors", len(o.tensors))}
	}
	return nil
}

func names(slots []engine.Slot) []string {
	var list []string
	for _, slot := range slots {
		list = append(list, slot.Name)
	}
	return list
}

// FrameworkNames maps the names of a rule's state to those of a framework, for
// checkpoints that go from one to the other: "torch" (the keys of an entry of
// state_dict()["state"]), "keras" (the variables of an optimizer, after the parameter's
// name) or "optax" (the fields of its state). rule is its Name. A name that begins with
// a minus is of a buffer with the opposite sign there. Names that are absent have no
// counterpart, nor has a rule without names: so nu_max of optax.amsgrad is the largest v
// once its bias is corrected, and has one with CorrectedMax alone, and z of Schedule-Free is
// the parameters of training without "behind".
func FrameworkNames(rule, framework string) map[string]string {
	return maps.Clone(frameworkNames[framework][rule])
}

var frameworkNames = map[string]map[string]map[string]string{
	"torch": {
		"momentum":                    {"momentum": "momentum_buffer"},
		"muon":                        {"momentum": "momentum_buffer"},
		"soap":                        {"m": "exp_avg", "v": "exp_avg_sq", "left": "GG[0]", "right": "GG[1]", "left_basis": "Q[0]", "right_basis": "Q[1]"}, // the authors', of lists
		"normuon":                     {"momentum": "momentum_buffer", "row_var": "second_momentum_buffer"},                                                // the authors'
		"adagrad":                     {"accumulator": "sum"},
		"adam":                        {"m": "exp_avg", "v": "exp_avg_sq"},
		"amsgrad":                     {"m": "exp_avg", "v": "exp_avg_sq", "max_v": "max_exp_avg_sq"},
		"adamax":                      {"m": "exp_avg", "u": "exp_inf"},
		"nadam":                       {"m": "exp_avg", "v": "exp_avg_sq"},
		"radam":                       {"m": "exp_avg", "v": "exp_avg_sq"},
		"schedule-free adamw":         {"v": "exp_avg_sq"},
		"schedule-free radam":         {"v": "exp_avg_sq"},
		"prodigy":                     {"p0": "p0", "s": "s", "m": "exp_avg", "v": "exp_avg_sq", "d": "d", "numerator": "d_numerator", "d_max": "d_max"}, // the last three of its group
		"d-adapt adamw":               {"m": "exp_avg", "v": "exp_avg_sq", "s": "s", "d": "d", "numerator": "numerator_weighted"},                        // the last two of its group
		"adadelta":                    {"v": "square_avg", "delta": "acc_delta"},
		"asgd":                        {"ax": "ax"},
		"rprop":                       {"prev": "prev", "step": "step_size"},
		"adafactor":                   {"row_var": "row_var", "col_var": "col_var", "variance": "variance"},
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
		"schedule-free adamw":                    {"v": "velocity"},
		"lamb":                                   {"m": "momentum", "v": "velocity"},
		"ftrl":                                   {"accumulator": "accumulator", "linear": "linear"},
		"adafactor":                              {"row_var": "r", "col_var": "c", "variance": "velocity"}, // the first two without a name there
		"adamax":                                 {"m": "momentum", "u": "norm"},
		"nadam":                                  {"m": "momentum", "v": "velocity"},
		"adadelta":                               {"v": "accumulated_grad", "delta": "accumulated_delta_var"},
		"rmsprop":                                {"v": "velocity"},
		"rmsprop, centered":                      {"v": "velocity", "mean": "average_gradient"},
		"rmsprop, momentum, lr inside":           {"v": "velocity", "momentum": "momentum"},
		"rmsprop, centered, momentum, lr inside": {"v": "velocity", "mean": "average_gradient", "momentum": "momentum"},
	},
	"optax": {
		"madgrad":                                {"s": "s", "grad_sum_sq": "grad_sum_sq", "x0": "x0"},
		"sophia":                                 {"m": "mu", "h": "nu"},
		"muon":                                   {"momentum": "mu"},
		"adabelief":                              {"m": "mu", "s": "nu"},
		"momentum":                               {"momentum": "trace"},
		"adagrad":                                {"accumulator": "sum_of_squares"},
		"adam":                                   {"m": "mu", "v": "nu"},
		"amsgrad":                                {"m": "mu", "v": "nu"},
		"lion":                                   {"m": "mu"},
		"lamb":                                   {"m": "mu", "v": "nu"},
		"lars, lr inside":                        {"momentum": "-trace"},
		"novograd":                               {"m": "mu", "v": "nu"},
		"adamax":                                 {"m": "mu", "u": "nu"},
		"nadam":                                  {"m": "mu", "v": "nu"},
		"radam":                                  {"m": "mu", "v": "nu"},
		"schedule-free adamw":                    {"v": "nu"},
		"prodigy":                                {"p0": "params0", "s": "grad_sum", "m": "exp_avg", "v": "exp_avg_sq", "d": "estim_lr", "d_max": "estim_lr", "numerator": "numerator_weighted"},
		"d-adapt adamw":                          {"m": "exp_avg", "v": "exp_avg_sq", "s": "grad_sum", "d": "estim_lr", "numerator": "numerator_weighted"},
		"adadelta":                               {"v": "e_g", "delta": "e_x"},
		"adafactor":                              {"row_var": "v_row", "col_var": "v_col", "variance": "v"},
		"adafactor, momentum":                    {"row_var": "v_row", "col_var": "v_col", "variance": "v", "momentum": "ema"},
		"yogi":                                   {"m": "mu", "v": "nu"},
		"amsgrad, corrected":                     {"m": "mu", "v": "nu", "max_v": "nu_max"},
		"adopt":                                  {"m": "mu", "v": "nu"},
		"ademamix":                               {"m": "m1", "slow": "m2", "v": "nu"},
		"simplified ademamix":                    {"m": "m", "v": "n"},
		"rprop":                                  {"prev": "prev_updates", "step": "step_sizes"},
		"signum":                                 {"m": "ema"},
		"adan":                                   {"m": "m", "diff": "v", "v": "n", "prev": "g"},
		"rmsprop":                                {"v": "nu"},
		"rmsprop, centered":                      {"v": "nu", "mean": "mu"},
		"rmsprop, momentum, lr inside":           {"v": "nu", "momentum": "-trace"},
		"rmsprop, centered, momentum, lr inside": {"v": "nu", "mean": "mu", "momentum": "-trace"},
	},
}
