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

// shardsOf are those of a step, of which tensors lack some or all.
func shardsOf(step, n int) [][][]float32 {
	shards := make([][][]float32, n)
	for j := range shards {
		shards[j] = gradsOf(3*step + 7*j)
		if step%8 == 5 {
			shards[j][1], shards[j][8] = nil, nil
		}
	}
	return shards
}

// summed adds shards up, each with its factor.
func summed(shards [][][]float32, factors []float32) [][]float32 {
	sums := make([][]float32, len(aroundSizes))
	for j, grads := range shards {
		for k, g := range grads {
			begins := sums[k] == nil && g != nil
			if begins {
				sums[k] = make([]float32, len(g))
			}
			for i, x := range g {
				if x = float32(x * factors[j]); begins { // never fused
					sums[k][i] = x
				} else {
					sums[k][i] += x
				}
			}
		}
	}
	return sums
}

// TestStepShards compares steps with steps of the sums.
func TestStepShards(t *testing.T) {
	tables := kernels.Available()
	for n, sample := range registry.Samples() {
		for k, with := range settings {
			if n%2 > 0 || (k > 0 || testing.Short()) && n%8 > 0 || testing.Short() && k != n/8%len(settings) {
				continue
			}
			o, params, _ := newSet(t, aroundSizes, sample.Rule)
			plain, want, _ := newSet(t, aroundSizes, sample.Rule)
			must(t, o.SetWorkers(1+n%3))
			must(t, o.SetTable(tables[n%len(tables)]))
			for _, o := range []*update.Optimizer{o, plain} {
				must(t, with.set(o))
				must(t, o.SetGradScale(.3))
				must(t, o.SetZeroGrads(n%2 == 0))
			}
			for step := 1; step <= aroundSteps; step++ {
				count := []int{1, 2, 3, 4, 5, 6, 7, 8, 11}[step%9]
				shards, same := shardsOf(step, count), shardsOf(step, count)
				sums := summed(shards, slices.Repeat([]float32{1}, count))
				must(t, o.StepShards(params, shards))
				must(t, plain.StepSet(want, sums))
				what := fmt.Sprintf("%s, %s, step %d", sample.Name, with.name, step)
				wantAlike(t, what, o, plain, params, want, sums, sums)
				if o.GradNorm() != plain.GradNorm() {
					t.Errorf("%s: the norm is %g, want %g", what, o.GradNorm(), plain.GradNorm())
				}
				for j := range shards {
					wantGrads(t, fmt.Sprintf("%s, shard %d", what, j), shards[j], same[j], n%2 == 0)
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

// wantGrads wants gradients as they were or zeros.
func wantGrads(t *testing.T, what string, grads, before [][]float32, zeros bool) {
	t.Helper()
	for k := range grads {
		if zeros {
			clear(before[k])
		}
		if !sameBits(grads[k], before[k]) {
			t.Errorf("%s: the gradient of tensor %d is another", what, k)
		}
	}
}

// TestStepShardsRefuses has shards of wrong lengths and places, and sums that are not finite.
func TestStepShardsRefuses(t *testing.T) {
	sizes := []int{5, 5000}
	o, params, grads := newSet(t, sizes, plainAdam)
	other := clones(grads)
	refused := func(what, arg string, shards ...[][]float32) {
		t.Helper()
		wantArg(t, what, o.StepShards(params, shards), arg)
		if o.Steps() != 0 {
			t.Errorf("%s: it was taken", what)
		}
	}
	refused("none", "len(shards)")
	refused("too few", "len(shards[1])", grads, other[:1])
	refused("too short", "len(shards[1][1]) (b)", grads, [][]float32{nil, other[1][1:]})
	refused("parameters", "shards[1] of tensor 0 (a)", grads, [][]float32{params[1][7:12], nil})
	first := [][]float32{params[1][7:12], grads[1]}
	refused("parameters in the first of a tensor", "shards[1] of tensor 0 (a)", [][]float32{nil, other[1]}, first)
	wantArg(t, "parameters, and no shards", o.StepSet(params, first), "grads of tensor 0 (a)")
	m, err := o.Buffer(1, "m")
	must(t, err)
	refused("state", "shards[1] of tensor 1 (b)", grads, [][]float32{nil, m})
	must(t, o.SetZeroGrads(true))
	refused("shared", "shards[0] of tensor 1 (b)", grads, [][]float32{nil, grads[1]})
	refused("shared in a shard", "shards[1] of tensor 0 (a)", [][]float32{nil, nil}, [][]float32{grads[1][:5], grads[1]})
	wantArg(t, "shared, and no shards", o.StepSet(params, [][]float32{grads[1][:5], grads[1]}), "grads of tensor 0 (a)")
	wantArg(t, "an accumulator's", update.NewAccumulator(o).StepSet(params, [][]float32{grads[0], params[1]}, 1), "grads of tensor 1 (b)")
	must(t, o.SetZeroGrads(false))

	must(t, o.SetPolicy(update.Skip))
	grads[1][3], other[1][3] = math.MaxFloat32, math.MaxFloat32
	must(t, o.StepShards(params, [][][]float32{grads, other}))
	if o.Skipped() != 1 || o.NonFinite() != 1 {
		t.Errorf("%d skipped, %d not finite, want 1 and 1", o.Skipped(), o.NonFinite())
	}
	grads[0][3], other[0][3] = math.MaxFloat32, math.MaxFloat32
	must(t, o.SetPolicy(update.Refuse))
	err = o.StepShards(params, [][][]float32{grads, other})
	if e, ok := err.(*update.NonFiniteError); !ok || e.Tensor != 0 || e.Count != 2 {
		t.Errorf("the error is %v", err)
	}
	other[0][3], other[1][3] = -math.MaxFloat32, -math.MaxFloat32
	must(t, o.StepShards(params, [][][]float32{grads, other}))

	must(t, o.SetMaxNorm(1))
	must(t, o.Observe(0, 0, grads[0]))
	wantArg(t, "observed", o.StepShards(params, [][][]float32{grads, other}), "shards")
	o.ForgetObserved()
	must(t, o.StepShards(params, [][][]float32{grads, other}))
	if o.Steps() != 2 {
		t.Errorf("%d steps, want 2", o.Steps())
	}
}

// TestStepShardsAllocates takes steps.
func TestStepShardsAllocates(t *testing.T) {
	for _, sizes := range [][]int{{70}, {70, 3*tune.UnitLen + 5, 4000, 70}} {
		o, params, grads := newSet(t, sizes, plainAdam)
		must(t, o.SetMaxNorm(1))
		must(t, o.SetZeroGrads(true))
		shards := [][][]float32{grads, clones(grads), clones(grads)}
		step := func() { must(t, o.StepShards(params, shards)) }
		for range 3 {
			step()
		}
		if n := allocs.PerRun(10, step); n != 0 {
			t.Errorf("%g allocations with sizes %v", n, sizes)
		}
	}
}

// TestAccumulator compares windows of any length and weights with steps of the means, whose
// sums the test adds up itself.
func TestAccumulator(t *testing.T) {
	for n, sample := range registry.Samples() {
		if n%4 > 0 {
			continue
		}
		o, params, _ := newSet(t, aroundSizes, sample.Rule)
		plain, want, _ := newSet(t, aroundSizes, sample.Rule)
		must(t, o.SetWorkers(1+n%3))
		must(t, o.SetGradScale(.5))
		must(t, o.SetMaxValue(.4))
		must(t, plain.SetMaxValue(.4))
		a := update.NewAccumulator(o)
		for step := 1; step <= aroundSteps; step++ {
			shards := shardsOf(step, 1+step%4)
			total, factors := 0., make([]float32, 4)
			for j := range shards {
				weight := float64(1 + step%3*j)
				total, factors[j] = total+weight, float32(weight)
				last := j == len(shards)-1
				if (step+j)%3 == 0 {
					var list []update.Typed
					if list, shards[j] = typedSet(shards[j], step+j); last {
						must(t, a.StepTyped(params, list, weight))
					} else {
						must(t, a.AddTyped(list, weight))
					}
				} else if last {
					must(t, a.StepSet(params, shards[j], weight))
				} else {
					must(t, a.Add(shards[j], weight))
				}
			}
			sums := summed(shards, factors)
			must(t, plain.SetGradScale(.5/total))
			must(t, plain.StepSet(want, sums))
			wantAlike(t, fmt.Sprintf("%s, step %d", sample.Name, step), o, plain, params, want, sums, sums)
			if o.GradScale() != .5 || a.Weight() != 0 {
				t.Errorf("a scale of %g and a weight of %g", o.GradScale(), a.Weight())
			}
			if t.Failed() {
				return
			}
		}
	}
}

// TestAccumulatorSteps has windows that are refused, skipped and given up, and a loss scale.
func TestAccumulatorSteps(t *testing.T) {
	o, p := newOne(t, 2, plainSGD), [][]float32{{0, 0}}
	a := update.NewAccumulator(o)
	must(t, a.Add([][]float32{{100, 100}}, 7))
	a.Reset()
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), 1e-60} {
		wantArg(t, "the weight", a.Add([][]float32{{1, 2}}, bad), "weight")
	}
	wantArg(t, "tensors", a.Add(nil, 1), "len(grads)")
	wantArg(t, "length", a.StepSet(p, [][]float32{{1}}, 1), "len(grads[0])")
	wantArg(t, "length of halves", a.StepTyped(p, update.TypedList([][]update.BF16{{1}}), 1), "len(grads[0])")
	wantArg(t, "tensors of halves", a.AddTyped(nil, 1), "len(grads)")
	must(t, a.Add([][]float32{{1, 2}}, 1))
	must(t, a.Add([][]float32{nil}, 1))
	must(t, o.SetPolicy(update.Refuse))
	if a.StepSet(p, [][]float32{{1, float32(math.NaN())}}, 1) == nil || a.Weight() != 2 || o.GradScale() != 1 {
		t.Errorf("a weight of %g and a scale of %g after a step that is to be refused", a.Weight(), o.GradScale())
	}
	must(t, a.StepSet(p, [][]float32{{5, 1}}, 2)) // (1 + 0 + 2·5) / 4, (2 + 0 + 2·1) / 4
	if p[0][0] != -.275 || p[0][1] != -.1 {
		t.Errorf("the parameters are %g", p[0])
	}
	must(t, o.SetPolicy(update.Skip))
	must(t, a.Add([][]float32{{float32(math.Inf(1)), 2}}, 1))
	must(t, a.StepSet(p, [][]float32{{1, 1}}, 1))
	if a.Weight() != 0 || o.Skipped() != 2 {
		t.Errorf("a weight of %g after %d steps that were skipped", a.Weight(), o.Skipped())
	}

	s, err := update.NewLossScaler(update.LossScaling{Scale: 8, Growth: 2, Backoff: .5, Interval: 1})
	must(t, err)
	p[0][0], p[0][1] = 0, 0
	must(t, a.Add([][]float32{{8, 16}}, 1))
	must(t, s.Take(o, func() error { return a.StepSet(p, [][]float32{{24, 0}}, 1) }))
	must(t, s.Update())
	if p[0][0] != -.2 || p[0][1] != -.1 || s.Scale() != 16 || o.GradScale() != 1 {
		t.Errorf("the parameters are %g, the scales %g and %g", p[0], s.Scale(), o.GradScale())
	}
	must(t, o.SetPolicy(update.Propagate))
	must(t, o.Begin())
	wantArg(t, "begun", a.Add([][]float32{{1, 1}}, 1), "step")
}

// TestAccumulatorAllocates has windows.
func TestAccumulatorAllocates(t *testing.T) {
	o, params, grads := newSet(t, []int{70, 3*tune.UnitLen + 5, 4000, 70}, plainAdam)
	a := update.NewAccumulator(o)
	list, _ := typedSet(grads, 0)
	window := func() {
		must(t, a.Add(grads, 1))
		must(t, a.AddTyped(list, 2))
		must(t, a.StepSet(params, grads, 1))
		must(t, a.AddTyped(list, 1))
		must(t, a.StepTyped(params, list, 1))
	}
	for range 3 {
		window()
	}
	if n := allocs.PerRun(10, window); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
