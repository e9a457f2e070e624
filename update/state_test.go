package update

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestOwnState gives the optimizer the caller's buffers.
func TestOwnState(t *testing.T) {
	const n = 100
	m, v := uniform(n, 5), make([]float32, n)
	o, err := NewSet([]Tensor{{Size: n, State: map[string][]float32{"m": m, "v": v}}}, adamDefaults)
	must(t, err)
	want := slices.Clone(m)
	p, g := uniform(n, 1), uniform(n, 2)
	must(t, o.Step(p, g))
	for i := range m {
		want[i] += float32((g[i] - want[i]) * float32(1-.9))
	}
	if !sameBits(m, want) || v[0] == 0 {
		t.Error("the step did not work in the caller's buffers")
	}
	if &buffer(o, 0, "m")[0] != &m[0] || !slices.Equal(slotNames(o, 0), []string{"m", "v"}) {
		t.Error("Buffer and Buffers name other buffers")
	}
}

// TestInitialState holds the state to its first values.
func TestInitialState(t *testing.T) {
	if a := buffer(mustNew(t, 3, AdaGrad{Options: Options{LR: 1e-3}, InitialAccumulator: .1, Eps: 1e-7, EpsInside: true}), 0, "accumulator"); !slices.Equal(a, []float32{.1, .1, .1}) {
		t.Errorf("accumulators begin at %v, want 0.1", a)
	}
	if v := buffer(mustNew(t, 2, rules["amsgrad"]), 0, "max_v"); !slices.Equal(v, []float32{0, 0}) {
		t.Errorf("max_v begins at %v", v)
	}
}

func TestCheckpoint(t *testing.T) {
	writers := map[string]func(from, to *State) error{
		"gob": func(from, to *State) error {
			var b bytes.Buffer
			return errors.Join(gob.NewEncoder(&b).Encode(from), gob.NewDecoder(&b).Decode(to))
		},
		"json": func(from, to *State) error {
			b, err := json.Marshal(from)
			return errors.Join(err, json.Unmarshal(b, to))
		},
		"none": func(from, to *State) error { *to = *from; return nil },
	}
	sizes := []int{100, 0, 33, 1, 64, 7}
	mixed := []Rule{rules["adam"], rules["sgd"], rules["amsgrad l1"], rules["momentum"], rules["adagrad"]}
	for name, write := range writers {
		a, p, grads := set(t, sizes, mixed...)
		for range 3 {
			must(t, a.StepSet(p, grads))
		}
		buffer(a, 0, "m")[0] = float32(math.Copysign(0, -1)) // which text may lose
		saved := exported(a)
		var s State
		must(t, write(&saved, &s))
		b, q, _ := set(t, sizes, mixed...)
		for k := range q {
			copy(q[k], p[k])
		}
		must(t, b.Import(s))
		for k := range p {
			wantSame(t, name, b, a, q[k], p[k])
		}
		for range 3 {
			must(t, a.StepSet(p, grads))
			must(t, b.StepSet(q, grads))
		}
		for k := range p {
			wantSame(t, name+", continued", b, a, q[k], p[k])
		}
		if s.Steps != 3 || b.Steps() != 6 || sameBits(s.Tensors[0].Buffers["m"], buffer(a, 0, "m")) {
			t.Errorf("%s: the exported state is no copy: steps %d and %d", name, s.Steps, b.Steps())
		}
	}
}

// TestRules tells options as they are now, and tensors as they were given.
func TestRules(t *testing.T) {
	first, second := Adam{Options: Options{LR: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8}, SGD{Options: Options{LR: .2}}
	tensors := []Tensor{{Name: "a", Size: 6, Columns: 2}, {Size: 3, Rule: 1}}
	o, err := NewSet(tensors, first, second)
	must(t, err)
	must(t, o.SetLR(.05))
	first.LR, second.LR = .05, .1
	if got, want := fmt.Sprint(o.Rules()), fmt.Sprint([]Rule{first, second}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(o.Tensors()), fmt.Sprint(tensors); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
