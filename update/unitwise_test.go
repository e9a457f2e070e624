package update_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// unitwise centers and clips by hand.
func unitwise(clipping, eps, scale float64, centers bool) stage {
	root := func(x []float32) float64 {
		var lanes [fallback.Lanes]float64
		fallback.SumSquares(x, &lanes)
		return math.Sqrt(fallback.Total(&lanes))
	}
	return stage{
		set: func(o *update.Optimizer) error {
			if err := o.SetCentralize(centers); err != nil {
				return err
			}
			return o.SetAdaptiveClip(clipping, eps)
		},
		grads: func(params, grads [][]float32) {
			for k, g := range grads {
				for n := rowOf(k); len(g) > 0; g = g[n:] {
					row, p := g[:n], params[k][len(params[k])-len(g):][:n]
					if centers && aroundColumns[k] > 0 {
						var lanes [fallback.Lanes]float64
						fallback.Sum(row, &lanes)
						mean := float32(fallback.Total(&lanes) / float64(n))
						for i := range row {
							row[i] -= mean
						}
					}
					if math.IsInf(clipping, 1) {
						continue
					}
					factor, most := scale, clipping*max(root(p), eps)
					if norm := root(row) * scale; !(norm < most) {
						factor *= most / max(norm, 1e-6)
					}
					for i := range row {
						row[i] *= float32(factor)
					}
				}
			}
		},
		after: func(int, [][]float32, [][]float32) {},
	}
}

func TestAdaptiveClip(t *testing.T) {
	agrees(t, func(n int) stage { return unitwise([]float64{.3, 1.1}[n%2], .01, 1, n%3 == 1) })
}

func TestCentralize(t *testing.T) {
	agrees(t, func(int) stage { return unitwise(math.Inf(1), 0, 1, true) })
}

// TestUnitwiseWith has a scale, shards, a norm of all and of each tensor, and all at once.
func TestUnitwiseWith(t *testing.T) {
	o, params := newMatrices(t, plainAdam)
	plain, want := newMatrices(t, plainAdam)
	must(t, o.SetWorkers(2))
	const scale = .7
	s := unitwise(.2, .01, scale, true)
	must(t, s.set(o))
	must(t, o.SetGradScale(scale))
	must(t, o.SetZeroGrads(true))
	for step := 1; step <= aroundSteps; step++ {
		shards := shardsOf(step, 3)
		sums := summed(shards, []float32{1, 1, 1})
		s.grads(want, sums)
		must(t, o.StepShards(params, shards))
		must(t, plain.StepSet(want, sums))
		wantAlike(t, fmt.Sprintf("step %d", step), o, plain, params, want, sums, sums)
		if t.Failed() {
			return
		}
	}
}

// TestAdaptiveClipNorms has the norm of a row be that of what a norm of its tensor, or of all,
// has clipped.
func TestAdaptiveClipNorms(t *testing.T) {
	for name, set := range map[string]func(o *update.Optimizer) error{
		"all":    func(o *update.Optimizer) error { return o.SetMaxNorm(.5) },
		"tensor": func(o *update.Optimizer) error { return o.SetMaxTensorNorm(.5) },
	} {
		o, err := update.NewSet([]update.Tensor{{Size: 4, Columns: 2}}, update.SGD{Options: update.Options{LR: 1}})
		must(t, err)
		must(t, set(o))
		must(t, o.SetAdaptiveClip(.16, 1))
		p := [][]float32{{2, 0, 0, 0}}
		must(t, o.StepSet(p, [][]float32{{3, 0, 0, 4}})) // .3 and .4, of which .3 and .16 are left
		if d := math.Abs(float64(p[0][0])-1.7) + math.Abs(float64(p[0][3])+.16); d > 1e-6 {
			t.Errorf("%s: the parameters are %g", name, p[0])
		}
	}
}

