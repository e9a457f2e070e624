package registry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

func TestWorkers(t *testing.T) {
	const before, steps = 9, 2 // the first ones of some rules move nothing
	n := 1363148               // 1.3 Mi and some
	if testing.Short() {
		n = tune.ApartLen + 77
	}
	start, g := uniform(n, 1), uniform(n, 2)
	eachSample(t, func(t *testing.T, r update.Rule) {
		var one *update.Optimizer
		var want []float32
		for _, workers := range []int{1, 2, 3, 7} {
			o, p := mustNew(t, n, r), slices.Clone(start)
			must(t, o.SetWorkers(workers))
			must(t, o.SetSteps(before))
			for range steps {
				must(t, o.Step(p, g))
			}
			if workers == 1 {
				one, want = o, p
			}
			wantSame(t, fmt.Sprint(workers, " workers"), o, one, p, want)
		}
		if sameBits(want, start) {
			t.Error("the steps did nothing")
		}
	})
}

// TestApply carries out steps in random parts, several goroutines at a time.
func TestApply(t *testing.T) {
	const n = 9001
	rng := rand.New(rand.NewPCG(3, 0))
	eachSample(t, func(t *testing.T, r update.Rule) {
		if wholeTensor(t, r) {
			wantArg(t, mustNew(t, n, r).Begin(), "rule", r.Name())
			return
		}
		whole, parts := mustNew(t, n, r), mustNew(t, n, r)
		p, g := uniform(n, 1), uniform(n, 2)
		q := slices.Clone(p)
		for range 4 {
			must(t, whole.Step(p, g))
			must(t, parts.Begin())
			var running sync.WaitGroup
			for next := 0; next < n; {
				lo, hi := next, min(n, next+rng.IntN(rng.IntN(5000)+1)) // also none
				running.Go(func() {
					if err := parts.Apply(0, lo, q[lo:hi], g[lo:hi]); err != nil {
						t.Error(err)
					}
				})
				next = hi
			}
			running.Wait()
			must(t, parts.End())
		}
		wantSame(t, "parts", parts, whole, q, p)
	})
}

// TestStages compares lengths around those of blocks with optimizers of one
// element each.
func TestStages(t *testing.T) {
	lengths := []int{1, tune.BlockLen - 1, tune.BlockLen, tune.BlockLen + 1, 2*tune.BlockLen + 1}
	if testing.Short() {
		lengths = []int{1, tune.BlockLen + 1}
	}
	eachSample(t, func(t *testing.T, r update.Rule) {
		if wholeTensor(t, r) {
			t.Skip("an element's step depends on all of its tensor")
		}
		for _, n := range lengths {
			o, start, g := mustNew(t, n, r), uniform(n, 1), uniform(n, 2)
			p := slices.Clone(start)
			for range 3 {
				must(t, o.Step(p, g))
			}
			for i := range n {
				one, q := mustNew(t, 1, r), start[i:i+1]
				for range 3 {
					must(t, one.Step(q, g[i:i+1]))
				}
				for _, name := range slotNames(o, 0) {
					if !sameBits(buffer(o, 0, name)[i:i+1], buffer(one, 0, name)) {
						t.Fatalf("element %d of %d: %s differs", i, n, name)
					}
				}
			}
			if !sameBits(p, start) {
				t.Errorf("%d parameters differ from those taken one at a time", n)
			}
		}
	})
}

