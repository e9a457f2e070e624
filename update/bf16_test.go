package update_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// roundParams is what StepBF16 makes of parameters, written from the documents: the stream is of a
// pair of slots that no rule has.
func roundParams(x []float32, seed uint64, tensor int, step int64) []float32 {
	r, y := newRounder(seed, tensor, int64(2<<32), step), make([]float32, len(x))
	for i, p := range x {
		switch bits := math.Float32bits(p); {
		case p != p:
			y[i] = math.Float32frombits(bits&^0xffff | 1<<22)
		case math.Abs(float64(p)) > 0x1.fep127:
			y[i] = math.Float32frombits(bits &^ 0xffff)
		default:
			y[i] = math.Float32frombits((bits + r.draw16(i)) &^ 0xffff)
		}
	}
	return y
}

// narrowed and decoded convert parameters, the former to nearest even.
func narrowed(list [][]float32) [][]update.BF16 {
	var halves [][]update.BF16
	for _, x := range list {
		h := make([]update.BF16, len(x))
		for i := range x {
			h[i] = fallback.ToBF16(x[i])
		}
		halves = append(halves, h)
	}
	return halves
}

func decoded(list [][]update.BF16) [][]float32 {
	var floats [][]float32
	for _, h := range list {
		x := make([]float32, len(h))
		for i := range h {
			x[i] = h[i].Float32()
		}
		floats = append(floats, x)
	}
	return floats
}

// TestStepBF16 compares steps on BF16 alone with steps on the same float32, rounded after each, for
// every sample that can take them: with the stages around a kernel, missing gradients, skipped
// steps, state in fewer bits of the same seed, workers and tables.
func TestStepBF16(t *testing.T) {
	tables := kernels.Available()
	count, packed := 0, 0
	for n, sample := range registry.Samples() {
		if !isPlain(sample.Rule) || testing.Short() && n%3 > 0 {
			continue
		}
		count++
		with := settings[n%len(settings)]
		o, params, _ := newSet(t, aroundSizes, sample.Rule)
		plain, _, _ := newSet(t, aroundSizes, sample.Rule)
		seed := uint64(n)<<40 + 7
		for _, o := range []*update.Optimizer{o, plain} {
			must(t, errors.Join(o.SetGradScale(.3), o.SetPolicy(update.Skip), with.set(o), beside(n, o)))
			if types := typesOf(t, sample.Rule, func(k int) update.StateType { return update.StateType(1 + k%2) }); n%2 > 0 && len(types) > 0 {
				must(t, o.SetStateTypes(types, seed))
				packed++
			}
		}
		must(t, o.SetZeroGrads(n%3 == 0))
		must(t, o.SetWorkers([]int{1, 2, 7}[n%3]))
		must(t, o.SetTable(tables[n%len(tables)]))
		must(t, o.SetRounding(seed))
		halves := narrowed(params)
		want := decoded(halves)
		for step := 1; step <= aroundSteps && !t.Failed(); step++ {
			what := fmt.Sprintf("%s, %s, step %d", sample.Name, with.name, step)
			grads := gradsOf(step)
			if step == 9 {
				grads[6] = slices.Repeat([]float32{float32(math.NaN())}, aroundSizes[6]) // skipped
			}
			list, same := typedSet(grads, n+step)
			before := o.Steps()
			must(t, o.StepBF16(halves, list))
			must(t, plain.StepSet(want, same))
			for k := range want {
				if plain.Steps() > before {
					want[k] = roundParams(want[k], seed, k, stepsOf(t, plain, k))
				}
			}
			wantAlike(t, what, o, plain, decoded(halves), want, none(want), none(want))
			if x, y := statesOf(t, o), statesOf(t, plain); !sameTyped(x, y) {
				t.Errorf("%s: state in fewer bits differs", what)
			}
			if o.GradNorm() != plain.GradNorm() && step != 9 || o.Skipped() != plain.Skipped() {
				t.Errorf("%s: a norm of %g and %d skipped, want %g and %d", what, o.GradNorm(), o.Skipped(), plain.GradNorm(), plain.Skipped())
			}
		}
		if t.Failed() {
			return
		}
	}
	if count < 5 || packed < 5 {
		t.Errorf("%d rules take BF16, of which %d beside state in fewer bits", count, packed)
	}
}

