package update

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// newTable makes an optimizer of a matrix with parameters.
func newTable(t testing.TB, rows, columns int, r Rule) (*Optimizer, []float32) {
	t.Helper()
	o, err := NewSet([]Tensor{{Name: "table", Size: rows * columns, Columns: columns}}, r)
	must(t, err)
	return o, uniform(rows*columns, 1)
}

// TestRefusedRows has steps on rows that cannot be, which leave all as it is.
func TestRefusedRows(t *testing.T) {
	const rows, columns = 10, 3
	o, p := newTable(t, rows, columns, rules["adam"])
	g := uniform(4*columns, 2)
	must(t, StepRows(o, p, []int32{1, 2, 1, 9}, g))
	before, state := slices.Clone(p), exported(o)
	bad := func(what, arg string, err error) {
		t.Helper()
		var e *ArgError
		if !errors.As(err, &e) || e.Arg != arg {
			t.Errorf("%s: the error is %v, want that %s is refused", what, err, arg)
		}
		if !sameBits(p, before) {
			t.Fatalf("%s: parameters have changed", what)
		}
	}
	bad("behind the last", "indices[3]", StepRows(o, p, []int32{1, 2, 1, rows}, g))
	bad("negative", "indices[0]", StepRows(o, p, []int64{-1, 2, 1, 3}, g))
	bad("negative", "indices[2]", StepRows(o, p, []int32{0, 2, math.MinInt32, 3}, g))
	bad("large", "indices[1]", StepRows(o, p, []int64{0, 1 << 32, -5, 3}, g))
	bad("params", "len(params) (table)", StepRows(o, p[1:], []int64{0, 1, 2, 3}, g))
	bad("grads", "len(grads) (table)", StepRows(o, p, []int64{0, 1, 2}, g))
	bad("grads", "len(grads) (table)", StepRows(o, p, []int64{0, 1, 2, 3}, g[1:]))
	bad("overlap", "grads of tensor 0 (table)", StepRows(o, p, []int64{0, 1, 2, 3}, p[5:][:4*columns]))
	bad("overlap", "grads of tensor 0 (table)", StepRows(o, p, []int64{0, 1, 2, 3}, buffer(o, 0, "v")[:4*columns]))
	bad("overlap", "params of tensor 0 (table)", StepRows(o, buffer(o, 0, "m"), []int64{0, 1, 2, 3}, g))
	must(t, o.Begin())
	bad("begun", "step", StepRows(o, p, []int64{0, 1, 2, 3}, g))
	must(t, o.Apply(0, 0, slices.Clone(p), make([]float32, len(p))))
	must(t, o.End())
	must(t, o.Import(state))
	must(t, o.SetMaxNorm(1))
	must(t, o.Observe(0, 0, g))
	bad("observed", "the gradients", StepRows(o, p, []int64{0, 1, 2, 3}, g))
	o.ForgetObserved()
	if now := exported(o); now.Steps != state.Steps || !sameBits(now.Tensors[0].Buffers["m"], state.Tensors[0].Buffers["m"]) || !sameBits(now.Tensors[0].Buffers["v"], state.Tensors[0].Buffers["v"]) {
		t.Error("the state has changed")
	}
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, StepRows(o, p, []int64{}, nil))
	if o.Steps() != state.Steps+1 || !sameBits(p, before) {
		t.Error("a step of no rows is one that leaves all as it is")
	}

	vector := mustNew(t, 12, rules["adam"])
	bad("vector", "tensors[0].Columns", StepRows(vector, make([]float32, 12), []int64{0}, make([]float32, 1)))
	two, _, _ := set(t, []int{4, 4}, rules["adam"])
	bad("two", "the number of tensors", StepRows(two, make([]float32, 4), []int64{0}, make([]float32, 1)))
	for _, c := range []int{-1, 5} {
		_, err := NewSet([]Tensor{{Size: 12, Columns: c}}, rules["adam"])
		bad("columns", "tensors[0].Columns", err)
	}
}

// TestRowsPolicy has gradients that are NaN only once they are added up.
func TestRowsPolicy(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, clips := range []bool{false, true} {
		o, p := newTable(t, 4, 2, rules["sgd"])
		before := slices.Clone(p)
		must(t, o.SetPolicy(Refuse))
		if clips {
			must(t, o.SetMaxNorm(1))
		}
		err := StepRows(o, p, []int32{1, 2, 1}, []float32{math.MaxFloat32, -inf, 1, 1, math.MaxFloat32, inf})
		var e *NonFiniteError
		if !errors.As(err, &e) || e.Count != 2 || e.Name != "table" || !sameBits(p, before) || o.Steps() != 0 || o.Skipped() != 1 {
			t.Errorf("clips: %v: the error is %v, %d steps", clips, err, o.Steps())
		}
		must(t, StepRows(o, p, []int32{1, 2, 1}, []float32{math.MaxFloat32, 1, 1, 1, -math.MaxFloat32, 1}))
		if !clips && o.NonFinite() != 0 {
			t.Errorf("%d are not finite", o.NonFinite())
		}
	}
}

