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
	Columns               int // of a matrix, or of a table of which each step takes rows
	GradScale             float64
	Steps                 []int
	State                 []string

	// Numbers are state of the tensor after each step, from which the next one is followed:
	// what feeds back into itself has bounds that soon say nothing.
	Numbers map[string][]float64

	of string // the framework, as in Frameworks
}

const (
	goldenLen = 257
	tableLen  = 42 * 6 // of a case that takes rows
	matrixLen = 17 * 33
	lost      = 60 * 0x1p-126 // of a number, in 60 steps
	goldenDir = "../../update/testdata/golden"
)

// dialects are how frameworks compute.
var dialects = map[string]Dialect{
	// It has scalars in float64.
	"torch": {DecayFactor: true, ProductIn32: true},
	// They have βᵗ in float32, where 1-0.999ᵗ is off by up to half a unit over 0.001 at
	// first; Keras also decays parameters in a step of its own. On TensorFlow, and not on
	// JAX, it looks at Schedule-Free's z too late: the variable is no copy.
	"keras":      {ScalarsIn32: true, Flushes: true, DecayFactor: true, RatesIn32: true, LateZ: true},
	"tensorflow": {ScalarsIn32: true, Flushes: true},
	"optax":      {ScalarsIn32: true, Flushes: true},
}

