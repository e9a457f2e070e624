package update

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestWrongState makes optimizers on buffers that they cannot have.
func TestWrongState(t *testing.T) {
	b := make([]float32, 10)
	type state = map[string][]float32
	for _, c := range []struct {
		arg, value string
		tensors    []Tensor
	}{
		{"tensors[1].Size", "-1", []Tensor{{Size: 2}, {Size: -1}}},
		{"tensors[0].Rule", "1", []Tensor{{Size: 2, Rule: 1}}},
		{"tensors[0].Rule", "-1", []Tensor{{Size: 2, Rule: -1}}},
		{`tensors[0].State["v"]`, "absent", []Tensor{{Size: 3, State: state{"m": b[:3]}}}},
		{`tensors[0].State["m"]`, "absent", []Tensor{{Size: 3, State: state{"momentum": b[:3]}}}},
		{`len(tensors[0].State["v"])`, "4", []Tensor{{Size: 3, State: state{"m": b[:3], "v": b[3:7]}}}},
		{`len(tensors[0].State["m"])`, "0", []Tensor{{Size: 3, State: state{"m": nil, "v": b[3:6]}}}},
		{"len(tensors[0].State)", "3", []Tensor{{Size: 3, State: state{"m": b[:3], "v": b[3:6], "max_v": b[6:9]}}}},
		{"m of tensor 0", "3 elements", []Tensor{{Size: 3, State: state{"m": b[:3], "v": b[2:5]}}}},
		{"v of tensor 0", "3 elements", []Tensor{
			{Size: 3, State: state{"m": b[:3], "v": b[3:6]}}, {Size: 3, State: state{"m": b[5:8], "v": make([]float32, 3)}}}},
	} {
		_, err := NewSet(c.tensors, adamDefaults)
		wantArg(t, err, c.arg, c.value)
	}
}

func wantArg(t *testing.T, err error, arg, value string) {
	t.Helper()
	var e *ArgError
	if !errors.As(err, &e) {
		t.Errorf("%s = %s: the error is %v", arg, value, err)
		return
	}
	if e.Arg != arg || !strings.HasPrefix(fmt.Sprint(e.Value), value) ||
		!strings.Contains(e.Error(), arg+" is "+value) || !strings.Contains(e.Error(), e.Want) || e.Want == "" {
		t.Errorf("%s = %s: the error is %q", arg, value, e)
	}
}