// TestRowsNorm clips the sums of rows that appear more than once.
func TestRowsNorm(t *testing.T) {
	for what, set := range map[string]func(o *Optimizer) error{
		"norm":        func(o *Optimizer) error { return o.SetMaxNorm(6) },
		"tensor norm": func(o *Optimizer) error { return o.SetMaxTensorNorm(6) },
	} {
		o, err := NewSet([]Tensor{{Size: 6, Columns: 2}}, SGD{Options{LR: 1}})
		must(t, err)
		must(t, set(o))
		must(t, o.SetGradScale(2))
		p := make([]float32, 6)
		must(t, StepRows(o, p, []int32{2, 0, 2}, []float32{1, 1, 4, 0, 1, 1})) // sums 4 0, 0 0, 2 2: twice their norm is 2√24
		want := 8 * 6 / math.Sqrt(96)
		if d := float64(-p[0]) - want; math.Abs(d) > 1e-6 || p[4] != p[0]/2 || p[2] != 0 {
			t.Errorf("%s: parameters are %v, want -%g first", what, p, want)
		}
		if norm := o.GradNorm(); what == "norm" && norm != math.Sqrt(24)*2 {
			t.Errorf("the norm is %g", norm)
		}
	}
}

// TestRowsAmongSteps has steps on rows, of the whole and in parts take turns, with buffers
// that move.
func TestRowsAmongSteps(t *testing.T) {
	const rows, columns = 50, 4
	o, p := newTable(t, rows, columns, rules["adam"])
	other, q := newTable(t, rows, columns, rules["adam"])
	every, g := make([]int64, rows), uniform(rows*columns, 3)
	for k := range every {
		every[k] = int64(k)
	}
	for step := range 40 {
		if step%7 == 3 {
			p = slices.Clone(p)
		}
		switch step % 4 {
		case 0:
			must(t, StepRows(o, p, every, g))
		case 1:
			must(t, o.Step(p, g))
		case 2:
			must(t, o.Begin())
			must(t, o.Apply(0, 0, p, g))
			must(t, o.End())
		case 3:
			must(t, o.StepSet([][]float32{p}, [][]float32{g}))
		}
		must(t, other.Step(q, g))
	}
	wantSame(t, "in turn", o, other, p, q)
	state := exported(o)
	next, _ := newTable(t, rows, columns, rules["adam"])
	must(t, next.Import(state))
	must(t, StepRows(o, p, []int32{3, 4, 3}, g[:3*columns]))
	must(t, StepRows(next, q, []int32{3, 4, 3}, g[:3*columns]))
	wantSame(t, "imported", next, o, q, p)
}

// TestRowsAlone refuses what is about all rows.
func TestRowsAlone(t *testing.T) {
	for what, set := range map[string]func(o *Optimizer) error{
		"average":    func(o *Optimizer) error { return o.SetAverage(Averaging{Every: 1, Decay: .9}) },
		"lookahead":  func(o *Optimizer) error { return o.SetLookahead(Lookahead{Period: 2, Step: .5}) },
		"zero":       func(o *Optimizer) error { return o.SetZeroGrads(true) },
		"adaptive":   func(o *Optimizer) error { return o.SetAdaptiveClip(.1, 1e-3) },
		"centralize": func(o *Optimizer) error { return o.SetCentralize(true) },
	} {
		o, err := NewSet([]Tensor{{Size: 6, Columns: 2}}, SGD{Options: Options{LR: .1}})
		must(t, err)
		must(t, set(o))
		p := make([]float32, 6)
		err = StepRows(o, p, []int32{1}, []float32{1, 1})
		var arg *ArgError
		if !errors.As(err, &arg) || arg.Arg != "the optimizer" {
			t.Errorf("%s: %v", what, err)
		}
		if p[2] != 0 {
			t.Errorf("%s: a row moved", what)
		}
	}
}

// BenchmarkRows takes 8,192 random rows of 1 Mi, of 64 elements, in each step.
func BenchmarkRows(b *testing.B) {
	const rows, columns, n = 1 << 20, 64, 8192
	p, g := Alloc(rows*columns, 1)[0], uniform(n*columns, 1)
	rng := rand.New(rand.NewPCG(1, 0))
	lists := make([][n]int32, 64)
	for k := range lists {
		for i := range lists[k] {
			lists[k][i] = rng.Int32N(rows)
		}
	}
	for _, r := range []Rule{rules["sgd"], rules["adagrad"], rules["adam"],
		RowwiseAdaGrad{Options: Options{LR: .01}, Eps: 1e-8}, RowwiseAdam{Options: Options{LR: .01}, Beta1: .9, Beta2: .999, Eps: 1e-8}, RowwiseLAMB{Options: Options{LR: .01}, Beta1: .9, Beta2: .999, Eps: 1e-8}} {
		b.Run(r.Name(), func(b *testing.B) {
			o, err := NewSet([]Tensor{{Size: rows * columns, Columns: columns}}, r)
			must(b, err)
			must(b, o.SetWorkers(1))
			for k := 0; b.Loop(); k++ {
				must(b, StepRows(o, p, lists[k%len(lists)][:], g))
			}
		})
	}
}