// TestSet has many tensors whose rules are the samples in turn, each compared with one
// alone.
func TestSet(t *testing.T) {
	sizes := []int{0, 1, 0, tune.UnitLen - 1, 1, tune.UnitLen, 1, tune.UnitLen + 1, 5, 0, 2*tune.UnitLen - 1, 2 * tune.UnitLen, 2*tune.UnitLen + 1,
		3000, 1, 2, 3, tune.UnitLen / 2, tune.UnitLen/2 + 1, 0}
	if !testing.Short() {
		sizes = append(sizes, tune.ApartLen) // so that workers are at work
	}
	var rules []update.Rule
	for _, s := range Samples() {
		if !Of(s.Rule).Shares {
			rules = append(rules, s.Rule)
		}
	}
	for part := range slices.Chunk(rules, 7) {
		o, params, grads := set(t, sizes, part...)
		must(t, o.SetWorkers(3))
		total := 0
		for _, n := range sizes {
			total += n
		}
		if o.Len() != total {
			t.Errorf("Len is %d, want %d", o.Len(), total)
		}
		for range 2 {
			must(t, o.StepSet(params, grads))
		}
		for k, n := range sizes {
			alone, p := mustNew(t, n, part[k%len(part)]), uniform(n, uint64(2*k+1))
			for range 2 {
				must(t, alone.Step(p, grads[k]))
			}
			if !sameBits(params[k], p) {
				t.Errorf("tensor %d of %d elements differs from one alone", k, n)
			}
			for _, name := range slotNames(alone, 0) {
				if !sameBits(buffer(o, k, name), buffer(alone, 0, name)) {
					t.Errorf("%s of tensor %d differs from one alone", name, k)
				}
			}
		}
	}
}

// TestResume exports the state midway and goes on with it elsewhere.
func TestResume(t *testing.T) {
	const n = 100
	eachSample(t, func(t *testing.T, r update.Rule) {
		o, p, g := mustNew(t, n, r), uniform(n, 1), uniform(n, 2)
		for range 17 {
			must(t, o.Step(p, g))
		}
		state, err := o.Export()
		must(t, err)
		next, q := mustNew(t, n, r), slices.Clone(p)
		must(t, next.Import(state))
		for range 17 {
			must(t, o.Step(p, g))
			must(t, next.Step(q, g))
		}
		wantSame(t, "resumed", next, o, q, p)
	})
}

// TestAllocs includes steps after a collection, which empties a sync.Pool, and
// steps whose buffers are not those of the last step.
func TestAllocs(t *testing.T) {
	runs := 10
	if emulated {
		runs = 3
	}
	eachSample(t, func(t *testing.T, r update.Rule) {
		small, p, g := set(t, []int{5000}, r)
		large, lp, lg := set(t, []int{tune.ApartLen}, r)
		many, mp, mg := set(t, slices.Repeat([]int{7, 6000, 0, 3000}, 25), r, Get("sgd"))
		big, bp, bg := set(t, slices.Repeat([]int{tune.ApartLen / 100, tune.ApartLen/100 + 1}, 50), r)
		must(t, large.SetWorkers(2))
		must(t, big.SetWorkers(2))
		q := slices.Clone(p[0])
		steps := map[string]func(){
			"Step":           func() { must(t, small.Step(p[0], g[0])) },
			"Step elsewhere": func() { must(t, small.Step(p[0], g[0])); must(t, small.Step(q, g[0])) },
			"StepSet":        func() { must(t, many.StepSet(mp, mg)) },
			"StepSet elsewhere": func() {
				mp[0], mp[2*4] = mp[2*4], mp[0] // two of one size
				must(t, many.StepSet(mp, mg))
			},
			"Begin and Apply": func() {
				must(t, small.Begin())
				must(t, small.Apply(0, 1, p[0][1:], g[0][1:]))
				must(t, small.Apply(0, 0, p[0][:1], g[0][:1]))
				must(t, small.End())
			},
			"Step, workers":    func() { must(t, large.Step(lp[0], lg[0])) },
			"StepSet, workers": func() { must(t, big.StepSet(bp, bg)) },
		}
		if wholeTensor(t, r) {
			delete(steps, "Begin and Apply")
		}
		for what, step := range steps {
			if n := allocs.PerRun(runs, step); n != 0 {
				t.Errorf("%s: %v allocations", what, n)
			}
		}
		collect := func() { runtime.GC(); runtime.GC() }
		alone := allocs.PerRun(3, collect)
		if n := allocs.PerRun(3, func() { collect(); must(t, small.Step(p[0], g[0])) }); n > alone {
			t.Errorf("Step after a collection: %v allocations", n-alone)
		}
		must(t, small.SetPolicy(update.Refuse))
		if n := allocs.PerRun(runs, func() { must(t, small.Step(p[0], g[0])) }); n != 0 {
			t.Errorf("Step with a policy: %v allocations", n)
		}
	})
}

