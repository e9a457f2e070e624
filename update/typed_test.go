package update_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// typed is a gradient as BF16, F16 or float32, by a number, and the same numbers as float32.
func typed(g []float32, number int) (x update.Typed, wide []float32) {
	if g == nil {
		return update.Typed{}, nil
	}
	wide = make([]float32, len(g))
	switch number % 3 {
	case 0:
		h := make([]update.BF16, len(g))
		fallback.NarrowBF16(h, g)
		fallback.WidenBF16(wide, h)
		return update.TypedOf(h), wide
	case 1:
		h := make([]update.F16, len(g))
		fallback.NarrowF16(h, g)
		fallback.WidenF16(wide, h)
		return update.TypedOf(h), wide
	}
	copy(wide, g)
	return update.TypedOf(slices.Clone(g)), wide
}

// typedSet is typed for a list.
func typedSet(grads [][]float32, number int) (list []update.Typed, wide [][]float32) {
	for k, g := range grads {
		x, y := typed(g, number+k)
		list, wide = append(list, x), append(wide, y)
	}
	return list, wide
}

// A copied is a copy of parameters in BF16 or F16.
type copied struct {
	bf16 []update.BF16
	f16  []update.F16
}

func newCopied(n, number int) copied {
	if number%2 == 0 {
		return copied{bf16: slices.Repeat([]update.BF16{0x1234}, n)}
	}
	return copied{f16: slices.Repeat([]update.F16{0x1234}, n)}
}

func (c copied) typed() update.Typed {
	if c.bf16 != nil {
		return update.TypedOf(c.bf16)
	}
	return update.TypedOf(c.f16)
}

func (c copied) clone() copied { return copied{slices.Clone(c.bf16), slices.Clone(c.f16)} }

func (c copied) equal(x copied) bool {
	return slices.Equal(c.bf16, x.bf16) && slices.Equal(c.f16, x.f16)
}

// isOf reports whether it is the copy of parameters.
func (c copied) isOf(p []float32) bool {
	for i, x := range p {
		if c.bf16 != nil && c.bf16[i] != fallback.ToBF16(x) || c.f16 != nil && c.f16[i] != fallback.ToF16(x) {
			return false
		}
	}
	return true
}

// copiesOf sets copies of all tensors but the last one.
func copiesOf(t *testing.T, o *update.Optimizer, sizes []int) []copied {
	t.Helper()
	copies, list := make([]copied, len(sizes)), make([]update.Typed, len(sizes))
	for k, n := range sizes[:len(sizes)-1] {
		copies[k] = newCopied(n, k)
		list[k] = copies[k].typed()
	}
	must(t, o.SetCopies(list))
	return copies
}

func cloneAll(copies []copied) (list []copied) {
	for _, c := range copies {
		list = append(list, c.clone())
	}
	return list
}

// wantCopies wants copies of the tensors that were moved, and others as they were.
func wantCopies(t *testing.T, what string, copies, before []copied, params, were [][]float32, left func(k int) bool) {
	t.Helper()
	for k := range copies {
		moved := !left(k) || !sameBits(params[k], were[k])
		switch c := copies[k]; {
		case k == len(copies)-1: // which has none
		case moved && !c.isOf(params[k]):
			t.Errorf("%s: the copy of tensor %d is not its parameters", what, k)
		case !moved && !c.equal(before[k]) && !c.isOf(params[k]):
			t.Errorf("%s: the copy of tensor %d is another", what, k)
		}
	}
}

// beside are what parameters are followed by, which moves them too.
func beside(n int, o *update.Optimizer) error {
	switch n % 4 {
	case 1:
		return o.SetLookahead(update.Lookahead{Period: 3, Step: .5})
	case 2:
		return o.SetAverage(update.Averaging{Every: 1, Decay: .75, Overwrite: 4})
	}
	return nil
}

// TestStepTyped compares steps of every sample with steps along the same gradients as
// float32, and the copies that they leave with the parameters.
func TestStepTyped(t *testing.T) {
	for n, sample := range registry.Samples() {
		for k, with := range settings {
			if testing.Short() && n%6 > 0 {
				continue
			}
			if k == n/6%len(settings) || !testing.Short() && (k == n%len(settings) || n%5 == 0) {
				typedSteps(t, n, sample.Name+", "+with.name, sample.Rule, func(o *update.Optimizer) error { return errors.Join(with.set(o), beside(n, o)) })
			}
			if t.Failed() {
				return
			}
		}
	}
}

