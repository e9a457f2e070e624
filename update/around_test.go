package update_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// A stage is something that a step does beside its rule: what asks for it, and the same by
// hand, as a pass of its own before or after each step. step counts from 1.
type stage struct {
	set    func(o *update.Optimizer) error
	before func(step int, params [][]float32)
	grads  func(params, grads [][]float32) // makes those of the step by hand
	late   bool                            // which are those that clipping leaves
	after  func(step int, params, grads [][]float32)
	beside map[string][][]float32 // what a buffer of each tensor has
}

// aroundSizes are tensors that share calls, that are cut into blocks and into units.
var aroundSizes = []int{3, 5000, 40, 0, 7, 4097, 2*tune.UnitLen + 5, 4096, 1}

// aroundSteps are enough for what is flushed.
const aroundSteps = 20

// gradients are those that gradsOf has made, by step: to draw numbers takes longer than most
// that is done with them.
var gradients = map[int][][]float32{}

// gradsOf are the gradients of a step: some that have ceased, some so small that the state
// would be flushed if they had, and in some steps tensors that have none.
func gradsOf(step int) [][]float32 {
	list := gradients[step]
	if list == nil {
		list = make([][]float32, len(aroundSizes))
		for k, n := range aroundSizes {
			if n > 0 && step > 3 && step%5 != 4 && (step*7+k*5)%9 == 0 {
				continue
			}
			if list[k] = uniform(n, uint64(100*step+k)); step > 10 {
				clear(list[k][:n/2])
			}
			for i := n / 2; i < n; i += 3 {
				list[k][i] = 0x1p-104 * (2 + list[k][i])
			}
		}
		gradients[step] = list
	}
	return clones(list)
}

func clones(list [][]float32) [][]float32 {
	list = slices.Clone(list)
	for k := range list {
		list[k] = slices.Clone(list[k])
	}
	return list
}

// settings are what a stage has to get along with.
var settings = []struct {
	name string
	set  func(o *update.Optimizer) error

	norms bool // it measures the gradients
}{
	{"alone", func(*update.Optimizer) error { return nil }, false},
	{"clipped", func(o *update.Optimizer) error { return o.SetMaxValue(.3) }, false},
	{"norm", func(o *update.Optimizer) error { return o.SetMaxNorm(.5) }, true},
	{"norms", func(o *update.Optimizer) error { return o.SetMaxTensorNorm(.5) }, true},
}

