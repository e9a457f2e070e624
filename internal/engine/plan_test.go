package engine

import (
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

// TestScratch has scratch beside state of the engine's own and of the caller's: the caller
// neither sees nor gives it.
func TestScratch(t *testing.T) {
	plan := Plan{State: []Slot{{Name: "v"}, {Name: "row", Extent: PerRow, Scratch: true}}}
	own := make([]float32, 12)
	e := New([]Tensor{{Size: 12, Columns: 3}, {Size: 12, Columns: 3, State: [][]float32{own}}}, []Rule{{Plan: plan}})
	for k := range 2 {
		if list := e.Buffers(k); len(list) != 1 || len(list[0]) != 12 {
			t.Errorf("tensor %d has the buffers %v, want one of 12", k, list)
		}
		if list := e.tensors[k].State; len(list) != 2 || len(list[1]) != 4 {
			t.Errorf("tensor %d has the state %v, want a row's 4 beside", k, list)
		}
	}
	if &e.Buffers(1)[0][0] != &own[0] {
		t.Error("the caller's state is not where it was")
	}
	if n := len(plan.Kept()); n != 1 {
		t.Errorf("%d slots are kept", n)
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

// TestWrongPlans have mistakes of their authors.
func TestWrongPlans(t *testing.T) {
	nothing := func(kernels.Table, *kernels.List, *int) {}
	for want, p := range map[string]Plan{
		`"w"`:      {Passes: []Pass{Elements(nothing, nil, "w")}},
		"ByColumn": {Passes: []Pass{Whole(ByColumn, func(kernels.Table, *Matrix, *int) {}, nil)}},
		`"z"`:      {State: []Slot{{Name: "z", Extent: PerRow, First: Params}}},
		`"y"`:      {State: []Slot{{Name: "x", Scratch: true}, {Name: "y"}}},
	} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, want) {
					t.Errorf("the panic is %q, want one about %s", s, want)
				}
			}()
			New(nil, []Rule{{Plan: p}})
		}()
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

// TestCautionIsPlain has no engine whose cautious steps would take more than one kernel.
func TestCautionIsPlain(t *testing.T) {
	for name, p := range proofs {
		func() {
			defer func() {
				s, _ := recover().(string)
				if plain := name == "Schedule-Free"; plain != (s == "") || !plain && !strings.Contains(s, "cautious") {
					t.Errorf("%s: the panic is %q", name, s)
				}
			}()
			New(nil, []Rule{p.rule(Options{CautiousDecay: true})})
		}()
	}
}