func TestUnitwiseAllocates(t *testing.T) {
	unitwise(.1, .01, 1, true).allocatesNothing(t)
	o, err := update.NewSet([]update.Tensor{{Size: 3 * tune.UnitLen, Columns: 3 * tune.UnitLen / 2}, {Size: 60, Columns: 6}}, plainAdam)
	must(t, err)
	must(t, o.SetCentralize(true))
	must(t, o.SetAdaptiveClip(.1, .01))
	params, grads := [][]float32{uniform(3*tune.UnitLen, 1), uniform(60, 2)}, [][]float32{uniform(3*tune.UnitLen, 3), uniform(60, 4)}
	step := func() { must(t, o.StepSet(params, grads)) }
	step()
	if n := allocs.PerRun(5, step); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// TestUnitwiseMidway changes settings between steps, whose units of work are then others.
func TestUnitwiseMidway(t *testing.T) {
	o, params := newMatrices(t, plainAdam)
	plain, want := newMatrices(t, plainAdam)
	must(t, o.SetMaxNorm(.5))
	must(t, plain.SetMaxNorm(.5))
	for step := 1; step <= 6; step++ {
		grads := gradsOf(step)
		if step == 3 {
			must(t, o.Observe(1, 0, uniform(5000, 1))) // is forgotten
		}
		must(t, o.SetAdaptiveClip(1e9*float64(1+step%2), 0))
		must(t, o.SetCentralize(false))
		if step%3 == 0 {
			must(t, o.SetAdaptiveClip(math.Inf(1), 0))
		}
		must(t, o.StepSet(params, grads))
		must(t, plain.StepSet(want, grads))
		if math.Abs(o.GradNorm()-plain.GradNorm()) > 1e-12 || step%3 == 0 && o.GradNorm() != plain.GradNorm() {
			t.Errorf("step %d: a norm of %g, want %g", step, o.GradNorm(), plain.GradNorm())
		}
		for k := range params {
			for i, x := range params[k] {
				if math.Abs(float64(x-want[k][i])) > 1e-5 {
					t.Fatalf("step %d, tensor %d: %g, want %g", step, k, x, want[k][i])
				}
			}
		}
	}
}

// TestUnitwiseRefuses has numbers that cannot be, and ranges within rows.
func TestUnitwiseRefuses(t *testing.T) {
	for _, columns := range []int{-1, 3, 5} {
		_, err := update.NewSet([]update.Tensor{{Size: 4, Columns: columns}}, plainSGD)
		wantArg(t, "columns", err, "tensors[0].Columns")
	}
	o, err := update.NewSet([]update.Tensor{{Size: 6, Columns: 3}, {Size: 5}, {}}, plainSGD)
	must(t, err)
	for _, bad := range []float64{0, -1, math.NaN()} {
		wantArg(t, "clipping", o.SetAdaptiveClip(bad, 1e-3), "clipping")
	}
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		wantArg(t, "eps", o.SetAdaptiveClip(1, bad), "eps")
	}
	must(t, o.SetAdaptiveClip(.1, 1e-3))
	if clipping, eps := o.AdaptiveClip(); clipping != .1 || eps != 1e-3 || o.Centralize() {
		t.Errorf("%g, %g and %v are set", clipping, eps, o.Centralize())
	}
	p, g := uniform(6, 1), uniform(6, 2)
	must(t, o.Begin())
	wantArg(t, "begun", o.SetAdaptiveClip(.1, 1e-3), "step")
	wantArg(t, "begun", o.SetCentralize(true), "step")
	wantArg(t, "a part of a row", o.Apply(0, 0, p[:2], g[:2]), "offset")
	wantArg(t, "from within a row", o.Apply(0, 2, p[:3], g[:3]), "offset")
	wantArg(t, "a part of a vector", o.Apply(1, 0, p[:2], g[:2]), "offset")
	must(t, o.Apply(0, 3, p[3:], g[3:]))
	must(t, o.Apply(0, 0, p[:3], g[:3]))
	must(t, o.Apply(1, 0, slices.Clone(p[:5]), g[:5]))
	must(t, o.End())
	must(t, o.SetAdaptiveClip(math.Inf(1), 0))
	must(t, o.SetCentralize(true))
	must(t, o.Begin())
	wantArg(t, "a part of a row", o.Apply(0, 0, p[:2], g[:2]), "offset")
	must(t, o.Apply(1, 0, slices.Clone(p[:2]), g[:2])) // which is not centered
}

// TestAdaptiveClipZeros has no parameters to measure by, and then no gradient either.
func TestAdaptiveClipZeros(t *testing.T) {
	o, p := newOne(t, 2, plainSGD), []float32{0, 0}
	must(t, o.SetAdaptiveClip(.1, 0))
	for _, g := range [][]float32{{3, 4}, {0, 0}} {
		must(t, o.Step(p, g))
		if !slices.Equal(p, []float32{0, 0}) {
			t.Errorf("after %g the parameters are %g", g, p)
		}
	}
}

// TestAdaptiveClipPolicies has what is too large before it is clipped but not after, and what
// is not finite.
func TestAdaptiveClipPolicies(t *testing.T) {
	o, params, grads := newSet(t, []int{5, 5000}, plainAdam)
	must(t, o.SetPolicy(update.Skip))
	must(t, o.SetAdaptiveClip(.1, 1e-3))
	grads[1][3] = 1e30 // whose square is no float32
	must(t, o.StepSet(params, grads))
	if o.Skipped() != 0 {
		t.Error("what is clipped to a finite square was skipped")
	}
	grads[1][3] = float32(math.Inf(1))
	must(t, o.StepSet(params, grads))
	if o.Skipped() != 1 {
		t.Error("what is infinite was not skipped")
	}
}