// TestTypedStages has every stage before a kernel and caution of each kind.
func TestTypedStages(t *testing.T) {
	stages := []func(o *update.Optimizer) error{
		func(o *update.Optimizer) error { return o.SetAdaptiveClip(.05, 1e-3) },
		func(o *update.Optimizer) error { return o.SetCentralize(true) },
		func(o *update.Optimizer) error {
			return errors.Join(o.SetCentralize(true), o.SetAdaptiveClip(.05, 1e-3))
		},
		func(o *update.Optimizer) error { return o.SetNoise(update.Noise{Eta: .01, Gamma: .55, Seed: 7}) },
	}
	cautious, still := plainAdam, plainAdam
	cautious.CautiousUpdate, cautious.WeightDecay = true, .1
	still.CautiousDecay, still.WeightDecay = true, .1
	for n, stage := range stages {
		for k, rule := range []update.Rule{plainAdam, cautious, still, registry.Get("lamb")} {
			if testing.Short() && (n+k)%4 > 0 {
				continue
			}
			typedSteps(t, n+k, fmt.Sprintf("stage %d of %s", n, rule.Name()), rule, stage)
		}
	}
}

// typedSteps takes steps of tensors of all kinds with a rule.
func typedSteps(t *testing.T, n int, name string, rule update.Rule, set func(o *update.Optimizer) error) {
	t.Helper()
	tables := kernels.Available()
	o, params, _ := newSet(t, aroundSizes, rule)
	plain, want, _ := newSet(t, aroundSizes, rule)
	must(t, o.SetWorkers([]int{1, 2, 7}[n%3]))
	must(t, o.SetTable(tables[n%len(tables)]))
	zeroes := n%3 == 0
	for _, o := range []*update.Optimizer{o, plain} {
		must(t, o.SetGradScale(.3))
		must(t, o.SetPolicy(update.Skip))
		must(t, o.SetZeroGrads(zeroes))
		must(t, set(o))
	}
	copies := copiesOf(t, o, aroundSizes)
	const skipped = 9
	for step := 1; step <= aroundSteps && !t.Failed(); step++ {
		what := fmt.Sprintf("%s, step %d", name, step)
		grads := gradsOf(step)
		if step == skipped {
			grads[6] = slices.Repeat([]float32{float32(math.NaN())}, aroundSizes[6])
		}
		list, wide := typedSet(grads, n+step)
		same := clones(wide)
		before, were := cloneAll(copies), clones(params)
		if step%4 == 3 { // along float32, with copies
			own := clones(wide)
			list = update.TypedList(own)
			must(t, o.StepSet(params, own))
		} else {
			must(t, o.StepTyped(params, list))
		}
		must(t, plain.StepSet(want, wide))
		wantAlike(t, what, o, plain, params, want, none(wide), none(wide))
		if o.GradNorm() != plain.GradNorm() && step != skipped || o.Skipped() != plain.Skipped() || o.NonFinite() != plain.NonFinite() {
			t.Errorf("%s: a norm of %g and %d skipped, want %g and %d", what, o.GradNorm(), o.Skipped(), plain.GradNorm(), plain.Skipped())
		}
		wantCopies(t, what, copies, before, params, were, func(k int) bool { return step == skipped || grads[k] == nil })
		for k, x := range list {
			got := make([]float32, x.Len())
			x.Widen(kernels.Table(0), got)
			if zeroes {
				clear(same[k])
			}
			if !sameBits(got, same[k]) {
				t.Errorf("%s: the gradient of tensor %d is another", what, k)
			}
		}
	}
	if o.Skipped() != 1 {
		t.Errorf("%s: %d steps were skipped, want 1", name, o.Skipped())
	}
}

