package update

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"testing"
)

// TestLossScaler compares scales with those of PyTorch's running GradScaler, through
// checkpoints.
func TestLossScaler(t *testing.T) {
	data, err := os.ReadFile("testdata/scaler.json")
	must(t, err)
	var want map[string][]float64
	must(t, json.Unmarshal(data, &want))
	cases := map[string]LossScaling{
		"usual":   {65536, 2, .5, 5},
		"large":   {0x1p125, 2, .5, 2},
		"odd":     {1000, 1.7, .3, 3},
		"default": TorchLossScaling(),
	}
	if len(want) != len(cases)+1 {
		t.Errorf("%d cases in the file and %d here", len(want)-1, len(cases))
	}
	for name, options := range cases {
		s, err := NewLossScaler(options)
		must(t, err)
		o, p, g := set(t, []int{1}, SGD{Options{LR: 1}})
		must(t, o.SetPolicy(Skip))
		for k, x := range want[name] {
			if g[0][0] = 1; want["bad"][k] != 0 {
				g[0][0] = float32(math.Inf(1))
			}
			must(t, s.StepSet(o, p, g))
			must(t, s.Update())
			if s.Scale() != x {
				t.Errorf("%s: %g after %d steps, want %g", name, s.Scale(), k+1, x)
			}
			if k%11 == 10 {
				other, err := NewLossScaler(options)
				must(t, err)
				must(t, other.SetState(s.State()))
				s = other
			}
		}
	}
}

// TestLossScalerSteps has the bits of steps whose scale the caller has set, and leaves the
// optimizer's own.
func TestLossScalerSteps(t *testing.T) {
	sizes := []int{30, 5000}
	o, params, grads := set(t, sizes, adamW)
	plain, want, _ := set(t, sizes, adamW)
	s, err := NewLossScaler(LossScaling{1000, 2, .5, 2})
	must(t, err)
	must(t, o.SetPolicy(Skip))
	must(t, o.SetGradScale(.25))
	must(t, o.SetMaxNorm(.01))
	must(t, plain.SetMaxNorm(.01))
	for range 5 {
		must(t, plain.SetGradScale(.25/s.Scale()))
		must(t, plain.StepSet(want, grads))
		must(t, s.StepSet(o, params, grads))
		must(t, s.Update())
		for k := range params {
			wantSame(t, "scaled", o, plain, params[k], want[k])
		}
	}
	if o.GradScale() != .25 || s.Scale() != 4000 {
		t.Errorf("the scales are %g and %g", o.GradScale(), s.Scale())
	}
}

// TestLossScalerSkips has two optimizers of which one skips, under either policy.
func TestLossScalerSkips(t *testing.T) {
	s, err := NewLossScaler(LossScaling{8, 2, .5, 1})
	must(t, err)
	a, p, g := set(t, []int{3}, adamW)
	b, q, h := set(t, []int{3}, adamW)
	wantArg(t, s.StepSet(a, p, g), "policy", "")
	wantArg(t, s.Update(), "the number of steps since the last Update", "")
	must(t, a.SetPolicy(Refuse))
	must(t, b.SetPolicy(Skip))
	wantArg(t, s.StepSet(a, p, nil), "len(grads)", "")
	wantArg(t, s.Update(), "the number of steps since the last Update", "")

	g[0][1] = float32(math.NaN())
	before := slices.Clone(p[0])
	var e *NonFiniteError
	if err := s.StepSet(a, p, g); !errors.As(err, &e) || !sameBits(p[0], before) {
		t.Errorf("NaN was not refused: %v", err)
	}
	must(t, s.StepSet(b, q, h))
	must(t, s.Update())
	wantArg(t, s.Update(), "the number of steps since the last Update", "")
	if s.Scale() != 4 || a.Steps() != 0 || b.Steps() != 1 {
		t.Errorf("a scale of %g, %d and %d steps; want 4, 0 and 1", s.Scale(), a.Steps(), b.Steps())
	}
	must(t, s.StepSet(b, q, h))
	must(t, s.Update())
	if s.Scale() != 8 {
		t.Errorf("a scale of %g after a good step, want 8", s.Scale())
	}

	must(t, s.SetState(LossScalerState{Scale: 0x1p-126}))
	h[0][0] = float32(math.Inf(1))
	must(t, s.StepSet(b, q, h))
	wantArg(t, s.Update(), "Scale", "")
	if s.Scale() != 0x1p-126 {
		t.Errorf("the scale has fallen to %g", s.Scale())
	}
}

// TestLossScalerRefuses has options that cannot be.
func TestLossScalerRefuses(t *testing.T) {
	for arg, o := range map[string]LossScaling{
		"Scale":    {0, 2, .5, 1},
		"Growth":   {1, 1, .5, 1},
		"Backoff":  {1, 2, 1, 1},
		"Interval": {1, 2, .5, 0},
	} {
		_, err := NewLossScaler(o)
		wantArg(t, err, arg, "")
	}
	s, err := NewLossScaler(LossScaling{1, 2, .5, 1})
	must(t, err)
	wantArg(t, s.SetState(LossScalerState{math.Inf(1), 0}), "Scale", "")
	wantArg(t, s.SetState(LossScalerState{1, -1}), "Good", "")
}