// TestWrongInput makes calls that must change nothing.
func TestWrongInput(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	arena := uniform(200, 1)
	p, g, m, v := arena[:20], arena[20:40], arena[40:60], arena[60:80]
	q, h, b := arena[80:90], arena[90:100], arena[100:110]
	for i := range v {
		v[i] *= v[i]
	}
	one, err := NewSet([]Tensor{{Size: 20, State: map[string][]float32{"m": m, "v": v}}}, adamDefaults)
	must(t, err)
	must(t, one.Step(p, g))
	half := mustNew(t, 20, adamDefaults)
	must(t, half.Step(p, g))
	must(t, half.Begin())
	must(t, half.Apply(0, 2, p[2:4], g[2:4]))
	two, err := NewSet([]Tensor{
		{Size: 20},
		{Size: 10, Rule: 1, State: map[string][]float32{"momentum": b}}}, adamDefaults, Momentum{Options: Options{LR: 1e-3}, Momentum: .9})
	must(t, err)
	must(t, two.StepSet([][]float32{p, q}, [][]float32{g, h}))
	last := mustNew(t, 20, SGD{Options{LR: 1}})
	must(t, last.SetSteps(math.MaxInt64))

	bad := func(change func(*State)) State { s := exported(two); change(&s); return s }
	for _, c := range []struct {
		arg, value string
		err        func() error
	}{
		{"lr", "-1", func() error { return one.SetLR(-1) }},
		{"lr", "NaN", func() error { return one.SetLR(nan) }},
		{"lr", "+Inf", func() error { return one.SetLR(inf) }},
		{"lr", "-Inf", func() error { return two.SetRuleLR(1, -inf) }},
		{"lr", "NaN", func() error { return two.SetRuleLR(1, nan) }},
		{"rule", "2", func() error { return two.SetRuleLR(2, 1) }},
		{"rule", "-1", func() error { return two.SetRuleLR(-1, 1) }},
		{"scale", "0", func() error { return one.SetGradScale(0) }},
		{"scale", "NaN", func() error { return one.SetGradScale(nan) }},
		{"scale", "-2", func() error { return one.SetGradScale(-2) }},
		{"scale", "+Inf", func() error { return one.SetGradScale(inf) }},
		{"steps", "-1", func() error { return one.SetSteps(-1) }},
		{"n", "-1", func() error { return one.SetWorkers(-1) }},
		{"policy", "3", func() error { return one.SetPolicy(Refuse + 1) }},

		{"the number of tensors", "2", func() error { return two.Step(p, g) }},
		{"len(params)", "19", func() error { return one.Step(p[:19], g) }},
		{"len(params)", "0", func() error { return one.Step(nil, g) }},
		{"grads", "nil", func() error { return one.Step(p, nil) }},
		{"len(grads)", "21", func() error { return one.Step(p, arena[120:141]) }},
		{"len(params)", "1", func() error { return two.StepSet([][]float32{p}, [][]float32{g, h}) }},
		{"len(grads)", "0", func() error { return two.StepSet([][]float32{p, q}, nil) }},
		{"len(params[1])", "9", func() error { return two.StepSet([][]float32{p, q[:9]}, [][]float32{g, h}) }},
		{"len(grads[0])", "0", func() error { return two.StepSet([][]float32{p, q}, [][]float32{{}, h}) }},
		{"grads of tensor 0", "20 elements", func() error { return one.Step(p, p) }},
		{"grads of tensor 0", "20 elements", func() error { return one.Step(arena[1:21], g) }},
		{"grads of tensor 0", "20 elements", func() error { return one.Step(p, arena[21:41]) }},
		{"params of tensor 0", "20 elements", func() error { return one.Step(m, g) }},
		{"grads of tensor 0", "20 elements", func() error { return one.Step(p, arena[79:99]) }},
		{"params of tensor 0", "20 elements", func() error { return two.StepSet([][]float32{p, p[10:]}, [][]float32{g, h}) }},
		{"momentum of tensor 1", "10 elements", func() error { return two.StepSet([][]float32{arena[101:121], q}, [][]float32{g, h}) }},

		{"tensor", "1", func() error { return half.Apply(1, 0, p, g) }},
		{"tensor", "-1", func() error { return half.Apply(-1, 0, p, g) }},
		{"offset", "-1", func() error { return half.Apply(0, -1, p, g) }},
		{"offset", "21", func() error { return half.Apply(0, 21, nil, nil) }},
		{"len(params)", "20", func() error { return half.Apply(0, 1, p, g) }},
		{"len(grads)", "19", func() error { return half.Apply(0, 0, p, g[1:]) }},
		{"params of tensor 0", "10 elements", func() error { return half.Apply(0, 4, p[4:14], p[9:19]) }},
		{"params of tensor 0", "10 elements", func() error { return half.Apply(0, 4, buffer(half, 0, "m")[10:], g[:10]) }},
		{"grads of tensor 0", "10 elements", func() error { return half.Apply(0, 4, p[4:14], buffer(half, 0, "v")[:10]) }},
		{"step", "1", func() error { return two.Apply(0, 0, p, g) }},
		{"offset", "3", func() error { return half.Apply(0, 3, p[3:9], g[3:9]) }},
		{"offset", "0", func() error { return half.Apply(0, 0, p, g) }},
		{"tensor 0", "not applied from 0 on", func() error { return half.End() }},
		{"step", "2", func() error { return half.Begin() }},
		{"step", "2", func() error { return half.Step(p, g) }},
		{"step", "2", func() error { _, err := half.Export(); return err }},
		{"step", "2", func() error { return half.SetSteps(4) }},
		{"step", "1", func() error { return two.End() }},
		{"squares", "NaN", func() error { return one.BeginNorm(nan) }},
		{"rule", "3", func() error { return one.SetRule(3, adamW) }},
		{"to", "sgd", func() error { return one.SetRule(0, SGD{}) }},
		{"Eps", "0", func() error { return one.SetRule(0, Adam{Options: Options{LR: 1}, Beta1: .9, Beta2: .999}) }},
		{"n", "4194304", func() error { return one.SetWorkers(1 << 22) }},
		{"the number of steps", "9223372036854775807", func() error { return last.Step(p, g) }},
		{"the number of steps", "9223372036854775807", func() error { return last.Begin() }},

		{"Steps", "-1", func() error { return two.Import(bad(func(s *State) { s.Steps = -1 })) }},
		{"len(Tensors)", "1", func() error { return two.Import(bad(func(s *State) { s.Tensors = s.Tensors[:1] })) }},
		{"Tensors[1].Rule", "adam", func() error { return two.Import(bad(func(s *State) { s.Tensors[1].Rule = "adam" })) }},
		{"Tensors[1].Buffers", "[]", func() error { return two.Import(bad(func(s *State) { s.Tensors[1].Buffers = nil })) }},
		{`len(Tensors[0].Buffers["m"])`, "20", func() error {
			return two.Import(bad(func(s *State) { // the first tensor is right, and must not be written
				clear(s.Tensors[0].Buffers["v"])
				s.Tensors[0].Buffers["m"] = make([]float32, 19)
			}))
		}},
		{`len(Tensors[1].Buffers["momentum"])`, "0", func() error {
			return two.Import(bad(func(s *State) {
				clear(s.Tensors[0].Buffers["v"])
				s.Tensors[1].Buffers = map[string][]float32{"velocity": nil}
			}))
		}},
	} {
		before := slices.Clone(arena)
		states := []State{exported(one), exported(two), exported(last)}
		value := c.value
		if strings.Contains(c.arg, `"m"`) {
			value = "19"
		}
		wantArg(t, c.err(), c.arg, value)
		if !sameBits(arena, before) {
			t.Errorf("%s = %s: buffers have changed", c.arg, c.value)
		}
		for k, o := range []*Optimizer{one, two, last} {
			if got, want := fmt.Sprint(exported(o)), fmt.Sprint(states[k]); got != want {
				t.Errorf("%s = %s: the state has changed", c.arg, c.value)
			}
		}
	}

	// The next steps are those that would have been without the errors.
	if one.Steps() != 1 || half.Steps() != 2 || two.Steps() != 1 || last.Steps() != math.MaxInt64 || one.Skipped() != 0 {
		t.Error("errors have counted as steps")
	}
	must(t, half.Apply(0, 4, p[4:], g[4:]))
	must(t, half.Apply(0, 0, p[:2], g[:2]))
	must(t, half.End())
	must(t, one.Step(p, g))
}