// stepsOf is how many steps a tensor has taken part in.
func stepsOf(t *testing.T, o *update.Optimizer, tensor int) int64 {
	t.Helper()
	return statesOf(t, o)[tensor].Steps
}

func sameTyped(x, y []update.TensorState) bool {
	return slices.EqualFunc(x, y, func(a, b update.TensorState) bool {
		for name, s := range a.Typed {
			if o := b.Typed[name]; !slices.Equal(s.BF16, o.BF16) || !slices.Equal(s.Codes, o.Codes) || !sameBits(s.Scales, o.Scales) {
				return false
			}
		}
		return len(a.Typed) == len(b.Typed)
	})
}

// TestApplyBF16 carries out steps in ranges that begin anywhere, by goroutines, and once more from
// what was exported half way: with the bits of steps as a whole.
func TestApplyBF16(t *testing.T) {
	sizes := []int{5, 3*tune.UnitLen + 11, 0, 1000}
	o, params, _ := newSet(t, sizes, plainAdam)
	whole, _, _ := newSet(t, sizes, plainAdam)
	halves := narrowed(params)
	want := narrowed(params)
	must(t, o.SetRounding(3))
	must(t, whole.SetRounding(3))
	const steps, half = 17, 8
	for step := 1; step <= steps; step++ {
		rng := rand.New(rand.NewPCG(1, uint64(step)))
		var grads [][]float32
		for _, n := range sizes {
			grads = append(grads, uniform(n, rng.Uint64()))
		}
		list, _ := typedSet(grads, step)
		must(t, o.Begin())
		var running sync.WaitGroup
		for k, size := range sizes {
			for at := 0; at < size; {
				lo, hi := at, min(size, at+1+rng.IntN(size))
				running.Go(func() {
					if err := o.ApplyBF16(k, lo, halves[k][lo:hi], list[k].Slice(lo, hi)); err != nil {
						t.Error(err)
					}
				})
				at = hi
			}
		}
		running.Wait()
		must(t, o.End())
		must(t, whole.StepBF16(want, list))
		wantAlike(t, fmt.Sprintf("step %d", step), o, whole, decoded(halves), decoded(want), none(grads), none(grads))
		if step == half {
			state, err := o.Export()
			must(t, err)
			if o, _, _ = newSet(t, sizes, plainAdam); o.Rounding() != 0 {
				t.Errorf("the seed is %d at first", o.Rounding())
			}
			must(t, o.Import(state))
			must(t, o.SetRounding(whole.Rounding()))
		}
	}
}

// TestBF16Edges has parameters that are not finite, and the largest.
func TestBF16Edges(t *testing.T) {
	inf := float32(math.Inf(1))
	from := []float32{inf, -inf, float32(math.NaN()), 0x1.fep127, 0x1.fep127, -0x1.fep127, 0, 1, 0x1p-133}
	step := []float32{0, 0, 0, -0x1p118, -0x1p121, 0x1p118, 0, 0, 0}
	want := []float32{inf, -inf, float32(math.NaN()), 0x1.fep127, inf, -0x1.fep127, 0, 1, 0x1p-133}
	o := newOne(t, len(from), update.SGD{Options: update.Options{LR: 1, KeepSubnormals: true}})
	params := narrowed([][]float32{from})
	must(t, o.StepBF16(params, update.TypedList([][]float32{step})))
	for i, got := range decoded(params)[0] {
		if got != want[i] && (got == got || want[i] == want[i]) {
			t.Errorf("%g - %g is %g, want %g", from[i], step[i], got, want[i])
		}
	}
}

