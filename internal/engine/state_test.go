package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestExtents has a slot of each extent, of matrices, vectors and nothing.
func TestExtents(t *testing.T) {
	e := New([]Tensor{{Size: 12, Columns: 3}, {Size: 12}, {}, {Size: 2 * tune.SmallLen, Columns: 2}}, []Rule{{Plan: Plan{State: []Slot{
		{Extent: PerElement}, {Extent: PerRow}, {Extent: PerColumn, First: Constant(.5)}, {Extent: PerTensor, First: Constant(3)}}}}})
	for k, want := range [][]int{{12, 4, 3, 1}, {12, 1, 12, 1}, {0, 0, 0, 1}, {2 * tune.SmallLen, tune.SmallLen, 2, 1}} {
		for j, s := range e.Buffers(k) {
			if len(s) != want[j] {
				t.Errorf("slot %d of tensor %d has %d numbers, want %d", j, k, len(s), want[j])
			}
			if first := []float32{0, 0, .5, 3}[j]; slices.ContainsFunc(s, func(x float32) bool { return x != first }) {
				t.Errorf("slot %d of tensor %d begins at %g, want %g", j, k, s, first)
			}
		}
	}
}

// TestBeginsAsParams has state that begins at the first step of its tensor, whenever that
// is, and not where the caller or an exported state says what it is.
func TestBeginsAsParams(t *testing.T) {
	own := []float32{9, 9}
	e := New([]Tensor{{Size: 2}, {Size: 2}, {Size: 2, State: [][]float32{own}}}, []Rule{scheduleFree(Options{})})
	has := func(want ...bool) {
		t.Helper()
		for k, w := range want {
			if _, ok := e.State(k, 0); ok != w {
				t.Errorf("state of tensor %d has begun: %v, want %v", k, ok, w)
			}
		}
	}
	p := [][]float32{{1, 2}, {3, 4}, {5, 6}}
	step := func(grads ...[]float32) {
		e.Place(p, grads)
		e.Begin(1, grads)
		e.Run(p, grads)
	}
	zero := []float32{0, 0}
	has(false, false, true)
	step(zero, nil, zero)
	has(true, false, true)
	p[1][0] = 7
	step(zero, zero, zero)
	has(true, true, true)
	for k, want := range []float32{1, 7, 9} {
		if z, _ := e.State(k, 0); z[0] != want {
			t.Errorf("z of tensor %d begins at %g, want %g", k, z[0], want)
		}
	}
	e.Load(0, 1, [][]float32{{8, 8}})
	e.Load(1, 0, [][]float32{nil})
	has(true, false, true)
	p[1][0] = 6
	step(zero, zero, zero)
	for k, want := range []float32{8, 6, 9} {
		if z, _ := e.State(k, 0); z[0] != want {
			t.Errorf("z of tensor %d is %g after Load, want %g", k, z[0], want)
		}
	}
	fresh := New([]Tensor{{Size: 2}}, []Rule{scheduleFree(Options{})})
	fresh.Load(0, 0, [][]float32{{8, 8}})
	if z, ok := fresh.State(0, 0); !ok || z[0] != 8 {
		t.Errorf("loaded state has begun: %v, with %g", ok, z)
	}
	if e.TensorSteps(0) != 2 || e.TensorSteps(1) != 1 || e.TensorSteps(2) != 3 {
		t.Errorf("steps are %d, %d and %d, want 2, 1 and 3", e.TensorSteps(0), e.TensorSteps(1), e.TensorSteps(2))
	}
}

// TestWays takes the same steps by Run, RunSmall and Parts.
func TestWays(t *testing.T) {
	const n = 1000
	var want []uint32
	for name, take := range map[string]func(r *run, g []float32){
		"Run": func(r *run, g []float32) { r.Run(r.params, [][]float32{g}) },
		"RunSmall": func(r *run, g []float32) {
			r.Place(r.params, [][]float32{g})
			r.RunSmall(r.params[0], g)
		},
		"Part": func(r *run, g []float32) {
			var w Worker
			for _, lo := range []int{600, 0} {
				hi := min(n, lo+600)
				r.Part(&w, 0, lo, r.params[0][lo:hi], g[lo:hi])
			}
			r.End()
		},
	} {
		r := newRun(proofs["Schedule-Free"], []Tensor{{Size: n}}, Options{LR: .1, WeightDecay: .1}, false)
		for step := range 20 {
			r.Begin(1, nil)
			take(r, r.gradients(step)[0])
		}
		if want == nil {
			want = r.all()
		}
		if !slices.Equal(r.all(), want) {
			t.Errorf("%s: other bits", name)
		}
	}
}