func TestPolicies(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	sizes := []int{70, 0, 3000, 70000}
	for _, policy := range []Policy{Propagate, Skip, Refuse} {
		o, params, grads := set(t, sizes, adamDefaults)
		must(t, o.SetPolicy(policy))
		must(t, o.StepSet(params, grads))
		before, state := slices.Clone(params[2]), fmt.Sprint(exported(o))
		grads[2][7], grads[2][2999], grads[3][69999] = nan, -inf, inf
		err := o.StepSet(params, grads)
		if policy == Propagate {
			if err != nil || o.Skipped() != 0 || o.NonFinite() != 0 || o.Steps() != 2 || params[2][7] == params[2][7] {
				t.Errorf("Propagate: %v, %d skipped, %d steps", err, o.Skipped(), o.Steps())
			}
			continue
		}
		var e *NonFiniteError
		if errors.As(err, &e) != (policy == Refuse) || e != nil && *e != (NonFiniteError{Tensor: 2, Count: 3}) {
			t.Errorf("policy %d: %v", policy, err)
		}
		if e != nil && (!strings.Contains(e.Error(), " 3 ") || !strings.Contains(e.Error(), "tensor 2")) {
			t.Errorf("the error is %q", e)
		}
		if !sameBits(params[2], before) || fmt.Sprint(exported(o)) != state {
			t.Errorf("policy %d: the step has changed something", policy)
		}
		if o.Skipped() != 1 || o.NonFinite() != 3 || o.Steps() != 1 {
			t.Errorf("policy %d: %d skipped, %d not finite, %d steps", policy, o.Skipped(), o.NonFinite(), o.Steps())
		}
		grads[2][7], grads[2][2999], grads[3][69999] = 1, 1, 0x1.fffffep62 // whose square is finite
		must(t, o.StepSet(params, grads))
		if o.Skipped() != 1 || o.NonFinite() != 0 || o.Steps() != 2 {
			t.Errorf("policy %d does not go on: %d skipped, %d not finite, %d steps", policy, o.Skipped(), o.NonFinite(), o.Steps())
		}
	}
	if n := CountNonFinite([]float32{nan, 0, inf, -inf, math.MaxFloat32, 0x1p-149}); n != 3 {
		t.Errorf("CountNonFinite is %d, want 3", n)
	}
}
