package registry

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
)

// A golden case is a trajectory of a running framework: golden.py of update/testdata
// made it and says what the files hold.
type golden struct {
	Name, Framework, Rule string
	Preset                string // whose options the framework's function was given, and no more
	Options               json.RawMessage
	DefaultLR             float64 // of the framework, 0 if it has none
	LR                    []float64
	Gradients             string
	GradScale             float64
	Steps                 []int
	State                 []string

	of string // the framework, as in Frameworks
}

const (
	goldenLen = 257
	lost      = 60 * 0x1p-126 // of a number, in 60 steps
	goldenDir = "../../update/testdata/golden"
)

// dialects are how frameworks compute.
var dialects = map[string]Dialect{
	// It has scalars in float64.
	"torch": {DecayFactor: true},
	// They have βᵗ in float32, where 1-0.999ᵗ is off by up to half a unit over 0.001 at
	// first; Keras also decays parameters in a step of its own.
	"keras":      {ScalarsIn32: true, Flushes: true, DecayFactor: true},
	"tensorflow": {ScalarsIn32: true, Flushes: true},
	"optax":      {ScalarsIn32: true, Flushes: true},
}

// sameOperations are cases for which the framework does what the kernel does, in
// the same order: the bits are the same, but where TensorFlow loses subnormal numbers.
var sameOperations = []string{
	"keras_sgd", "keras_momentum", "keras_momentum_nesterov", "keras_adagrad", "keras_adagrad_eps",
	"keras_momentum_nesterov_tiny", "keras_momentum_nesterov_huge", "keras_adagrad_tiny", "keras_adagrad_huge",
	"tf_sgd", "tf_momentum", "tf_keras_momentum", "tf_keras_momentum_nesterov",
	"tf_adagrad_v2", "tf_adagrad_v2_eps", "tf_proximal_sgd_l1",
}

// TestGolden follows PyTorch, Keras, TensorFlow and Optax for 60 steps. The framework is
// where the rule's formula says, within a bound that follows from its roundings in all
// steps so far, and so are we. Tiny state and tiny gradients are lost on the way, but
// PyTorch computes with subnormal numbers, so that it is followed with KeepSubnormals too.
func TestGolden(t *testing.T) {
	for _, c := range goldenCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			r := c.rule(t)
			x := c.follow(t, r)
			t.Logf("%.1f units of 2⁻²⁴ off %s; %d of %d bounds say nothing", x.off, c.Framework, x.vain, x.judged)
			if c.Gradients == "tiny.bin" && c.of == "torch" {
				c.follow(t, kept(r))
			}
		})
	}
}

func kept(r update.Rule) update.Rule {
	return With(r, func(o *update.Options) { o.KeepSubnormals = true })
}

// A run is the trajectories of a case: ours, the formula's for us, and the formula's for
// the framework.
type run struct {
	golden
	entry        *Entry
	rule         update.Rule
	o            *update.Optimizer
	p, want      []float32
	size         []float64 // the largest magnitude that an element or its step has had
	ours, theirs []Element
	judged, vain int // numbers, and those of them whose bound says nothing

	// The largest distance of parameters, in units of 2⁻²⁴ of size: where a parameter
	// crosses zero, an error made while it was large stays.
	off float64
}

// follow compares a rule and its formula with the framework's trajectory.
func (c golden) follow(t *testing.T, r update.Rule) *run {
	t.Helper()
	x := &run{golden: c, entry: named(c.Rule), rule: r, o: mustNew(t, goldenLen, r)}
	must(t, x.o.SetGradScale(c.GradScale))
	gradients := readFloats(t, c.Gradients)
	x.p, x.want, x.size = readFloats(t, "params.bin"), readFloats(t, c.Name+".bin"), make([]float64, goldenLen)
	x.ours, x.theirs = tensor(x.o, x.p, gradients[:goldenLen]), tensor(x.o, x.p, gradients[:goldenLen])
	recorded := 0
	for step, lr := range c.LR {
		x.step(t, int64(step+1), lr, gradients[step*goldenLen:][:goldenLen])
		if recorded < len(c.Steps) && step+1 == c.Steps[recorded] {
			x.compare(t, fmt.Sprint("step ", step+1), x.p, recorded, func(e *Element) bounded.Number { return e.P })
			recorded++
		}
	}
	for k, name := range c.State {
		at := slices.Index(x.o.Buffers(0), name)
		x.compare(t, name, x.o.Buffer(0, name), recorded+k, func(e *Element) bounded.Number { return e.State[at] })
	}
	if x.vain*3 > x.judged && c.Gradients != "huge.bin" {
		t.Errorf("%d of %d bounds say nothing", x.vain, x.judged)
	}
	return x
}