// sameOperations are cases for which the framework does what the kernel does, in
// the same order: the bits are the same, but where TensorFlow loses subnormal numbers.
var sameOperations = []string{
	"keras_sgd", "keras_momentum", "keras_momentum_nesterov", "keras_adagrad", "keras_adagrad_eps",
	"keras_momentum_nesterov_tiny", "keras_momentum_nesterov_huge", "keras_adagrad_tiny", "keras_adagrad_huge",
	"tf_sgd", "tf_momentum", "tf_keras_momentum", "tf_keras_momentum_nesterov",
	"tf_adagrad_v2", "tf_adagrad_v2_eps", "tf_proximal_sgd_l1", "tf_rows_momentum", "tf_rows_momentum_nesterov", "tf_rows_adagrad_v2",
	"torch_rprop", "torch_rprop_clamped_maximize", "torch_rprop_huge", "optax_rprop", "optax_rprop_unclamped",
	"optax_sign_sgd", "tf_adagrad_da", "tf_adagrad_da_plain", "tf_adagrad_da_tiny",
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
	columns      int       // of a matrix that is factored
	p, want      []float32 // want is what is left to compare
	state        bool      // that is state
	rows         [][]int64 // of each step, of a case that takes rows
	twice        int       // how often one of them was there before in the step
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
	n := c.len()
	x := &run{golden: c, entry: named(c.Rule), rule: r, o: mustNewMatrix(t, n, c.Columns, r)}
	x.columns = c.factored(t, r)
	must(t, x.o.SetGradScale(c.GradScale))
	gradients := readFloats(t, c.Gradients)
	perStep := len(gradients) / len(c.LR)
	x.p, x.want, x.size = c.params(t)[:n], readFloats(t, c.Name+".bin"), make([]float64, n)
	x.ours, x.theirs = matrix(x.o, x.p, gradients[:n], x.columns), matrix(x.o, x.p, gradients[:n], x.columns)
	recorded := 0
	for step, lr := range c.LR {
		x.step(t, int64(step+1), lr, gradients[step*perStep:][:perStep])
		if recorded < len(c.Steps) && step+1 == c.Steps[recorded] {
			x.compare(t, fmt.Sprint("step ", step+1), x.p, func(e *Element) bounded.Number { return e.P })
			recorded++
		}
	}
	x.state = true
	for _, name := range c.State {
		at := slices.Index(slotNames(x.o, 0), name)
		x.compare(t, name, buffer(x.o, 0, name), func(e *Element) bounded.Number { return e.State[at] })
	}
	if recorded != len(c.Steps) || len(x.want) != 0 {
		t.Errorf("%d of %d records were compared, and %d numbers are left over", recorded, len(c.Steps), len(x.want))
	}
	if c.takesRows() && x.twice == 0 {
		t.Error("no row is there twice")
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
	if x.takesRows() {
		x.stepRows(t, k, lr, g)
	} else {
		must(t, x.o.Step(x.p, g))
		x.take(k, lr, 0, g)
		x.know(t, k)
	}
	for i := range x.p {
		x.size[i] = max(x.size[i], math.Abs(float64(x.p[i])), math.Abs(float64(x.p[i]-before[i])))
	}
}

// stepRows takes a step of the rows whose turn it is, and formulas of these alone. The
// gradients of a row that is there twice are added up.
func (x *run) stepRows(t *testing.T, k int64, lr float64, g []float32) {
	t.Helper()
	if x.rows == nil {
		text, err := os.ReadFile(filepath.Join(goldenDir, "rows.json"))
		must(t, err)
		must(t, json.Unmarshal(text, &x.rows))
	}
	rows := x.rows[k-1]
	g = g[:len(rows)*x.Columns]
	must(t, update.StepRows(x.o, x.p, rows, g))
	seen, sums := sumRows(rows, g, x.Columns)
	x.twice += len(rows) - len(seen)
	for at, row := range seen {
		x.take(k, lr, int(row)*x.Columns, sums[at])
	}
}

// take takes a step of both formulas, of the elements from one on that have a gradient.
func (x *run) take(k int64, lr float64, from int, g []float32) {
	ours, theirs := x.ours[from:][:len(g)], x.theirs[from:][:len(g)]
	for i := range g {
		ours[i].G, theirs[i].G = bounded.Float(g[i]), bounded.Float(g[i])
	}
	s := Step{Rule: x.entry.meant(x.rule), T: k, LR: lr, Scale: x.GradScale, Columns: x.columns}
	x.entry.Take(s, ours)
	s.Rule, s.Dialect = kept(x.rule), dialects[x.of]
	x.entry.Take(s, theirs)
}

// know compares the numbers of a step with both formulas, which go on from them.
func (x *run) know(t *testing.T, k int64) {
	t.Helper()
	for name, list := range x.Numbers {
		at, got, want := slices.Index(slotNames(x.o, 0), name), buffer(x.o, 0, name)[0], list[k-1]
		if us := x.ours[0].State[at]; !us.Contains(got) {
			t.Fatalf("step %d: %s is %g, its formula %g within %.3g", k, name, got, us.Exact, us.Bound)
		}
		if them := x.theirs[0].State[at]; !them.Contains(float32(want)) {
			t.Fatalf("step %d: %s of the framework is %g, its formula %g within %.3g", k, name, want, them.Exact, them.Bound)
		}
		for i := range x.ours {
			x.ours[i].State[at], x.theirs[i].State[at] = bounded.Float(got), bounded.Scalar(want)
		}
	}
}

// compare compares one buffer with the framework's, which comes next, and each with its
// formula.
func (x *run) compare(t *testing.T, what string, got []float32, of func(e *Element) bounded.Number) {
	t.Helper()
	want := x.want[:len(got)]
	x.want = x.want[len(got):]
	first := map[int]int{} // element that a number is of
	for i := len(x.p) - 1; i >= 0; i-- {
		first[place(i, len(x.p), x.columns, len(got))] = i
	}
	for i := range got {
		at := first[i]
		us, them := of(&x.ours[at]), of(&x.theirs[at])
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
		if !(them.Bound < 1e-3*max(x.size[at], math.Abs(them.Exact))) {
			x.vain++
		}
		if d := math.Abs(float64(got[i])-float64(want[i])) / x.size[at]; got[i] != want[i] && !x.state {
			x.off = max(x.off, d*(1<<24))
		}
	}
}

// unseen are options that mean nothing in a case, or what is corrected after all.
var unseen = map[string][]string{
	"keras_rmsprop": {"LRInside"}, "optax_rmsprop_outside": {"LRInside"}, // there is no buffer
	"torch_adafactor_options_matrix":  {"EpsParam"},                                        // parameters are larger
	"optax_adafactor_momentum_matrix": {"EpsParam", "DecayedScale", "EpsSquare", "MinDim"}, // steps are not relative to parameters
	"optax_lamb_decay":                {"Beta2"},                                           // 1-β₂ is in v and in its correction, which float32 knows within 6e-5
}

// TestGoldenSees tells the formula other options than the framework has: that is seen.
func TestGoldenSees(t *testing.T) {
	if emulated {
		t.Skip("this is about formulas, not about machines")
	}
	for _, name := range []string{"torch_adam", "keras_rmsprop", "optax_rmsprop_outside", "keras_lion", "optax_lamb_decay", "optax_adabelief_eps", "tf_rmsprop_centered", "torch_adagrad", "torch_adafactor_options_matrix", "optax_adafactor_momentum_matrix"} {
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
	n, columns := x.len(), x.factored(t, x.golden.rule(t))
	gradients, want := readFloats(t, x.Gradients), readFloats(t, x.Name+".bin")
	list := matrix(mustNewMatrix(t, n, x.Columns, x.golden.rule(t)), x.params(t), gradients[:n], columns)
	recorded := 0
	for step, lr := range x.LR {
		for i, g := range gradients[step*n:][:n] {
			list[i].G = bounded.Float(g)
		}
		x.entry.Take(Step{Rule: kept(x.rule), T: int64(step + 1), LR: lr, Scale: x.GradScale, Columns: columns, Dialect: dialects[x.of]}, list)
		if recorded < len(x.Steps) && step+1 == x.Steps[recorded] {
			for i := range list {
				if !list[i].P.Contains(want[recorded*n+i]) {
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
			if !have[p] && p.Framework != Textbook && e.Apart == "" {
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
		slots := slotNames(mustNew(t, 1, r), 0)
		for _, name := range slotNames(mustNewMatrix(t, 1<<16, 1<<8, r), 0) {
			if !slices.Contains(slots, name) {
				slots = append(slots, name)
			}
		}
		slots = slices.DeleteFunc(slots, func(name string) bool { return name == "behind" }) // frameworks keep z
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

// takesRows reports whether each step takes some rows of a table alone.
func (c golden) takesRows() bool { return c.Columns > 0 && !c.isMatrix() }

func (c golden) isMatrix() bool { return c.Gradients == "matrix.bin" }

// len is how many parameters a case has.
func (c golden) len() int {
	switch {
	case c.isMatrix():
		return matrixLen
	case c.takesRows():
		return tableLen
	}
	return goldenLen
}

// factored is how many columns a case has if its rule factors matrices, or else 0.
func (c golden) factored(t *testing.T, r update.Rule) int {
	t.Helper()
	if slices.Equal(slotNames(mustNewMatrix(t, c.len(), c.Columns, r), 0), slotNames(mustNew(t, c.len(), r), 0)) {
		return 0
	}
	return c.Columns
}

func (c golden) params(t *testing.T) []float32 {
	t.Helper()
	if c.isMatrix() {
		return readFloats(t, "matrix_params.bin")
	}
	return readFloats(t, "params.bin")
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
