package update

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A golden case is a trajectory of a running framework: testdata/golden.py
// made it and says what the files hold.
type golden struct {
	Name, Framework, Rule string
	Options               json.RawMessage
	LR                    []float64
	GradScale             float64
	Steps                 []int
	State                 []string
}

const goldenLen = 257

// TestGolden follows PyTorch, Keras, TensorFlow and Optax for 60 steps.
//
// The distance is measured against the largest magnitude that an element has
// had: where a parameter crosses zero, an error made while it was large stays.
// Each step rounds some four times to half a unit of 2⁻²⁴, partly in other
// places than the framework does: 120 units are what 60 steps can add up to.
// Keras and Optax compute the bias corrections of Adam in float32, where the
// cancellation in 1-0.999ᵗ costs hundreds of units in the first steps.
func TestGolden(t *testing.T) {
	gradients := readFloats(t, "gradients.bin")
	for _, c := range goldenCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			o, err := New(goldenLen, c.rule(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := o.SetGradScale(c.GradScale); err != nil {
				t.Fatal(err)
			}
			p := readFloats(t, "params.bin")
			want := readFloats(t, c.Name+".bin")
			size := make([]float64, goldenLen)
			stateSize := make([][]float64, len(c.State))
			for k, name := range c.State {
				if len(o.Buffer(0, name)) != goldenLen {
					t.Fatalf("there is no state %q", name)
				}
				stateSize[k] = make([]float64, goldenLen)
			}
			worst := 0.0
			recorded := 0
			for step, lr := range c.LR {
				if err := o.SetLR(lr); err != nil {
					t.Fatal(err)
				}
				if err := o.Step(p, gradients[step*goldenLen:][:goldenLen]); err != nil {
					t.Fatal(err)
				}
				grow(size, p)
				for k, name := range c.State {
					grow(stateSize[k], o.Buffer(0, name))
				}
				if recorded < len(c.Steps) && step+1 == c.Steps[recorded] {
					worst = max(worst, distance(p, want[recorded*goldenLen:], size))
					recorded++
				}
			}
			for k, name := range c.State {
				worst = max(worst, distance(o.Buffer(0, name), want[(recorded+k)*goldenLen:], stateSize[k]))
			}
			limit := 120.0
			if low := strings.HasPrefix(c.Name, "keras_adam") || strings.HasPrefix(c.Name, "optax_"); low {
				limit = 640
			}
			if worst > limit {
				t.Errorf("%.1f units of 2⁻²⁴ off, the limit is %.0f", worst, limit)
			}
			t.Logf("%.1f units of 2⁻²⁴ off %s", worst, c.Framework)
		})
	}
}

// TestPresets holds the presets to the options of the framework's defaults.
func TestPresets(t *testing.T) {
	presets := map[string]Rule{
		"torch_sgd":      PyTorchSGD(),
		"torch_momentum": PyTorchMomentum(.9),
		"torch_adagrad":  PyTorchAdagrad(),
		"torch_adam":     PyTorchAdam(),
		"torch_adamw":    PyTorchAdamW(),
		"keras_sgd":      KerasSGD(),
		"keras_momentum": KerasMomentum(.9),
		"keras_adagrad":  KerasAdagrad(),
		"keras_adam":     KerasAdam(),
		"keras_adamw":    KerasAdamW(),
	}
	for _, c := range goldenCases(t) {
		preset, ok := presets[c.Name]
		if !ok {
			continue
		}
		delete(presets, c.Name)
		got, want := withoutLR(preset), withoutLR(c.rule(t))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the preset is %+v, the framework ran %+v", c.Name, got, want)
		}
	}
	for name := range presets {
		t.Errorf("there is no golden case %s", name)
	}
}

// withoutLR is a rule without its learning rate, which golden cases schedule.
func withoutLR(r Rule) Rule {
	switch r := r.(type) {
	case SGD:
		r.LR = 0
		return r
	case Momentum:
		r.LR = 0
		return r
	case AdaGrad:
		r.LR = 0
		return r
	case Adam:
		r.LR = 0
		return r
	}
	return r
}

// grow keeps the largest magnitudes of x in size.
func grow(size []float64, x []float32) {
	for i := range x {
		size[i] = max(size[i], math.Abs(float64(x[i])))
	}
}

// distance is the largest difference, in units of 2⁻²⁴ of each element's size.
func distance(got, want []float32, size []float64) float64 {
	worst := 0.0
	for i, x := range got {
		d := math.Abs(float64(x) - float64(want[i]))
		// State below 2⁻⁹⁵ is stored as 0, which in 60 steps may lose 60 times that.
		if d < 60*0x1p-95 {
			continue
		}
		if !(d <= math.MaxFloat64) {
			return math.Inf(1)
		}
		worst = max(worst, d/max(size[i], math.Abs(float64(want[i])))*(1<<24))
	}
	return worst
}

func (c golden) rule(t *testing.T) Rule {
	t.Helper()
	decode := func(options any) {
		d := json.NewDecoder(bytes.NewReader(c.Options))
		d.DisallowUnknownFields()
		if err := d.Decode(options); err != nil {
			t.Fatal(err)
		}
	}
	switch c.Rule {
	case "SGD":
		var r SGD
		decode(&r)
		return r
	case "Momentum":
		var r Momentum
		decode(&r)
		return r
	case "AdaGrad":
		var r AdaGrad
		decode(&r)
		return r
	case "Adam":
		var r Adam
		decode(&r)
		return r
	}
	t.Fatalf("there is no rule %q", c.Rule)
	return nil
}

func goldenCases(t *testing.T) (cases []golden) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 60 {
		t.Fatalf("%d golden cases", len(cases))
	}
	return cases
}

func readFloats(t *testing.T, name string) []float32 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(b)/4)
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, x); err != nil {
		t.Fatal(err)
	}
	return x
}