// TestFlushes lets state fade without gradients: that of elements is flushed after the last
// pass, and only there.
func TestFlushes(t *testing.T) {
	r := newRun(proofs["LARS"], []Tensor{{Size: 100}}, Options{LR: 1}, false)
	momentum, g := r.Buffers(0)[0], [][]float32{make([]float32, 100)}
	momentum[3], momentum[4], r.params[0][3] = 0x1p-96, 0x1p-80, 0
	var before float32
	for step := range FlushEvery {
		before = r.params[0][3]
		if step == FlushEvery-1 && momentum[3] == 0 {
			t.Error("the state is flushed too early")
		}
		r.Begin(1, nil)
		r.Run(r.params, g)
	}
	if r.params[0][3] == before {
		t.Error("the state is flushed before the last pass")
	}
	if momentum[3] != 0 || momentum[4] == 0 {
		t.Errorf("the state is %g and %g, want 0 and what it was", momentum[3], momentum[4])
	}
}

// TestPlain knows the rules of which a step can be taken in parts.
func TestPlain(t *testing.T) {
	for name, p := range proofs {
		e := New(nil, []Rule{p.rule(Options{})})
		if e.IsPlain(0) != (name == "Schedule-Free") {
			t.Errorf("%s: plain is %v", name, e.IsPlain(0))
		}
	}
	none := func(*StepInput) (c fallback.SGDScalars) { return c }
	for what, p := range map[string]Pass{
		"of other buffers than all": Elements(kernels.SGD, none, GradsName, ParamsName),
		"with sums":                 Summing(OverAll, func(kernels.Table, *kernels.List, *fallback.SGDScalars, *Sums) {}, none),
		"by rows":                   ByRows(NoSums, func(kernels.Table, *Matrix, *fallback.SGDScalars) {}, none),
	} {
		if New(nil, []Rule{{Plan: Plan{Passes: []Pass{p}}}}).IsPlain(0) {
			t.Errorf("a kernel %s is plain", what)
		}
	}
}

// TestUnknownBuffer has a plan whose pass takes what is not there.
func TestUnknownBuffer(t *testing.T) {
	defer func() {
		if s, _ := recover().(string); !strings.Contains(s, `"w"`) {
			t.Errorf("the panic is %q", s)
		}
	}()
	New(nil, []Rule{{Plan: Plan{Passes: []Pass{Elements(func(kernels.Table, *kernels.List, *int) {}, nil, "w")}}}})
}

// TestAllocs takes steps of several passes.
func TestAllocs(t *testing.T) {
	r := newRun(proofs["Adafactor"], tensorsOf(tune.ParallelLen), Options{LR: .1, L1: .1}, true)
	r.SetWorkers(2)
	grads := r.gradients(3)
	if n := testing.AllocsPerRun(3, func() {
		r.Begin(1, grads)
		r.Run(r.params, grads)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSetRule changes a rule between steps, whose tensors have scalars of their own.
func TestSetRule(t *testing.T) {
	var before, after []string
	e := New([]Tensor{{Size: 3}, {Size: 4}}, []Rule{counting(OverTensor, &before)})
	b := [][]float32{make([]float32, 3), make([]float32, 4)}
	e.Begin(1, nil)
	e.Run(b, b)
	e.SetLR(0, .5)
	if e.LR(0) != .5 {
		t.Errorf("the rate is %g, want 0.5", e.LR(0))
	}
	e.SetRule(0, counting(OverTensor, &after))
	e.Begin(1, nil)
	e.Run(b, b)
	if !slices.Equal(before, []string{"1 [0 3] 3", "1 [0 4] 4"}) || !slices.Equal(after, []string{"2 [0 3] 3", "2 [0 4] 4"}) {
		t.Errorf("the rules are given %q and %q", before, after)
	}
	if e.LR(0) != 0 {
		t.Errorf("the rate is %g, want the new rule's 0", e.LR(0))
	}
}

// TestGradients adds up and counts in gradients of all kinds of tensors.
func TestGradients(t *testing.T) {
	tensors := tensorsOf(tune.ParallelLen)
	rng := rand.New(rand.NewPCG(5, 6))
	var grads [][]float32
	want := 0.
	for _, x := range tensors {
		g := uniform(x.Size, rng)
		grads = append(grads, g)
		want += squares(doubles(g))
	}
	one := 0.
	for _, workers := range []int{1, 2, 7} {
		e := New(tensors, []Rule{adafactor(Options{}), scheduleFree(Options{})})
		e.SetWorkers(workers)
		sum := e.SumSquares(grads)
		if one == 0 {
			one = sum
		}
		if math.Abs(sum/want-1) > 1e-12 || sum != one {
			t.Errorf("the sum of squares is %g, want %g, and with one worker %g", sum, want, one)
		}
		kept := []float32{grads[4][17], grads[9][3], grads[11][5]}
		grads[4][17], grads[9][3], grads[11][5] = 0x1p70, 0x1p70, float32(math.NaN()) // of rules 0, 1 and 1
		if n, tensor := e.CountBeyond(grads, 1); n != 2 || tensor != 4 {
			t.Errorf("%d gradients are beyond the limits, the first in tensor %d, want 2 and 4", n, tensor)
		}
		grads[4][17] = kept[0]
		if n, tensor := e.CountBeyond(grads, 0x1p60); n != 2 || tensor != 9 {
			t.Errorf("%d scaled gradients are beyond the limits, the first in tensor %d, want 2 and 9", n, tensor)
		}
		grads[9][3], grads[11][5] = kept[1], kept[2]
	}
}