// TestTypedMatrices has rules that take matrices for such, with any number of workers.
func TestTypedMatrices(t *testing.T) {
	rules := map[string]update.Rule{}
	for _, e := range registry.All() {
		for _, s := range e.Factored {
			rules[s.Name] = s.Rule
		}
	}
	for name, r := range muons() {
		rules["Muon of "+name] = r
	}
	for name, r := range rules {
		for k, shape := range [][2]int{{17, 33}, {1, 5}, {300, 70}, {3, tune.UnitLen + 5}} {
			if k > 2 && strings.HasPrefix(name, "Muon") || testing.Short() && k > 1 {
				continue // their products would take long
			}
			n := shape[0] * shape[1]
			newMatrix := func() *update.Optimizer {
				o, err := update.NewSet([]update.Tensor{{Size: n, Columns: shape[1]}}, r)
				must(t, err)
				must(t, o.SetMaxTensorNorm(.5))
				return o
			}
			for _, workers := range []int{1, 2, 7} {
				o, plain, p := newMatrix(), newMatrix(), uniform(n, 1)
				q, c := slices.Clone(p), newCopied(n, k)
				must(t, o.SetWorkers(workers))
				must(t, o.SetCopies([]update.Typed{c.typed()}))
				for step := range 3 {
					x, wide := typed(uniform(n, uint64(step)), step+k)
					must(t, o.StepTyped([][]float32{p}, []update.Typed{x}))
					must(t, plain.StepSet([][]float32{q}, [][]float32{wide}))
				}
				wantAlike(t, fmt.Sprintf("%s, %v, %d workers", name, shape, workers), o, plain, [][]float32{p}, [][]float32{q}, none([][]float32{p}), none([][]float32{q}))
				if !c.isOf(p) {
					t.Errorf("%s, %v: the copy is not the parameters", name, shape)
				}
			}
		}
	}
}

// none has wantAlike compare no gradients.
func none(list [][]float32) [][]float32 { return make([][]float32, len(list)) }

// TestStepShardsTyped compares steps along sums with those of the sums of the same numbers.
func TestStepShardsTyped(t *testing.T) {
	for n, sample := range registry.Samples() {
		if n%4 > 0 || testing.Short() && n%12 > 0 {
			continue
		}
		o, params, _ := newSet(t, aroundSizes, sample.Rule)
		plain, want, _ := newSet(t, aroundSizes, sample.Rule)
		must(t, o.SetWorkers(1+n%3))
		for _, o := range []*update.Optimizer{o, plain} {
			must(t, settings[n/4%len(settings)].set(o))
		}
		for step := 1; step <= 12; step++ {
			count := []int{1, 2, 3, 4, 5, 9}[step%6]
			shards := shardsOf(step, count)
			var list [][]update.Typed
			for j := range shards {
				x, wide := typedSet(shards[j], step+j)
				list, shards[j] = append(list, x), wide
			}
			must(t, o.StepShardsTyped(params, list))
			must(t, plain.StepSet(want, summed(shards, slices.Repeat([]float32{1}, count))))
			what := fmt.Sprintf("%s, step %d of %d shards", sample.Name, step, count)
			wantAlike(t, what, o, plain, params, want, none(params), none(params))
			if o.GradNorm() != plain.GradNorm() {
				t.Errorf("%s: the norm is %g, want %g", what, o.GradNorm(), plain.GradNorm())
			}
			if t.Failed() {
				return
			}
		}
	}
}