// TestBF16Mean takes steps that are far less than a BF16 has bits for: parameters go as far as
// they should on average, where rounding to nearest leaves them as they are.
func TestBF16Mean(t *testing.T) {
	const n, steps, lr = 1 << 14, 200, 0x1p-14 // 1 and its neighbour below are 2⁻⁸ apart
	params := [][]float32{slices.Repeat([]float32{1}, n)}
	grads := update.TypedList([][]float32{slices.Repeat([]float32{1}, n)})
	rule := update.SGD{Options: update.Options{LR: lr}}
	o, halves := newOne(t, n, rule), narrowed(params)
	nearest, near := newOne(t, n, rule), narrowed(params)
	for range steps {
		must(t, o.StepBF16(halves, grads))
		x := decoded(near)
		must(t, nearest.StepTyped(x, grads))
		near = narrowed(x)
	}
	if near[0][0].Float32() != 1 {
		t.Errorf("to nearest a parameter has become %g", near[0][0].Float32())
	}
	mean, square := 0.0, 0.0
	for _, h := range halves[0] {
		x := float64(h.Float32()) - 1
		mean += x / n
		square += x * x / n
	}
	// A parameter has gone down with probability lr/2⁻⁸ in each step.
	if deviation := math.Sqrt((square - mean*mean) / n); math.Abs(mean+steps*lr) > 4*deviation || deviation == 0 {
		t.Errorf("the mean has moved by %g ± %g, want %g", mean, deviation, -steps*lr)
	}
}

// TestBF16Train trains as TestStateTypesTrain does, with parameters of BF16 alone: as well as its
// precision allows. To nearest training stalls.
func TestBF16Train(t *testing.T) {
	for name, rule := range map[string]update.Rule{
		"Adam":     update.Adam{Options: update.Options{LR: .02}, Beta1: .9, Beta2: .999, Eps: 1e-8},
		"Momentum": update.Momentum{Options: update.Options{LR: .002}, Momentum: .9},
		"Lion":     update.Lion{Options: update.Options{LR: .0005}, Beta1: .9, Beta2: .99},
	} {
		if testing.Short() && name != "Adam" {
			continue
		}
		floats, random, nearest := trainedParams(t, rule, 0), trainedParams(t, rule, 1), trainedParams(t, rule, 2)
		t.Logf("%s: %.3f of float32's loss at random, %.3f to nearest", name, random/floats, nearest/floats)
		if random > 1.25*floats || nearest < 1.3*floats {
			t.Errorf("%s: the loss is %g with parameters rounded at random and %g to nearest, %g with float32", name, random, nearest, floats)
		}
	}
}

// trainedParams is the loss of the last steps with parameters of float32, of BF16 rounded at random,
// and to nearest.
func trainedParams(t *testing.T, rule update.Rule, kind int) (last float64) {
	const steps = 1000
	r := regression{features: 128, outputs: 40, rng: rand.New(rand.NewPCG(5, 6))}
	n := r.features * r.outputs
	r.truth = uniform(n, 1)
	o, w, g := newOne(t, n, rule), [][]float32{make([]float32, n)}, [][]float32{make([]float32, n)}
	halves := narrowed(w)
	rate := o.LR()
	for step := range steps {
		must(t, o.SetLR(rate*float64(steps-step)/steps))
		if kind > 0 {
			w = decoded(halves)
		}
		if loss := r.grads(w[0], g[0]); step >= steps-200 {
			last += loss / 200
		}
		if kind == 1 {
			must(t, o.StepBF16(halves, update.TypedList(g)))
			continue
		}
		must(t, o.StepSet(w, g))
		halves = narrowed(w)
	}
	return last
}

