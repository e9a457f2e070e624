package update_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// split makes halves of parameters.
func split(t testing.TB, params [][]float32) (uppers [][]update.BF16, rests [][]int16) {
	t.Helper()
	for _, p := range params {
		h, r := make([]update.BF16, len(p)), make([]int16, len(p))
		must(t, update.SplitParams(h, r, p))
		uppers, rests = append(uppers, h), append(rests, r)
	}
	return uppers, rests
}

func joined(t testing.TB, uppers [][]update.BF16, rests [][]int16) (params [][]float32) {
	t.Helper()
	for k, h := range uppers {
		p := make([]float32, len(h))
		must(t, update.JoinParams(p, h, rests[k]))
		params = append(params, p)
	}
	return params
}

// isPlain reports whether a rule is one that StepSplit takes.
func isPlain(rule update.Rule) bool {
	o, err := update.New(4, rule)
	if err != nil || o.Begin() != nil {
		return false
	}
	return true
}

// TestStepSplit compares steps on halves of parameters with steps on float32, for every sample
// that can take them.
func TestStepSplit(t *testing.T) {
	count := 0
	for n, sample := range registry.Samples() {
		if !isPlain(sample.Rule) || testing.Short() && n%3 > 0 {
			continue
		}
		count++
		with := settings[n%len(settings)]
		splitSteps(t, n, sample.Name+", "+with.name, sample.Rule, func(o *update.Optimizer) error { return errors.Join(with.set(o), beside(n, o)) })
		if t.Failed() {
			return
		}
	}
	if count < 5 {
		t.Errorf("%d rules take halves", count)
	}
}

// TestSplitStages has the stages before a kernel and caution about decay.
func TestSplitStages(t *testing.T) {
	still, penal := plainAdam, plainAdam
	still.CautiousDecay, still.WeightDecay = true, .1
	penal.L1, penal.L2 = .01, .1
	for n, stage := range []func(o *update.Optimizer) error{
		func(o *update.Optimizer) error { return o.SetAdaptiveClip(.05, 1e-3) },
		func(o *update.Optimizer) error { return o.SetCentralize(true) },
		func(o *update.Optimizer) error { return o.SetNoise(update.Noise{Eta: .01, Gamma: .55, Seed: 7}) },
		func(o *update.Optimizer) error {
			return o.SetAverage(update.Averaging{Every: 2, FromStart: true, Decay: .75})
		},
	} {
		for k, rule := range []update.Rule{plainAdam, still, penal} {
			splitSteps(t, n+k, fmt.Sprintf("stage %d, rule %d", n, k), rule, stage)
		}
	}
}

// splitSteps takes steps of tensors of all kinds with a rule.
func splitSteps(t *testing.T, n int, name string, rule update.Rule, set func(o *update.Optimizer) error) {
	t.Helper()
	tables := kernels.Available()
	newOne := func() (*update.Optimizer, [][]float32) {
		var tensors []update.Tensor
		var params [][]float32
		for k, size := range aroundSizes {
			x := update.Tensor{Size: size}
			if size%5 == 0 {
				x.Columns = size / 5
			}
			tensors, params = append(tensors, x), append(params, uniform(size, uint64(2*k+1)))
		}
		o, err := update.NewSet(tensors, rule)
		must(t, err)
		must(t, o.SetGradScale(.3))
		must(t, o.SetPolicy(update.Skip))
		must(t, o.SetZeroGrads(n%3 == 0))
		must(t, set(o))
		return o, params
	}
	o, params := newOne()
	plain, want := newOne()
	must(t, o.SetWorkers([]int{1, 2, 7}[n%3]))
	must(t, o.SetTable(tables[n%len(tables)]))
	uppers, rests := split(t, params)
	const skipped = 9
	for step := 1; step <= aroundSteps && !t.Failed(); step++ {
		what := fmt.Sprintf("%s, step %d", name, step)
		grads := gradsOf(step)
		if step == skipped {
			grads[6] = slices.Repeat([]float32{float32(math.NaN())}, aroundSizes[6])
		}
		list, wide := typedSet(grads, n+step)
		must(t, o.StepSplit(uppers, rests, list))
		must(t, plain.StepSet(want, wide))
		wantAlike(t, what, o, plain, joined(t, uppers, rests), want, none(wide), none(wide))
		if o.GradNorm() != plain.GradNorm() && step != skipped || o.Skipped() != plain.Skipped() || o.NonFinite() != plain.NonFinite() {
			t.Errorf("%s: a norm of %g and %d skipped, want %g and %d", what, o.GradNorm(), o.Skipped(), plain.GradNorm(), plain.Skipped())
		}
		for k, x := range list {
			got := make([]float32, x.Len())
			if x.Widen(kernels.Table(0), got); !sameBits(got, wide[k]) {
				t.Errorf("%s: the gradient of tensor %d is another", what, k)
			}
		}
	}
	if o.Skipped() != 1 {
		t.Errorf("%s: %d steps were skipped, want 1", name, o.Skipped())
	}
}

