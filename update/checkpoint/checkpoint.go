// Package checkpoint keeps the state of optimizers in safetensors files: rules with their
// options, steps, names, and a checksum over all of it.
//
// Such a file is read by any reader of safetensors, by this package, and by
// lockstep.checkpoint in Python for lockstep.numpy and lockstep.torch, which write what
// this package reads. docs/checkpoint-format.md has the format. Parameters are not in it.
//
// A file is replaced as a whole or not at all, and an optimizer changes only after all of
// the file has been found to be right and to fit.
package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/lockstep-go/lockstep/internal/names"
	"github.com/lockstep-go/lockstep/update"
)

// Options are what a file says beside what the optimizer knows.
type Options struct {
	// Shapes are those of tensors, by name, for readers that compare them with those of
	// their parameters. A tensor that has none here is a vector.
	Shapes map[string][]int

	// Extra is the caller's: an epoch, the state of a schedule. encoding/json writes it; it
	// must come out as an object, or be nil.
	Extra any
}

// Save writes an optimizer's state in place of what is at path. A crash leaves the old file
// or the new one. Tensors without a name are called by their number, counted through the
// rules: those of the first rule come first.
func Save(path string, o *update.Optimizer, with Options) error {
	f, err := fileOf(o, with)
	if err != nil {
		return err
	}
	return Write(path, f)
}

// Load sets the state of an optimizer from a file, which it returns for its Extra. The
// optimizer must have tensors of the same names and sizes, in whatever order, by the same
// rules. Steps, learning rates, scale of gradients and norm to clip to go over; all other
// options are the optimizer's own, and after an error everything is.
func Load(path string, o *update.Optimizer) (*File, error) {
	f, err := Read(path)
	if err != nil {
		return nil, err
	}
	if err := f.restore(o); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// fileOf is the content of a file with an optimizer's state.
func fileOf(o *update.Optimizer, with Options) (*File, error) {
	state, err := o.Export()
	if err != nil {
		return nil, err
	}
	f := &File{Steps: state.Steps, GradScale: o.GradScale(), Averages: state.Averages}
	if !math.IsInf(o.MaxNorm(), 1) {
		f.MaxNorm = o.MaxNorm()
	}
	if err := f.setExtra(with.Extra); err != nil {
		return nil, err
	}
	for _, rule := range o.Rules() {
		f.Groups = append(f.Groups, Group{reflect.TypeOf(rule).Name(), rule.Name(), optionsOf(reflect.ValueOf(rule)), nil})
	}
	named := Names(o)
	shapes := maps.Clone(with.Shapes)
	for k, t := range o.Tensors() {
		shape, ok := shapes[named[k]]
		if !ok {
			shape = []int{t.Size}
		}
		delete(shapes, named[k])
		if n, ok := product(shape); !ok || n != t.Size {
			return nil, fmt.Errorf("the shape %v of %q is not of %d elements", shape, named[k], t.Size)
		}
		saved, err := tensorOf(o, k, t.Rule, state.Tensors[k])
		if err != nil {
			return nil, err
		}
		saved.Name, saved.Shape = named[k], slices.Clone(shape)
		f.Tensors = append(f.Tensors, saved)
	}
	for name := range shapes {
		return nil, fmt.Errorf("the shape of %q is of no tensor", name)
	}
	return f, nil
}

// tensorOf is what is saved of a tensor, without its name and shape: its rule's slots and what
// is kept beside them, as far as they have begun.
func tensorOf(o *update.Optimizer, k, group int, state update.TensorState) (Tensor, error) {
	t := Tensor{Group: group, Steps: state.Steps}
	names, err := o.Buffers(k)
	if err != nil {
		return t, err
	}
	slots, besides := apart(names)
	begun := func(slot string) bool {
		_, ok := state.Buffers[slot]
		_, typed := state.Typed[slot]
		return ok || typed
	}
	for _, name := range slices.DeleteFunc(append(slots, besides...), func(name string) bool { return !begun(name) }) {
		t.Buffers = append(t.Buffers, Buffer{name, state.Buffers[name], state.Typed[name]})
	}
	return t, nil
}

// apart parts the names of buffers in those of a rule's slots and of what steps keep beside
// them, whatever the rule.
func apart(names []string) (slots, besides []string) {
	for _, name := range names {
		if name == update.AverageName || name == update.SlowName {
			besides = append(besides, name)
		} else {
			slots = append(slots, name)
		}
	}
	return slots, besides
}

// Names are what Save calls the tensors of an optimizer, in the order of NewSet: their
// names, or for those without one their number, counted through the rules.
func Names(o *update.Optimizer) []string {
	tensors := o.Tensors()
	order := make([]int, len(tensors))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(tensors[i].Rule, tensors[j].Rule) })
	list := make([]string, len(tensors))
	for n, k := range order {
		if list[k] = tensors[k].Name; list[k] == "" {
			list[k] = strconv.Itoa(n)
		}
	}
	return list
}

// optionsOf are the options of a rule, by their names in C.
func optionsOf(rule reflect.Value) map[string]any {
	options := map[string]any{}
	for k := range rule.NumField() {
		field := rule.Type().Field(k)
		if field.Anonymous {
			maps.Copy(options, optionsOf(rule.Field(k)))
			continue
		}
		options[names.C(field.Name)] = rule.Field(k).Interface()
	}
	return options
}