func (x *run) step(t *testing.T, k int64, lr float64, g []float32) {
	t.Helper()
	before := slices.Clone(x.p)
	must(t, x.o.SetLR(lr))
	must(t, x.o.Step(x.p, g))
	for i := range g {
		x.ours[i].G, x.theirs[i].G = bounded.Float(g[i]), bounded.Float(g[i])
		x.size[i] = max(x.size[i], math.Abs(float64(x.p[i])), math.Abs(float64(x.p[i]-before[i])))
	}
	s := Step{Rule: x.entry.meant(x.rule), T: k, LR: lr, Scale: x.GradScale}
	x.entry.Take(s, x.ours)
	s.Rule, s.Dialect = kept(x.rule), dialects[x.of]
	x.entry.Take(s, x.theirs)
}

// compare compares one buffer with a row of the framework's, and each with its formula.
func (x *run) compare(t *testing.T, what string, got []float32, row int, of func(e *Element) bounded.Number) {
	t.Helper()
	want := x.want[row*goldenLen:][:goldenLen]
	for i := range got {
		us, them := of(&x.ours[i]), of(&x.theirs[i])
		if !us.Contains(got[i]) {
			t.Fatalf("%s: element %d is %g, its formula %g within %.3g", what, i, got[i], us.Exact, us.Bound)
		}
		if !them.Contains(want[i]) {
			t.Fatalf("%s: element %d of the framework is %g, its formula %g within %.3g", what, i, want[i], them.Exact, them.Bound)
		}
		if got[i] != want[i] && !(math.Abs(float64(got[i]-want[i])) <= lost) && slices.Contains(sameOperations, x.Name) {
			t.Fatalf("%s: element %d is %g, that of the framework %g", what, i, got[i], want[i])
		}
		x.judged++
		if !(them.Bound < 1e-3*max(x.size[i], math.Abs(them.Exact))) {
			x.vain++
		}
		if d := math.Abs(float64(got[i])-float64(want[i])) / x.size[i]; got[i] != want[i] && row < len(x.Steps) {
			x.off = max(x.off, d*(1<<24))
		}
	}
}

// unseen are options that mean nothing in a case, or what is corrected after all.
var unseen = map[string][]string{
	"keras_rmsprop": {"LRInside"}, "optax_rmsprop_outside": {"LRInside"}, // there is no buffer
	"optax_lamb_decay": {"Beta2"}, // 1-β₂ is in v and in its correction, which float32 knows within 6e-5
}

// TestGoldenSees tells the formula other options than the framework has: that is seen.
func TestGoldenSees(t *testing.T) {
	if emulated {
		t.Skip("this is about formulas, not about machines")
	}
	for _, name := range []string{"torch_adam", "keras_rmsprop", "optax_rmsprop_outside", "keras_lion", "optax_lamb_decay", "optax_adabelief_eps", "tf_rmsprop_centered", "torch_adagrad"} {
		c := goldenNamed(t, name)
		for option, told := range mutants(c.rule(t)) {
			x := &run{golden: c, entry: named(c.Rule), rule: told}
			if !slices.Contains(unseen[name], option) && !x.strays(t) {
				t.Errorf("%s: nobody sees another %s", name, option)
			}
		}
	}
}

// strays reports whether the framework leaves the formula's bounds.
func (x *run) strays(t *testing.T) bool {
	t.Helper()
	gradients, want := readFloats(t, x.Gradients), readFloats(t, x.Name+".bin")
	list := tensor(mustNew(t, goldenLen, x.golden.rule(t)), readFloats(t, "params.bin"), gradients[:goldenLen])
	recorded := 0
	for step, lr := range x.LR {
		for i, g := range gradients[step*goldenLen:][:goldenLen] {
			list[i].G = bounded.Float(g)
		}
		x.entry.Take(Step{Rule: kept(x.rule), T: int64(step + 1), LR: lr, Scale: x.GradScale, Dialect: dialects[x.of]}, list)
		if recorded < len(x.Steps) && step+1 == x.Steps[recorded] {
			for i := range list {
				if !list[i].P.Contains(want[recorded*goldenLen+i]) {
					return true
				}
			}
			recorded++
		}
	}
	return false
}