// TestApplySplit carries out steps in ranges, by goroutines.
func TestApplySplit(t *testing.T) {
	sizes := []int{5, 3*tune.UnitLen + 11, 0, 1000}
	o, params, _ := newSet(t, sizes, plainAdam)
	plain, want, _ := newSet(t, sizes, plainAdam)
	uppers, rests := split(t, params)
	for step := 1; step <= 17; step++ {
		rng := rand.New(rand.NewPCG(1, uint64(step)))
		var grads [][]float32
		for _, n := range sizes {
			grads = append(grads, uniform(n, rng.Uint64()))
		}
		list, wide := typedSet(grads, step)
		must(t, o.Begin())
		var running sync.WaitGroup
		for k, size := range sizes {
			for at := 0; at < size; {
				lo, hi := at, min(size, at+1+rng.IntN(size))
				running.Go(func() {
					if err := o.ApplySplit(k, lo, uppers[k][lo:hi], rests[k][lo:hi], list[k].Slice(lo, hi)); err != nil {
						t.Error(err)
					}
				})
				at = hi
			}
		}
		running.Wait()
		must(t, o.End())
		must(t, plain.StepSet(want, wide))
		wantAlike(t, fmt.Sprintf("step %d", step), o, plain, joined(t, uppers, rests), want, none(wide), none(wide))
	}
}

// TestSplitEdges keeps numbers whose BF16 is infinite, and NaN.
func TestSplitEdges(t *testing.T) {
	for _, bits := range []uint32{0, 1 << 31, 1, 0x8000, 0x7fff, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7f807fff, 0x7fc00000, 0x7fffffff, 0xffffffff, 0xff7fffff} {
		x, h, r, back := []float32{math.Float32frombits(bits)}, make([]update.BF16, 1), make([]int16, 1), make([]float32, 1)
		must(t, update.SplitParams(h, r, x))
		must(t, update.JoinParams(back, h, r))
		if got := math.Float32bits(back[0]); got != bits {
			t.Errorf("%#x comes back as %#x", bits, got)
		}
		if infinite := math.IsInf(float64(h[0].Float32()), 0); infinite != (bits<<1 >= 0x7f7f8000<<1 && bits<<1 < 0x7f808000<<1) {
			t.Errorf("%#x has the upper half %#x", bits, h[0])
		}
	}
}