// TestApplyTyped applies steps in random parts of any types, on several goroutines, with
// copies and with a norm that was observed in other parts.
func TestApplyTyped(t *testing.T) {
	const n = 9001
	rng := rand.New(rand.NewPCG(3, 0))
	for number, sample := range registry.Samples() {
		parts, p, _ := newSet(t, []int{n}, sample.Rule)
		if parts.Begin() != nil || testing.Short() && number%5 > 0 {
			continue
		}
		parts, p, _ = newSet(t, []int{n}, sample.Rule)
		whole, q, _ := newSet(t, []int{n}, sample.Rule)
		c := newCopied(n, number)
		must(t, parts.SetCopies([]update.Typed{c.typed()}))
		clips := number%2 == 0
		if clips {
			must(t, parts.SetMaxNorm(.5))
			must(t, whole.SetMaxNorm(.5))
		}
		for step := range 4 {
			grads, wide := typed(uniform(n, uint64(step)), step+number)
			must(t, whole.StepSet(q, [][]float32{wide}))
			inParts := func(do func(lo, hi int) error) {
				var running sync.WaitGroup
				for next := 0; next < n; {
					lo, hi := next, min(n, next+rng.IntN(rng.IntN(5000)+1))
					running.Go(func() {
						if err := do(lo, hi); err != nil {
							t.Error(err)
						}
					})
					next = hi
				}
				running.Wait()
			}
			if clips {
				inParts(func(lo, hi int) error { return parts.ObserveTyped(0, lo, grads.Slice(lo, hi)) })
			}
			must(t, parts.Begin())
			inParts(func(lo, hi int) error { return parts.ApplyTyped(0, lo, p[0][lo:hi], grads.Slice(lo, hi)) })
			must(t, parts.End())
			wantAlike(t, sample.Name, parts, whole, p, q, none(p), none(p))
			if parts.GradNorm() != whole.GradNorm() || !c.isOf(p[0]) {
				t.Errorf("%s: a norm of %g, want %g, or another copy", sample.Name, parts.GradNorm(), whole.GradNorm())
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestObserveTyped has gradients of several types observed for a step of all.
func TestObserveTyped(t *testing.T) {
	o, params, _ := newSet(t, aroundSizes, plainAdam)
	plain, want, _ := newSet(t, aroundSizes, plainAdam)
	must(t, o.SetMaxNorm(.5))
	must(t, plain.SetMaxNorm(.5))
	for step := 1; step < 12; step++ {
		list, wide := typedSet(gradsOf(step), step)
		for k, x := range list {
			if cut := x.Len() / 3; !x.IsNil() {
				must(t, o.ObserveTyped(k, cut, x.Slice(cut, x.Len())))
				must(t, o.ObserveTyped(k, 0, x.Slice(0, cut)))
			}
		}
		must(t, o.StepTyped(params, list))
		must(t, plain.StepSet(want, wide))
		wantAlike(t, fmt.Sprint("step ", step), o, plain, params, want, none(params), none(params))
		if o.GradNorm() != plain.GradNorm() {
			t.Errorf("step %d: the norm is %g, want %g", step, o.GradNorm(), plain.GradNorm())
		}
	}
}

// TestCopies has copies of a small tensor, of rows, and of parameters that no step has moved.
func TestCopies(t *testing.T) {
	o, params, grads := newSet(t, []int{70}, plainAdam)
	c := newCopied(70, 0)
	wantArg(t, "no copies", o.WriteCopies(params), "copies")
	must(t, o.SetCopies([]update.Typed{c.typed()}))
	must(t, o.WriteCopies(params))
	for range 3 { // the last ones are those of a small tensor where it was
		if !c.isOf(params[0]) {
			t.Error("the copy is not the parameters")
		}
		must(t, o.Step(params[0], grads[0]))
	}
	kept := c.clone()
	must(t, o.SetCopies(nil))
	must(t, o.Step(params[0], grads[0]))
	if !c.equal(kept) {
		t.Error("a copy that was given up is written")
	}

	large, more, _ := newSet(t, []int{3, 5*tune.UnitLen + 7, 40, 100}, plainAdam, registry.Get("lamb"))
	must(t, large.SetWorkers(3))
	copies := copiesOf(t, large, []int{3, 5*tune.UnitLen + 7, 40, 100})
	must(t, large.WriteCopies(more))
	for k, c := range copies[:3] {
		if !c.isOf(more[k]) {
			t.Errorf("the copy of tensor %d is not its parameters", k)
		}
	}

	for _, rule := range []update.Rule{plainAdam, update.RowwiseAdaGrad{Options: update.Options{LR: .1}, Eps: 1e-8}} {
		table, err := update.NewSet([]update.Tensor{{Size: 50, Columns: 5}}, rule)
		must(t, err)
		p, c := uniform(50, 1), newCopied(50, 1)
		must(t, table.SetCopies([]update.Typed{c.typed()}))
		must(t, table.WriteCopies([][]float32{p}))
		p[9] = .5 // of a row that the step leaves out
		must(t, update.StepRows(table, p, []int32{3, 0, 3}, uniform(15, 2)))
		if !c.isOf(append(append([]float32(nil), p[:9]...), append([]float32{uniform(50, 1)[9]}, p[10:]...)...)) {
			t.Errorf("%s: the copy has not the rows of the step and no others", rule.Name())
		}
	}
}

// TestTypedRefuses has gradients and copies of wrong lengths, types and places: nothing is
// written, and errors name what is given and wanted.
func TestTypedRefuses(t *testing.T) {
	sizes := []int{5, 5000}
	o, params, grads := newSet(t, sizes, plainAdam)
	list, _ := typedSet(grads, 0)
	before := clones(params)
	refused := func(what string, err error, arg, given, wanted string) {
		t.Helper()
		var e *update.ArgError
		if !errors.As(err, &e) || e.Arg != arg || !strings.Contains(fmt.Sprint(e.Value), given) || !strings.Contains(e.Want, wanted) {
			t.Errorf("%s: the error is %v, want that %s is %s and not %s", what, err, arg, given, wanted)
		}
		if o.Steps() != 0 || !sameBits(params[0], before[0]) || !sameBits(params[1], before[1]) {
			t.Errorf("%s: something was written", what)
		}
	}
	bf16 := func(n int) update.Typed { return update.TypedOf(make([]update.BF16, n)) }
	upon := func(x []float32, lo, n int) update.Typed { // a buffer of 16 bits within one of float32
		return update.TypedOf(unsafe.Slice((*update.F16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))[lo : lo+n])
	}
	refused("too few", o.StepTyped(params, list[:1]), "len(grads)", "1", "2")
	refused("too few parameters", o.StepTyped(params[:1], list), "len(params)", "1", "2")
	refused("too short", o.StepTyped(params, []update.Typed{bf16(4), list[1]}), "len(grads[0]) (a)", "4 of bfloat16", "5")
	refused("parameters too short", o.StepTyped([][]float32{params[0][:4], params[1]}, list), "len(params[0]) (a)", "4", "5")
	refused("parameters", o.StepTyped(params, []update.Typed{upon(params[1], 9, 5), list[1]}), "grads of tensor 0 (a)", "5 elements of float16", "params of tensor 1 (b), 5000 elements at")
	refused("no shards", o.StepShardsTyped(params, nil), "len(shards)", "0", "1")
	refused("a shard", o.StepShardsTyped(params, [][]update.Typed{list, {bf16(5), bf16(4999)}}), "len(shards[1][1]) (b)", "4999 of bfloat16", "5000")
	m, err := o.Buffer(1, "m")
	must(t, err)
	refused("state", o.StepShardsTyped(params, [][]update.Typed{list, {list[0], upon(m, 0, 5000)}}), "shards[1] of tensor 1 (b)", "5000 elements of float16", "m of tensor 1 (b)")

	refused("copies of too few", o.SetCopies(list[:1]), "len(copies)", "1", "2")
	refused("copies of float32", o.SetCopies([]update.Typed{update.TypedOf(grads[0]), bf16(5000)}), "copies[0] (a)", "of float32", "bfloat16 or float16")
	refused("a copy that is short", o.SetCopies([]update.Typed{bf16(5), bf16(4999)}), "len(copies[1]) (b)", "4999 of bfloat16", "5000")
	refused("a copy in state", o.SetCopies([]update.Typed{upon(m, 100, 5), {}}), "m of tensor 1 (b)", "5000 elements at", "copies of tensor 0 (a), 5 elements of float16")
	both := make([]update.BF16, 5004)
	refused("copies that overlap", o.SetCopies([]update.Typed{update.TypedOf(both[:5]), update.TypedOf(both[4:])}), "copies of tensor 0 (a)", "5 elements of bfloat16", "copies of tensor 1 (b)")
	must(t, o.SetCopies([]update.Typed{upon(params[1], 0, 5), {}}))
	refused("a copy in parameters", o.StepTyped(params, list), "params of tensor 1 (b)", "5000 elements at", "copies of tensor 0 (a), 5 elements of float16")
	refused("written, too", o.WriteCopies(params), "copies of tensor 0 (a)", "5 elements of float16", "params of tensor 1 (b)")
	must(t, o.SetCopies([]update.Typed{list[0], {}}))
	refused("a copy in a gradient", o.StepTyped(params, list), "grads of tensor 0 (a)", "5 elements of bfloat16", "copies of tensor 0 (a)")
	must(t, o.SetCopies(nil))

	must(t, o.SetZeroGrads(true))
	shared := make([]update.BF16, 5000)
	refused("zeroed and shared", o.StepTyped(params, []update.Typed{update.TypedOf(shared[:5]), update.TypedOf(shared)}), "grads of tensor 0 (a)", "5 elements of bfloat16", "grads of tensor 1 (b)")
	must(t, o.SetZeroGrads(false))

	must(t, o.SetMaxNorm(1))
	refused("observed too long", o.ObserveTyped(0, 1, bf16(5)), "len(grads)", "5 of bfloat16", "4 elements")
	must(t, o.ObserveTyped(0, 0, list[0]))
	refused("observed", o.StepShardsTyped(params, [][]update.Typed{list}), "shards", "1", "ForgetObserved")
	o.ForgetObserved()
	must(t, o.SetMaxNorm(math.Inf(1)))

	must(t, o.Begin())
	if err := o.ApplyTyped(0, 0, params[0], bf16(4)); err == nil || !strings.Contains(err.Error(), "4 of bfloat16") {
		t.Errorf("a part of another length: %v", err)
	}
	if err := o.ApplyTyped(0, 0, params[0], upon(params[0], 0, 5)); err == nil || !strings.Contains(err.Error(), "float16") {
		t.Errorf("a part upon parameters: %v", err)
	}
}

// TestTypedThenPlain takes a step whose gradients are the parameters after one for which they
// have stood in: it is refused as it is at first.
func TestTypedThenPlain(t *testing.T) {
	for _, sizes := range [][]int{{70}, {70, 5000}} {
		o, params, grads := newSet(t, sizes, plainAdam)
		list, wide := typedSet(grads, 0)
		for range 2 {
			must(t, o.StepTyped(params, list))
			wantArg(t, "parameters for gradients", o.StepSet(params, params), "grads of tensor 0 (a)")
			must(t, o.StepTyped(params, list))
			must(t, o.StepSet(params, wide))
			must(t, o.StepSet(params, wide))
		}
		plain, want, _ := newSet(t, sizes, plainAdam)
		for range 8 {
			must(t, plain.StepSet(want, wide))
		}
		wantAlike(t, "steps in turn", o, plain, params, want, none(params), none(params))
	}
}

// TestTypedAllocates takes steps without allocating.
func TestTypedAllocates(t *testing.T) {
	for _, sizes := range [][]int{{70}, {70, 3*tune.UnitLen + 5, 4000, 70}, {tune.ParallelLen, 5}} {
		o, params, grads := newSet(t, sizes, plainAdam)
		must(t, o.SetMaxNorm(1))
		must(t, o.SetWorkers(2))
		must(t, o.SetPolicy(update.Refuse))
		copiesOf(t, o, sizes)
		list, _ := typedSet(grads, 0)
		other, _ := typedSet(grads, 1)
		shards := [][]update.Typed{list, other, list}
		plain := clones(grads)
		for name, step := range map[string]func(){
			"StepTyped":       func() { must(t, o.StepTyped(params, list)); must(t, o.StepTyped(params, other)) },
			"StepShardsTyped": func() { must(t, o.StepShardsTyped(params, shards)) },
			"in turn":         func() { must(t, o.StepTyped(params, list)); must(t, o.StepSet(params, plain)) },
			"in parts": func() {
				for k, x := range list {
					must(t, o.ObserveTyped(k, 0, x))
				}
				must(t, o.SetPolicy(update.Propagate))
				must(t, o.Begin())
				for k, x := range list {
					must(t, o.ApplyTyped(k, 0, params[k], x))
				}
				must(t, o.End())
				must(t, o.SetPolicy(update.Refuse))
			},
		} {
			for range 3 {
				step()
			}
			if n := allocs.PerRun(10, step); n != 0 {
				t.Errorf("%s: %g allocations with sizes %v", name, n, sizes)
			}
		}
	}
}
