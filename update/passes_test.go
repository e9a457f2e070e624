package update

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A fromParams is momentum that begins as the parameters, for what only Schedule-Free and
// its like have.
type fromParams struct{ Momentum }

func (fromParams) Name() string { return "from params" }

func (r fromParams) plan() engine.Plan {
	p := r.Momentum.plan()
	p.State[0].First = engine.Params
	return p
}

// A normalized is SGD whose gradients are divided by a running mean of the square of the
// norm over all tensors, for state of a tensor and sums over all.
type normalized struct{ SGD }

func (normalized) Name() string { return "normalized" }

func (r normalized) plan() engine.Plan {
	return engine.Plan{State: []engine.Slot{{Name: "norm", Extent: engine.PerTensor, First: engine.Constant(1)}}, Passes: []engine.Pass{
		engine.Summing(engine.OverAll, func(t kernels.Table, list *kernels.List, _ *struct{}, sums *engine.Sums) {
			kernels.SumSquares(t, list, &sums[0])
		}, func(*engine.StepInput) (none struct{}) { return none }, engine.GradsName),
		engine.Whole(engine.NoSums, func(_ kernels.Table, m *engine.Matrix, squares *float64) {
			m.State[0][0] += float32(.1 * (*squares - float64(m.State[0][0])))
		}, func(in *engine.StepInput) float64 { return in.Sums[0] }),
		engine.Elements(kernels.SGD, func(in *engine.StepInput) fallback.SGDScalars {
			return fallback.SGDScalars{Common: in.Common, Step: float32(in.LR) / in.PerTensor[0]}
		}, engine.ParamsName, engine.GradsName),
	}}
}

// passes has rules of several passes and of state that is not one number an element or
// begins as the parameters.
func passes(t *testing.T) (o *Optimizer, params, grads [][]float32) {
	return set(t, []int{100, 33, 1, 0, 6000, 5, tune.UnitLen + 1, 70, tune.ApartLen},
		rules["lamb"], fromParams{Momentum{Options: Options{LR: .1}, Momentum: .9}}, normalized{SGD{Options{LR: .1}}})
}

// TestPasses exports and imports state midway, where some tensors have yet to take their
// first step, with any number of workers.
func TestPasses(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		a, p, grads := passes(t)
		must(t, a.SetWorkers(workers))
		left := slices.Clone(grads)
		left[1], left[4], left[8] = nil, nil, nil
		must(t, a.StepSet(p, left))
		s := exported(a)
		if _, ok := s.Tensors[1].Buffers["momentum"]; ok {
			t.Error("what is to begin as the parameters has begun before its first step")
		}
		_, err := a.Buffer(1, "momentum")
		wantArg(t, err, "name", "momentum")
		if n := len(s.Tensors[2].Buffers["norm"]); n != 1 {
			t.Errorf("the state of a tensor has %d numbers, want 1", n)
		}
		b, q, _ := passes(t)
		must(t, b.SetWorkers(1))
		for k := range q {
			copy(q[k], p[k])
		}
		must(t, b.StepSet([][]float32{uniform(100, 9), q[1], q[2], q[3], q[4], q[5], q[6], q[7], q[8]}, grads)) // of another run
		must(t, b.Import(s))
		for k := range q {
			copy(q[k], p[k])
		}
		for _, g := range [][][]float32{grads, left, grads} {
			must(t, a.StepSet(p, g))
			must(t, b.StepSet(q, g))
			for k := range p {
				wantSame(t, fmt.Sprint(workers, " workers, imported"), b, a, q[k], p[k])
			}
		}
	}
}

// TestPassesRefuse has states that lack a slot, or have one of another name or length.
func TestPassesRefuse(t *testing.T) {
	o, p, grads := passes(t)
	must(t, o.StepSet(p, grads))
	before := fmt.Sprint(exported(o))
	for _, c := range []struct {
		arg, value string
		change     func(s *State)
	}{
		{"Tensors[0].Buffers", "[m]", func(s *State) { delete(s.Tensors[0].Buffers, "v") }},
		{"Tensors[1].Buffers", "[other]", func(s *State) { s.Tensors[1].Buffers = map[string][]float32{"other": nil} }},
		{`len(Tensors[2].Buffers["norm"])`, "2", func(s *State) { s.Tensors[2].Buffers["norm"] = []float32{1, 1} }},
	} {
		s := exported(o)
		c.change(&s)
		wantArg(t, o.Import(s), c.arg, c.value)
		if fmt.Sprint(exported(o)) != before {
			t.Errorf("%s: the state has changed", c.arg)
		}
	}
	wantArg(t, o.Begin(), "rule", "lamb")
}

// TestPassesAllocs takes steps of several passes, which allocate nothing.
func TestPassesAllocs(t *testing.T) {
	o, p, grads := passes(t)
	must(t, o.SetWorkers(2))
	if n := allocs.PerRun(3, func() { must(t, o.StepSet(p, grads)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