// TestSplitRefuses refuses what it cannot take, and writes nothing.
func TestSplitRefuses(t *testing.T) {
	sizes := []int{4, 6}
	o, params, _ := newSet(t, sizes, plainAdam)
	lamb, _, _ := newSet(t, sizes, registry.Get("lamb"))
	h, r := split(t, params)
	grads := update.TypedList([][]float32{make([]float32, 4), make([]float32, 6)})
	short := [][]int16{r[0], r[1][:5]}
	state := buffer(o, 1, "m")
	for what, c := range map[string]struct {
		arg  string
		call func() error
	}{
		"fewer parameters":         {"len(params)", func() error { return o.StepSplit(h[:1], r, grads) }},
		"fewer rests":              {"len(rests)", func() error { return o.StepSplit(h, r[:1], grads) }},
		"a short half":             {"len(params[0]) (a)", func() error { return o.StepSplit([][]update.BF16{h[0][:3], h[1]}, r, grads) }},
		"a short rest":             {"len(rests[1]) (b)", func() error { return o.StepSplit(h, short, grads) }},
		"a short gradient":         {"len(grads[0]) (a)", func() error { return o.StepSplit(h, r, []update.Typed{grads[0].Slice(0, 3), grads[1]}) }},
		"one half twice":           {"params of tensor 0 (a)", func() error { return o.StepSplit([][]update.BF16{h[1][:4], h[1]}, r, grads) }},
		"a gradient that is state": {"grads of tensor 1 (b)", func() error { return o.StepSplit(h, r, []update.Typed{grads[0], update.TypedOf(state)}) }},
		"a gradient that is half":  {"grads of tensor 0 (a)", func() error { return o.StepSplit(h, r, []update.Typed{update.TypedOf(h[0]), grads[1]}) }},
		"LAMB":                     {"rule", func() error { return lamb.StepSplit(h, r, grads) }},
		"a range that no step has": {"step", func() error { return o.ApplySplit(0, 0, h[0], r[0], grads[0]) }},
		"a short range of rests":   {"len(rests)", func() error { return o.ApplySplit(0, 0, h[0], r[0][:3], grads[0]) }},
		"other lengths to split":   {"len(rests)", func() error { return update.SplitParams(h[0], r[0][:3], params[0]) }},
		"other lengths to join":    {"len(params)", func() error { return update.JoinParams(params[0], h[0][:3], r[0]) }},
	} {
		wantArg(t, what, c.call(), c.arg)
	}
	if o.Steps() != 0 || !sameBits(slices.Concat(joined(t, h, r)...), slices.Concat(params...)) {
		t.Error("a step that was refused left something")
	}
	must(t, o.StepSplit(h, r, grads))
}

// TestSplitAllocs takes steps without allocating.
func TestSplitAllocs(t *testing.T) {
	sizes := []int{70, 3*tune.UnitLen + 5, 4000}
	o, params, grads := newSet(t, sizes, plainAdam)
	must(t, o.SetMaxNorm(.5))
	h, r := split(t, params)
	list, _ := typedSet(grads, 0)
	step := func() { must(t, o.StepSplit(h, r, list)) }
	step()
	if n := allocs.PerRun(10, step); n != 0 {
		t.Errorf("%g allocations", n)
	}
	if n := allocs.PerRun(10, func() {
		must(t, o.BeginNorm(1))
		for k, p := range h {
			must(t, o.ApplySplit(k, 0, p, r[k], list[k]))
		}
		must(t, o.End())
	}); n != 0 {
		t.Errorf("%g allocations in ranges", n)
	}
}

// TestSplitBegins leaves a tensor out of the first step, in which others begin as their
// parameters: averages, slow parameters and state.
func TestSplitBegins(t *testing.T) {
	sets := []func(o *update.Optimizer) error{
		func(o *update.Optimizer) error {
			return o.SetAverage(update.Averaging{Every: 1, FromStart: true, Decay: .75})
		},
		func(o *update.Optimizer) error { return o.SetLookahead(update.Lookahead{Period: 2, Step: .5}) },
	}
	sizes, begin := []int{7, 5000, 40, 6000}, 0
	for n, sample := range registry.Samples() {
		slots, _ := update.Slots(sample.Rule)
		begins := slices.ContainsFunc(slots, func(s engine.Slot) bool { return s.BeginsAsParams() })
		if !isPlain(sample.Rule) || !begins && n%7 > 0 {
			continue
		}
		if begins {
			begin++
		}
		o, params, _ := newSet(t, sizes, sample.Rule)
		plain, want, _ := newSet(t, sizes, sample.Rule)
		for _, x := range []*update.Optimizer{o, plain} {
			must(t, sets[n%2](x))
		}
		uppers, rests := split(t, params)
		for step := 1; step <= 5 && !t.Failed(); step++ {
			var grads [][]float32
			for k, size := range sizes {
				grads = append(grads, uniform(size, uint64(10*step+k)))
			}
			if step < 3 {
				grads[step-1], grads[step+1] = nil, nil
			}
			list, wide := typedSet(grads, step)
			must(t, o.StepSplit(uppers, rests, list))
			must(t, plain.StepSet(want, wide))
			wantAlike(t, fmt.Sprintf("%s, step %d", sample.Name, step), o, plain, joined(t, uppers, rests), want, none(wide), none(wide))
		}
	}
	if begin == 0 {
		t.Error("no rule has state that begins as the parameters")
	}
}