// TestNaNStays has one NaN among the gradients, which no other element sees.
func TestNaNStays(t *testing.T) {
	const n, at = 100, 37
	eachSample(t, func(t *testing.T, r update.Rule) {
		if wholeTensor(t, r) {
			t.Skip("an element's step depends on all of its tensor")
		}
		o, clean := mustNew(t, n, r), mustNew(t, n, r)
		p, g := uniform(n, 1), uniform(n, 2)
		q, h := slices.Clone(p), slices.Clone(g)
		g[at] = float32(nan)
		for range 3 {
			must(t, o.Step(p, g))
			must(t, clean.Step(q, h))
		}
		if p[at] == p[at] {
			t.Errorf("the NaN has become %g", p[at])
		}
		p[at] = q[at]
		for _, name := range slotNames(o, 0) {
			buffer(o, 0, name)[at] = buffer(clean, 0, name)[at]
		}
		wantSame(t, "other elements", o, clean, p, q)
	})
}

// TestGradScale has powers of two, for which the order of factors is nothing.
func TestGradScale(t *testing.T) {
	const n = 3000
	eachSample(t, func(t *testing.T, r update.Rule) {
		o, scaled := mustNew(t, n, r), mustNew(t, n, r)
		p, g := uniform(n, 1), uniform(n, 2)
		q, h := slices.Clone(p), slices.Clone(g)
		for i := range h {
			h[i] *= 1024
		}
		must(t, scaled.SetGradScale(1./1024))
		for range 3 {
			must(t, o.Step(p, g))
			must(t, scaled.Step(q, h))
		}
		wantSame(t, "scaled", scaled, o, q, p)
	})
}

// TestMaximize climbs along the gradient and descends along its negative.
func TestMaximize(t *testing.T) {
	const n = 300
	eachSample(t, func(t *testing.T, r update.Rule) {
		up, down := mustNew(t, n, With(r, func(o *update.Options) { o.Maximize = true })), mustNew(t, n, r)
		p, g := uniform(n, 1), uniform(n, 2)
		q, h := slices.Clone(p), slices.Clone(g)
		for i := range h {
			h[i] = -h[i]
		}
		for range 5 {
			must(t, up.Step(p, g))
			must(t, down.Step(q, h))
		}
		wantSame(t, "climbs", up, down, p, q)
	})
}

// TestJudgesScaled has gradients that are nothing, or subnormal, before they are scaled.
func TestJudgesScaled(t *testing.T) {
	eachSample(t, func(t *testing.T, r update.Rule) {
		for g, scale := range map[float32]float64{1e-30: 1e30, 1e-39: 1e38, 2e-39: 1e30} {
			small, plain := mustNew(t, 1, r), mustNew(t, 1, r)
			must(t, small.SetGradScale(scale))
			p, q := []float32{1}, []float32{1}
			for range 20 {
				must(t, small.Step(p, []float32{g}))
				must(t, plain.Step(q, []float32{float32(float64(g) * scale)}))
			}
			if math.Abs(float64(p[0]-q[0])) > 1e-5*math.Abs(float64(q[0]))+1e-6 {
				t.Errorf("gradients of %g scaled by %g lead to %g, want %g", g, scale, p[0], q[0])
			}
		}
	})
}

// TestLastStep takes the last step that can be counted, in which parameters stay finite.
func TestLastStep(t *testing.T) {
	const n = 12
	for _, e := range All() {
		var rules []update.Rule
		for _, s := range slices.Concat(e.Samples, e.Factored) {
			rules = append(rules, s.Rule)
		}
		for _, p := range e.Presets {
			rules = append(rules, With(p.Rule, func(o *update.Options) { o.LR = max(o.LR, 1e-3) }))
		}
		for _, r := range rules {
			o, err := update.NewSet([]update.Tensor{{Size: n, Columns: 4}}, r)
			must(t, err)
			p, g := uniform(n, 1), uniform(n, 2)
			must(t, o.Step(p, g))
			must(t, o.SetSteps(math.MaxInt64-2))
			must(t, o.Step(p, g))
			if slices.ContainsFunc(p, func(x float32) bool { return !(math.Abs(float64(x)) <= math.MaxFloat32) }) {
				t.Errorf("%s: %+v leaves %g", e.Name, r, p)
			}
			if err := o.Step(p, g); err == nil {
				t.Errorf("%s: a step after the last one", e.Name)
			}
		}
	}
}