// restore sets the state of an optimizer, or nothing.
func (f *File) restore(o *update.Optimizer) error {
	state, err := f.stateFor(o)
	if err != nil {
		return err
	}
	maxNorm := f.MaxNorm
	if maxNorm == 0 {
		maxNorm = math.Inf(1)
	}
	scale, norm := o.GradScale(), o.MaxNorm()
	if err := o.SetGradScale(f.GradScale); err != nil {
		return err
	}
	if err := o.SetMaxNorm(maxNorm); err != nil {
		return errors.Join(err, o.SetGradScale(scale))
	}
	if err := o.Import(state); err != nil {
		return errors.Join(err, o.SetGradScale(scale), o.SetMaxNorm(norm))
	}
	return nil
}

// stateFor is the state in the form and order of an optimizer that it fits.
func (f *File) stateFor(o *update.Optimizer) (update.State, error) {
	state := update.State{Steps: f.Steps, Averages: f.Averages}
	rules, tensors := o.Rules(), o.Tensors()
	if len(f.Groups) != len(rules) {
		return state, fmt.Errorf("it is of %d rules, want %d", len(f.Groups), len(rules))
	}
	for k, rule := range rules {
		g := &f.Groups[k]
		if of := reflect.TypeOf(rule).Name(); g.Rule != of || g.State != rule.Name() {
			return state, fmt.Errorf("rule %d is %s (%s), want %s (%s)", k, g.Rule, g.State, of, rule.Name())
		}
		state.Rules = append(state.Rules, update.RuleState{Name: g.State, LR: g.Options["lr"].(float64)})
	}
	if len(f.Tensors) != len(tensors) {
		return state, fmt.Errorf("it is of %d tensors, want %d", len(f.Tensors), len(tensors))
	}
	saved := map[string]*Tensor{}
	for k := range f.Tensors {
		saved[f.Tensors[k].Name] = &f.Tensors[k]
	}
	for k, name := range Names(o) {
		from := saved[name]
		switch {
		case from == nil:
			return state, fmt.Errorf("it has no tensor %q", name)
		case from.Group != tensors[k].Rule:
			return state, fmt.Errorf("%q is by rule %d, want %d", name, from.Group, tensors[k].Rule)
		}
		if n, _ := product(from.Shape); n != tensors[k].Size {
			return state, fmt.Errorf("%q has the shape %v, want %d elements", name, from.Shape, tensors[k].Size)
		}
		t, err := from.stateFor(o, k, tensors[k], rules[from.Group])
		if err != nil {
			return state, err
		}
		state.Tensors = append(state.Tensors, t)
	}
	return state, nil
}

// isPart reports whether slots are some of others, in their order.
func isPart(some, of []string) bool {
	in := slices.DeleteFunc(slices.Clone(of), func(slot string) bool { return !slices.Contains(some, slot) })
	return slices.Equal(some, in)
}

// begin adds what the rule begins with to the state of a tensor that has taken no step.
func (t *Tensor) begin(to update.TensorState, o *update.Optimizer, of update.Tensor, rule update.Rule, slots []string) error {
	first, err := update.NewSet([]update.Tensor{{Size: of.Size, Columns: of.Columns}}, rule)
	if err != nil {
		return err
	}
	types, seed := o.StateTypes()
	maps.DeleteFunc(types, func(slot string, _ update.StateType) bool { return !slices.Contains(slots, slot) })
	if err := first.SetStateTypes(types, seed); err != nil {
		return err
	}
	state, err := first.Export()
	if err != nil {
		return err
	}
	for _, slot := range slots {
		begins, ok := state.Tensors[0].Buffers[slot]
		typed, other := state.Tensors[0].Typed[slot]
		_, saved := to.Buffers[slot]
		_, savedTyped := to.Typed[slot]
		switch {
		case !ok && !other: // as the parameters, with its first step
			delete(to.Buffers, slot)
		case saved || savedTyped:
		case ok:
			to.Buffers[slot] = begins
		default:
			to.Typed[slot] = typed
		}
	}
	return nil
}

// stateFor is the state of an optimizer's tensor: what was saved, or what the rule begins
// with.
func (t *Tensor) stateFor(o *update.Optimizer, k int, of update.Tensor, rule update.Rule) (update.TensorState, error) {
	to := update.TensorState{Name: of.Name, Rule: rule.Name(), Steps: t.Steps, Buffers: map[string][]float32{}, Typed: map[string]update.TypedState{}}
	names, err := o.Buffers(k)
	if err != nil {
		return to, err
	}
	slots, _ := apart(names)
	var all []string
	for _, b := range t.Buffers {
		all = append(all, b.Slot)
		if b.Typed.Type == update.StateFloat32 {
			to.Buffers[b.Slot] = b.Data
		} else {
			to.Typed[b.Slot] = b.Typed
		}
	}
	has, _ := apart(all)
	if t.Steps == 0 && len(slots) > 0 && isPart(has, slots) {
		return to, t.begin(to, o, of, rule, slots)
	}
	if !slices.Equal(has, slots) {
		return to, fmt.Errorf("%q has the state %q, want %q", t.Name, has, slots)
	}
	return to, nil
}