// TestPresets compares each preset with what a framework's function has where it is
// called with no more, by its own signature.
func TestPresets(t *testing.T) {
	have := map[Preset]bool{}
	for _, c := range goldenCases(t) {
		if c.Preset == "" {
			continue
		}
		r := With(c.rule(t), func(o *update.Options) { o.LR = c.DefaultLR })
		for _, p := range named(c.Rule).Presets {
			if p.Framework == c.of && p.Name == c.Preset {
				have[p] = true
				if !reflect.DeepEqual(p.Rule, r) {
					t.Errorf("%s.%s is %+v, in %s %+v", p.Framework, p.Name, p.Rule, c.Framework, r)
				}
			}
		}
	}
	for _, e := range All() {
		for _, p := range e.Presets {
			if !have[p] && p.Framework != Textbook {
				t.Errorf("no golden case is that of %s.%s alone: update/testdata/tables/%[1]s_cases.py wants preset(%[2]q, ...)", p.Framework, p.Name)
			}
		}
	}
}

// TestFrameworkNames wants a framework's name of all state of each rule that is compared
// with it, and the signs that its formula gives.
func TestFrameworkNames(t *testing.T) {
	signs := map[string]string{"keras momentum, lr inside": "-momentum", "optax rmsprop, momentum, lr inside": "-trace"}
	for _, c := range goldenCases(t) {
		if c.of == "tensorflow" { // of raw operations, whose state is the caller's
			continue
		}
		r := c.rule(t)
		names := update.FrameworkNames(r.Name(), c.of)
		slots := mustNew(t, 1, r).Buffers(0)
		if len(names) != len(slots) {
			t.Errorf("%s: %s has %v, %s names %v", c.Name, r.Name(), slots, c.of, names)
		}
		for _, slot := range slots {
			if names[slot] == "" {
				t.Errorf("%s: %s has no name in %s", c.Name, slot, c.of)
			}
		}
		if want := signs[c.of+" "+r.Name()]; want != "" && names["momentum"] != want {
			t.Errorf("%s: the momentum of %s is %q in %s, want %q", c.Name, r.Name(), names["momentum"], c.of, want)
		}
	}
	if update.FrameworkNames("amsgrad", "optax")["max_v"] != "" || update.FrameworkNames("adam", "nosuch") != nil {
		t.Error("there are names of what has no counterpart")
	}
	update.FrameworkNames("adam", "torch")["m"] = "" // of a copy
	if m := update.FrameworkNames("adam", "torch")["m"]; m != "exp_avg" {
		t.Errorf("Adam's m is %q in PyTorch, want exp_avg", m)
	}
}

func (c golden) rule(t *testing.T) update.Rule {
	t.Helper()
	if find(c.Rule) == nil {
		t.Fatalf("the golden case %s is of a rule %s, which has no entry", c.Name, c.Rule)
	}
	r, err := Decode(c.Rule, c.Options)
	must(t, err)
	return r
}

func goldenNamed(t *testing.T, name string) golden {
	t.Helper()
	for _, c := range goldenCases(t) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no golden case %q", name)
	return golden{}
}

// goldenCases are those of all frameworks. They are no part of the module as proxies have
// it: there, where nothing of the repository's other modules is, a test that wants them
// is skipped.
func goldenCases(t *testing.T) (cases []golden) {
	t.Helper()
	if _, err := os.Stat("../../gen/go.mod"); err != nil {
		if _, err := os.Stat(goldenDir); err != nil {
			t.Skip("this is no clone of the repository: there are no golden vectors")
		}
	}
	for _, of := range Frameworks {
		text, err := os.ReadFile(filepath.Join(goldenDir, of+".json"))
		must(t, err)
		var list []golden
		must(t, json.Unmarshal(text, &list))
		for _, c := range list {
			c.of = of
			cases = append(cases, c)
		}
	}
	if len(cases) < 160 {
		t.Fatalf("%d golden cases", len(cases))
	}
	return cases
}

func readFloats(t *testing.T, name string) []float32 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenDir, name))
	must(t, err)
	x := make([]float32, len(b)/4)
	must(t, binary.Read(bytes.NewReader(b), binary.LittleEndian, x))
	return x
}
