package update_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestRefusedRules makes optimizers of what is no rule or too large. Options are the
// registry's to refuse.
func TestRefusedRules(t *testing.T) {
	_, err := update.New(1, &update.SGD{})
	wantArg(t, "a pointer", err, "rules[0]")
	_, err = update.NewSet([]update.Tensor{{Size: min(math.MaxInt/64, 1<<43)}, {Size: 1}}, plainSGD)
	wantArg(t, "too many elements", err, "tensors[1].Size")
}

// TestRefusedState offers state that no step can have left, as the caller's buffers and
// as a checkpoint.
func TestRefusedState(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for buffer, list := range map[string][]float32{"m": {nan, inf, -inf}, "v": {nan, inf, -inf, -1, -0x1p-149}} {
		for _, x := range list {
			state := map[string][]float32{"m": {1, -1, 2}, "v": {0, 1, 2}}
			state[buffer][2] = x
			arg := fmt.Sprintf("State[%q][2]", buffer)
			_, err := update.NewSet([]update.Tensor{{Size: 3, State: state}}, plainAdam)
			wantArg(t, fmt.Sprintf("%s of %g", buffer, x), err, "tensors[0]."+arg)

			o := newOne(t, 3, plainAdam)
			s, err := o.Export()
			must(t, err)
			s.Tensors[0].Buffers = state
			wantArg(t, fmt.Sprintf("%s of %g, imported", buffer, x), o.Import(s), fmt.Sprintf("Tensors[0].Buffers[%q][2]", buffer))
		}
	}
	_, err := update.NewSet([]update.Tensor{{Size: 1, State: map[string][]float32{"m": {0}, "v": {0}, "w": {0}}}}, plainAdam)
	wantArg(t, "one buffer too many", err, "len(tensors[0].State)")

	o, _, _ := newSet(t, []int{3, 2}, plainAdam, heavyBall)
	must(t, o.SetSteps(5))
	for arg, change := range map[string]func(s *update.State){
		"Steps":            func(s *update.State) { s.Steps = -1 },
		"len(Rules)":       func(s *update.State) { s.Rules = append(s.Rules, s.Rules[0]) },
		"Rules[1].Name":    func(s *update.State) { s.Rules[1].Name = "adam" },
		"lr":               func(s *update.State) { s.Rules[1].LR = math.NaN() },
		"len(Tensors)":     func(s *update.State) { s.Tensors = append(s.Tensors, s.Tensors[0]) },
		"Tensors[0].Name":  func(s *update.State) { s.Tensors[0].Name = "b" },
		"Tensors[1].Rule":  func(s *update.State) { s.Tensors[1].Rule = "momentum, lr inside" },
		"Tensors[0].Steps": func(s *update.State) { s.Tensors[0].Steps = 6 },
		"Tensors[1].Steps": func(s *update.State) { s.Tensors[1].Steps = -1 },
	} {
		s, err := o.Export()
		must(t, err)
		change(&s)
		wantArg(t, arg, o.Import(s), arg)
		if o.Steps() != 5 {
			t.Errorf("%s: %d steps", arg, o.Steps())
		}
	}
	for _, tensor := range []int{-1, 2} {
		_, err := o.Buffer(tensor, "m")
		wantArg(t, "a buffer of a tensor that is not", err, "tensor")
		_, err = o.Buffers(tensor)
		wantArg(t, "names of a tensor that is not", err, "tensor")
	}
	_, err = o.Buffer(0, "none")
	wantArg(t, "a buffer that is not", err, "name")
}

// TestRefusedSettings changes what must stay, and what a step that was begun depends on.
func TestRefusedSettings(t *testing.T) {
	o, p, g := newOne(t, 2, plainAdam), []float32{1, 1}, []float32{1, 1}
	amsGrad := plainAdam
	amsGrad.AMSGrad = true
	wrong := plainAdam
	wrong.Beta1 = 1
	wantArg(t, "another rule", o.SetRule(0, amsGrad), "to")
	wantArg(t, "a pointer", o.SetRule(0, &plainAdam), "to")
	wantArg(t, "no rule", o.SetRule(0, nil), "to")
	wantArg(t, "a wrong option", o.SetRule(0, wrong), "Beta1")
	wantArg(t, "a scale that is 0 as a float32", o.SetGradScale(1e-60), "scale")
	wantArg(t, "a scale that is none", o.SetGradScale(1e39), "scale")
	wantArg(t, "no such policy", o.SetPolicy(update.Refuse+1), "policy")
	must(t, o.SetMaxNorm(1))
	wantArg(t, "a norm that nothing sees", o.Begin(), "MaxNorm")
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, o.SetPolicy(update.Skip))
	wantArg(t, "a policy that nothing heeds", o.Begin(), "policy")
	must(t, o.SetPolicy(update.Propagate))
	wantArg(t, "a step that measures", newOne(t, 1, update.LAMB{Eps: 1}).Begin(), "rule")

	must(t, o.Begin())
	wantArg(t, "the rule of a step", o.SetRule(0, plainAdam), "step")
	wantArg(t, "the number of a step", o.SetSteps(1), "step")
	if _, err := o.Export(); err == nil {
		t.Error("a step's state is exported")
	}
	must(t, o.Apply(0, 0, p, g))
	must(t, o.End())
	plain, q := newOne(t, 2, plainAdam), []float32{1, 1}
	must(t, plain.Step(q, g))
	wantEqual(t, "after errors", o, plain, 0, 0, p, q)

	empty, err := update.NewSet(nil)
	must(t, err)
	must(t, empty.StepSet(nil, nil))
	must(t, empty.SetLR(1))
	if empty.LR() != 0 || empty.Len() != 0 || empty.Steps() != 1 {
		t.Errorf("of no rules the rate is %g, of no tensors the length %d, after %d steps", empty.LR(), empty.Len(), empty.Steps())
	}
}

// TestExports has a checkpoint say what was set, and be a copy.
func TestExports(t *testing.T) {
	o, params, grads := newSet(t, []int{3, 2}, plainAdam, heavyBall)
	must(t, o.SetLR(.25))
	must(t, o.StepSet(params, grads))
	must(t, o.StepSet(params, [][]float32{nil, grads[1]}))
	s, err := o.Export()
	must(t, err)
	if s.Steps != 2 || s.Tensors[0].Steps != 1 || s.Tensors[1].Steps != 2 || s.Rules[0].LR != .25 || s.Rules[1].LR != 2.5 {
		t.Errorf("the checkpoint is %+v", s)
	}
	if s.Tensors[0].Name != "a" || s.Tensors[1].Rule != "momentum" || s.Rules[0].Name != "adam" {
		t.Errorf("the checkpoint names %+v", s)
	}
	s.Tensors[0].Buffers["m"][0] = 7
	if buffer(o, 0, "m")[0] == 7 {
		t.Error("the checkpoint is no copy")
	}
	must(t, o.SetLR(1))
	must(t, o.Import(s))
	if lr, err := o.RuleLR(1); err != nil || o.LR() != .25 || lr != 2.5 || buffer(o, 0, "m")[0] != 7 {
		t.Errorf("imported are the rates %g and %g (%v)", o.LR(), lr, err)
	}
	s.Tensors[0].Buffers["m"][0] = 8
	if buffer(o, 0, "m")[0] != 7 {
		t.Error("what is imported is no copy")
	}
	must(t, o.SetRuleLR(0, .5)) // the ratio is that of the options
	must(t, o.SetLR(.1))
	if lr, err := o.RuleLR(1); err != nil || math.Abs(lr-1) > 1e-12 {
		t.Errorf("the other rate is %g (%v)", lr, err)
	}
}