// TestBF16Refuses refuses what it cannot take, and writes nothing.
func TestBF16Refuses(t *testing.T) {
	sizes := []int{4, 6}
	o, params, _ := newSet(t, sizes, plainAdam)
	lamb, _, _ := newSet(t, sizes, registry.Get("lamb"))
	h := narrowed(params)
	grads := update.TypedList([][]float32{make([]float32, 4), make([]float32, 6)})
	for what, c := range map[string]struct {
		arg  string
		call func() error
	}{
		"fewer parameters":         {"len(params)", func() error { return o.StepBF16(h[:1], grads) }},
		"a short parameter":        {"len(params[0]) (a)", func() error { return o.StepBF16([][]update.BF16{h[0][:3], h[1]}, grads) }},
		"a short gradient":         {"len(grads[0]) (a)", func() error { return o.StepBF16(h, []update.Typed{grads[0].Slice(0, 3), grads[1]}) }},
		"one parameter twice":      {"params of tensor 0 (a)", func() error { return o.StepBF16([][]update.BF16{h[1][:4], h[1]}, grads) }},
		"a gradient that is state": {"grads of tensor 1 (b)", func() error { return o.StepBF16(h, []update.Typed{grads[0], update.TypedOf(buffer(o, 1, "m"))}) }},
		"a gradient that is both":  {"grads of tensor 0 (a)", func() error { return o.StepBF16(h, []update.Typed{update.TypedOf(h[0]), grads[1]}) }},
		"LAMB":                     {"rule", func() error { return lamb.StepBF16(h, grads) }},
		"a range that no step has": {"step", func() error { return o.ApplyBF16(0, 0, h[0], grads[0]) }},
		"rests in their place":     {"len(rests)", func() error { return o.StepSplit(h, nil, grads) }},
	} {
		wantArg(t, what, c.call(), c.arg)
	}
	must(t, o.Begin())
	wantArg(t, "a seed in a step", o.SetRounding(1), "step")
	wantArg(t, "a step in a step", o.StepBF16(h, grads), "step")
	if !slices.Equal(slices.Concat(h...), slices.Concat(narrowed(params)...)) {
		t.Error("a step that was refused left something")
	}
	for k := range h {
		must(t, o.ApplyBF16(k, 0, h[k], grads[k]))
	}
	must(t, o.End())
	must(t, o.StepBF16(h, grads))
}

// TestBF16Allocs takes steps without allocating, beside others of the same optimizer.
func TestBF16Allocs(t *testing.T) {
	sizes := []int{70, 3*tune.UnitLen + 5, 4000}
	o, params, grads := newSet(t, sizes, plainAdam)
	must(t, o.SetMaxNorm(.5))
	uppers, rests := split(t, params)
	h := narrowed(params)
	list, _ := typedSet(grads, 0)
	step := func() {
		must(t, o.StepBF16(h, list))
		must(t, o.StepSplit(uppers, rests, list))
	}
	step()
	if n := allocs.PerRun(10, step); n != 0 {
		t.Errorf("%g allocations", n)
	}
	if n := allocs.PerRun(10, func() {
		must(t, o.BeginNorm(1))
		for k, p := range h {
			must(t, o.ApplyBF16(k, 0, p, list[k]))
		}
		must(t, o.End())
	}); n != 0 {
		t.Errorf("%g allocations in ranges", n)
	}
}

// TestBF16Known has the bits that C and Python have too.
func TestBF16Known(t *testing.T) {
	const n = 20000
	o, h := newOne(t, n, update.SGD{Options: update.Options{LR: 0x1p-10}}), slices.Repeat([]update.BF16{fallback.ToBF16(1)}, n)
	must(t, o.SetRounding(5))
	for range 3 {
		must(t, o.StepBF16([][]update.BF16{h}, update.TypedList([][]float32{slices.Repeat([]float32{1}, n)})))
	}
	hash := fnv.New64a()
	must(t, binary.Write(hash, binary.LittleEndian, h))
	if got := hash.Sum64(); got != 0x1ee90100c6e0e558 {
		t.Errorf("the hash is %#x", got)
	}
}