// agrees compares steps that have a stage with steps whose caller does the same, of every
// sample of the registry, in one call and in parts, with any number of workers and table.
func agrees(t *testing.T, stageOf func(n int) stage) {
	tables := kernels.Available()
	for n, sample := range registry.Samples() {
		for k, with := range settings {
			s := stageOf(n)
			if (k > 0 || s.late || testing.Short()) && n%4 > 0 { // what is late is no matter of the rule
				continue
			}
			if testing.Short() && k != n/4%len(settings) {
				continue
			}
			if s.grads != nil && (with.norms || s.late && k > 0) {
				continue // which are of the gradients before
			}
			o, params := newMatrices(t, sample.Rule)
			plain, want := newMatrices(t, sample.Rule)
			must(t, o.SetWorkers(1+n%3))
			must(t, o.SetTable(tables[n%len(tables)]))
			must(t, with.set(o))
			must(t, with.set(plain))
			must(t, s.set(o))
			ranges := newOne(t, 1, sample.Rule).Begin() == nil && k == 0
			for step := 1; step <= aroundSteps; step++ {
				grads := gradsOf(step)
				same := clones(grads)
				if s.before != nil {
					s.before(step, want)
				}
				if (step%5 == 4 || step == 1 && n%2 == 0) && ranges && !slices.ContainsFunc(grads, func(g []float32) bool { return g == nil }) {
					inRanges(t, o, params, grads)
				} else {
					must(t, o.StepSet(params, grads))
				}
				theirs := same
				if s.grads != nil {
					theirs = clones(same)
					s.grads(want, theirs)
				}
				must(t, plain.StepSet(want, theirs))
				s.after(step, want, same)
				what := fmt.Sprintf("%s, %s, step %d", sample.Name, with.name, step)
				wantAlike(t, what, o, plain, params, want, grads, same)
				for name, list := range s.beside {
					for k, want := range list {
						if x, err := o.Buffer(k, name); err == nil && !sameBits(x, want) || err != nil && want != nil {
							t.Errorf("%s: %s of tensor %d differs: %v", what, name, k, err)
						}
					}
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

// aroundColumns makes matrices of some: of short rows, of rows longer than a block, of one
// row, and of rows that would cross units.
var aroundColumns = []int{0, 50, 8, 0, 7, 241, 2521, 64, 1}

// rowOf is the length of a tensor's rows.
func rowOf(k int) int {
	if aroundColumns[k] > 0 {
		return aroundColumns[k]
	}
	return max(1, aroundSizes[k])
}

// newMatrices makes an optimizer of the tensors.
func newMatrices(t *testing.T, r update.Rule) (o *update.Optimizer, params [][]float32) {
	var tensors []update.Tensor
	for k, n := range aroundSizes {
		tensors = append(tensors, update.Tensor{Name: name(k), Size: n, Columns: aroundColumns[k]})
		params = append(params, uniform(n, uint64(2*k+1)))
	}
	o, err := update.NewSet(tensors, r)
	must(t, err)
	return o, params
}

// inRanges takes a step in ranges that begin and end at any rows.
func inRanges(t *testing.T, o *update.Optimizer, params, grads [][]float32) {
	must(t, o.Begin())
	for k, p := range params {
		for lo := 0; lo < len(p); {
			hi := min(len(p), lo+(1+(37+lo/2*3)/rowOf(k))*rowOf(k))
			must(t, o.Apply(k, lo, p[lo:hi], grads[k][lo:hi]))
			lo = hi
		}
	}
	must(t, o.End())
}

// wantAlike compares parameters, gradients and what state the plain optimizer has.
func wantAlike(t *testing.T, what string, o, plain *update.Optimizer, params, want, grads, same [][]float32) {
	t.Helper()
	if o.Steps() != plain.Steps() {
		t.Errorf("%s: %d steps, want %d", what, o.Steps(), plain.Steps())
	}
	for k := range params {
		if !sameBits(params[k], want[k]) {
			t.Errorf("%s: the parameters of tensor %d differ", what, k)
		}
		if !sameBits(grads[k], same[k]) {
			t.Errorf("%s: the gradients of tensor %d differ", what, k)
		}
		for _, name := range slotNames(plain, k) {
			x, err := o.Buffer(k, name)
			y, other := plain.Buffer(k, name)
			if (err == nil) != (other == nil) || !sameBits(x, y) {
				t.Errorf("%s: %s of tensor %d differs", what, name, k)
			}
		}
	}
}

// allocatesNothing takes steps of optimizers that have a stage.
func (s stage) allocatesNothing(t *testing.T) {
	for _, sizes := range [][]int{{70}, {5000}, {70, 3*tune.UnitLen + 5, 4000, 70}} {
		o, params, grads := newSet(t, sizes, plainAdam)
		must(t, s.set(o))
		other := clones(grads)
		step := func() {
			must(t, o.StepSet(params, grads))
			grads, other = other, grads // elsewhere, as in frameworks
		}
		for range 3 {
			step()
		}
		if n := allocs.PerRun(10, step); n != 0 {
			t.Errorf("%g allocations with sizes %v", n, sizes)
		}
	}
}

var zeroed = stage{
	set: func(o *update.Optimizer) error { return o.SetZeroGrads(true) },
	after: func(_ int, _, grads [][]float32) {
		for _, g := range grads {
			clear(g)
		}
	},
}

func TestZeroGrads(t *testing.T)          { agrees(t, func(int) stage { return zeroed }) }
func TestZeroGradsAllocates(t *testing.T) { zeroed.allocatesNothing(t) }

// TestZeroGradsOfSteps has steps that are skipped, refused and wrong, and the only tensor.
func TestZeroGradsOfSteps(t *testing.T) {
	o, params, grads := newSet(t, []int{5, 5000}, plainAdam)
	must(t, zeroed.set(o))
	if !o.ZeroGrads() {
		t.Error("it is not set")
	}
	isZero := func(what string, want bool) {
		t.Helper()
		for k := range grads {
			if got := sameBits(grads[k], make([]float32, len(grads[k]))); got != want {
				t.Errorf("%s: the gradients of tensor %d are zeros: %v, want %v", what, k, got, want)
			}
		}
	}
	fill := func(x float32) {
		for k := range grads {
			copy(grads[k], uniform(len(grads[k]), 7))
			grads[k][1] = x
		}
	}
	fill(float32(math.Inf(1)))
	must(t, o.SetPolicy(update.Refuse))
	if o.StepSet(params, grads) == nil {
		t.Error("what is infinite is not refused")
	}
	isZero("refused", false)
	must(t, o.SetPolicy(update.Skip))
	must(t, o.StepSet(params, grads))
	isZero("skipped", true)
	if o.Skipped() != 2 || o.Steps() != 0 {
		t.Errorf("%d skipped, %d steps", o.Skipped(), o.Steps())
	}
	fill(1)
	wantArg(t, "lengths", o.StepSet(params, [][]float32{grads[0], grads[1][1:]}), "len(grads[1]) (b)")
	wantArg(t, "shared", o.StepSet(params, [][]float32{grads[1][:5], grads[1]}), "grads of tensor 0 (a)")
	isZero("wrong", false)
	must(t, o.StepSet(params, grads))
	isZero("right", true)

	must(t, o.SetZeroGrads(false))
	fill(1)
	shared := [][]float32{grads[1][:5], grads[1]}
	must(t, o.StepSet(params, shared))
	isZero("no more", false)
	must(t, o.SetZeroGrads(true))
	wantArg(t, "shared as in the step before", o.StepSet(params, shared), "grads of tensor 0 (a)")

	one, p, g := newOne(t, 3, plainSGD), []float32{1, 2, 3}, []float32{1, 1, 1}
	must(t, one.SetZeroGrads(true))
	for range 3 {
		g[0], g[1], g[2] = 1, 1, 1
		must(t, one.Step(p, g))
		if !slices.Equal(g, []float32{0, 0, 0}) {
			t.Errorf("the only gradient is %g", g)
		}
	}
	must(t, one.Begin())
	wantArg(t, "begun", one.SetZeroGrads(false), "step")
}
