package update_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// TestFusedRules has a kernel for just those passes that one was made for.
func TestFusedRules(t *testing.T) {
	made := map[string]bool{"Adam": true, "AdaGrad": true, "Lion": true, "Momentum": true}
	found := map[string]bool{}
	for _, s := range registry.Samples() {
		list, passes := update.Kernels(s.Rule), update.Passes(s.Rule)
		want := len(passes) == 1 && strings.HasPrefix(passes[0], "*engine.elementCall") && made[list[0]]
		if got := update.IsFused(s.Rule); got != want {
			t.Errorf("%s, with the passes %v: fused is %v", s.Name, list, got)
		}
		if want {
			found[list[0]] = true
		}
	}
	if len(found) != len(made) {
		t.Errorf("no sample but of %v", found)
	}
}

// fusedSizes are all that a loop may leave over, tensors that are cut into units, and some
// whose copy is of another type or none.
func fusedSizes() []int {
	var sizes []int
	for n := range 68 {
		sizes = append(sizes, n)
	}
	return append(sizes, 1000, 5000, 2*tune.UnitLen+7, 300, 5001)
}

// fusedCopies are copies in BF16 of all tensors but the last two.
func fusedCopies(t *testing.T, o *update.Optimizer, sizes []int) [][]update.BF16 {
	t.Helper()
	copies, list := make([][]update.BF16, len(sizes)), make([]update.Typed, len(sizes))
	for k, n := range sizes {
		copies[k] = slices.Repeat([]update.BF16{0x1234}, n)
		list[k] = update.TypedOf(copies[k])
	}
	list[len(sizes)-2] = update.TypedOf(make([]update.F16, sizes[len(sizes)-2]))
	list[len(sizes)-1] = update.Typed{}
	must(t, o.SetCopies(list))
	return copies
}

// fusedGrads are gradients of BF16: in some tensors of any bits, in others ordinary ones that
// cease, and none of some in some steps.
func fusedGrads(sizes []int, step int, anyBits bool) []update.Typed {
	list := make([]update.Typed, len(sizes))
	for k, n := range sizes {
		if n > 0 && step > 3 && (step*7+k*5)%9 == 0 {
			continue
		}
		g, rng := make([]update.BF16, n), rand.New(rand.NewPCG(uint64(step), uint64(k)))
		for i := range g {
			if step < 11 || i > n/2 {
				g[i] = fallback.ToBF16(agree.Value(rng, anyBits && k%5 == 3))
			}
		}
		list[k] = update.TypedOf(g)
	}
	return list
}

// likeBits compares float32 of which a NaN is like another.
func likeBits(x, y []float32) bool {
	return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b })
}

// wantFused compares an optimizer with one that goes block by block.
func wantFused(t *testing.T, what string, o, blocks *update.Optimizer, p, q [][]float32, c, d [][]update.BF16) {
	t.Helper()
	for k := range p {
		if !likeBits(p[k], q[k]) {
			t.Errorf("%s: the parameters of tensor %d differ", what, k)
		}
		for i, x := range c[k] {
			if y := d[k][i]; x != y && (x.Float32() == x.Float32() || y.Float32() == y.Float32()) {
				t.Errorf("%s: element %d of the copy of tensor %d is %#x, want %#x", what, i, k, x, y)
				break
			}
		}
		for _, name := range slotNames(blocks, k) {
			x, err := o.Buffer(k, name)
			y, other := blocks.Buffer(k, name)
			if (err == nil) != (other == nil) || !likeBits(x, y) {
				t.Errorf("%s: %s of tensor %d differs", what, name, k)
			}
		}
	}
}

// fusedSettings are what a fused kernel has to get along with, or leaves to blocks.
var fusedSettings = []struct {
	name string
	set  func(o *update.Optimizer) error
}{
	{"alone", func(*update.Optimizer) error { return nil }},
	{"scaled", func(o *update.Optimizer) error { return o.SetGradScale(.3) }},
	{"with a tiny scale", func(o *update.Optimizer) error { return o.SetGradScale(0x1p-110) }},
	{"to a norm", func(o *update.Optimizer) error { return o.SetMaxNorm(.5) }},
	{"clipped", func(o *update.Optimizer) error { return o.SetMaxValue(.3) }},
	{"skipping", func(o *update.Optimizer) error { return o.SetPolicy(update.Skip) }},
	{"zeroing", func(o *update.Optimizer) error { return o.SetZeroGrads(true) }},
	{"with slow parameters", func(o *update.Optimizer) error { return o.SetLookahead(update.Lookahead{Period: 3, Step: .5}) }},
	{"averaging", func(o *update.Optimizer) error { return o.SetAverage(update.Averaging{Every: 2, Decay: .75}) }},
}

// TestFused compares steps of all rules that have a fused kernel with the same block by block.
func TestFused(t *testing.T) {
	sizes, tables, n := fusedSizes(), kernels.Available(), 0
	for _, s := range registry.Samples() {
		if !update.IsFused(s.Rule) {
			continue
		}
		for k, with := range fusedSettings {
			n++
			if testing.Short() && n%5 > 0 {
				continue
			}
			o, p, _ := newSet(t, sizes, s.Rule)
			blocks, q, _ := newSet(t, sizes, s.Rule)
			update.Unfused(blocks)
			for _, x := range []*update.Optimizer{o, blocks} {
				must(t, x.SetTable(tables[(n+k)%len(tables)]))
				must(t, x.SetWorkers([]int{1, 2, 7}[n%3]))
				must(t, with.set(x))
			}
			c, d := fusedCopies(t, o, sizes), fusedCopies(t, blocks, sizes)
			anyBits := with.name != "to a norm" && with.name != "skipping"
			for step := 1; step <= 18 && !t.Failed(); step++ {
				what := fmt.Sprintf("%s, %s, table %v, step %d", s.Name, with.name, o.Table(), step)
				grads, same := fusedGrads(sizes, step, anyBits), fusedGrads(sizes, step, anyBits)
				if step == 7 { // options of the same kernel, or of another
					to := o.Rules()[0]
					must(t, o.SetRule(0, to))
				}
				must(t, o.StepTyped(p, grads))
				must(t, blocks.StepTyped(q, same))
				wantFused(t, what, o, blocks, p, q, c, d)
				for j, g := range grads {
					if !slices.Equal(bitsOf(g), bitsOf(same[j])) {
						t.Errorf("%s: the gradient of tensor %d is another", what, j)
					}
				}
			}
		}
	}
	if n == 0 {
		t.Error("no rule has a fused kernel")
	}
}

func bitsOf(g update.Typed) []update.BF16 {
	if g.IsNil() {
		return nil
	}
	return g.BF16()
}

// TestFusedRanges carries out a step in ranges, by goroutines.
func TestFusedRanges(t *testing.T) {
	sizes := []int{5, 40, 3*tune.UnitLen + 11, 0, 1000}
	for n, rule := range []update.Rule{plainAdam, registry.Get("lion"), registry.Get("momentum"), registry.Get("adagrad")} {
		o, p, _ := newSet(t, sizes, rule)
		blocks, q, _ := newSet(t, sizes, rule)
		update.Unfused(blocks)
		copies := func(o *update.Optimizer) [][]update.BF16 {
			var list [][]update.BF16
			for _, n := range sizes {
				list = append(list, make([]update.BF16, n))
			}
			must(t, o.SetCopies(update.TypedList(list)))
			return list
		}
		c, d := copies(o), copies(blocks)
		for step := 1; step <= 17; step++ {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(step)))
			grads := make([][]update.BF16, len(sizes))
			for k, size := range sizes {
				grads[k] = make([]update.BF16, size)
				fallback.NarrowBF16(grads[k], uniform(size, rng.Uint64()))
			}
			must(t, o.Begin())
			var running sync.WaitGroup
			for k, size := range sizes {
				for at := 0; at < size; {
					lo, hi := at, min(size, at+1+rng.IntN(size))
					running.Go(func() {
						if err := o.ApplyTyped(k, lo, p[k][lo:hi], update.TypedOf(grads[k][lo:hi])); err != nil {
							t.Error(err)
						}
					})
					at = hi
				}
			}
			running.Wait()
			must(t, o.End())
			must(t, blocks.StepTyped(q, update.TypedList(grads)))
			wantFused(t, fmt.Sprintf("%s, step %d", rule.Name(), step), o, blocks, p, q, c, d)
		}
	}
}

// TestFusedForms compares steps of Adam without a copy, on halves of parameters, and with halves of
// moments and codes, with the same block by block, on every table, with stages around the kernel and workers.
func TestFusedForms(t *testing.T) {
	sizes, n := append(fusedSizes(), 4097, 6*tune.PackLen, 3*tune.UnitLen), 0
	none := make([][]update.BF16, len(sizes))
	for _, table := range kernels.Available() {
		for _, form := range []string{"alone", "halves", "moments", "codes", "codes along float32"} {
			for _, with := range fusedSettings {
				n++
				if testing.Short() && n%5 > 0 {
					continue
				}
				newOne := func(blocks bool) (*update.Optimizer, [][]float32) {
					o, p, _ := newSet(t, sizes, plainAdam)
					if blocks {
						update.Unfused(o)
					}
					must(t, o.SetTable(table))
					must(t, with.set(o))
					switch form {
					case "moments":
						must(t, stateTypes(update.StateBF16, update.StateBF16)(o))
					case "codes", "codes along float32":
						must(t, stateTypes(update.StateFloat8, update.StateFloat8)(o))
					}
					return o, p
				}
				o, p := newOne(false)
				blocks, q := newOne(true)
				must(t, o.SetWorkers([]int{1, 2, 7}[n%3]))
				h, r := split(t, p)
				d, s := split(t, q)
				anyBits := with.name != "to a norm" && with.name != "skipping"
				for step := 1; step <= 18 && !t.Failed(); step++ {
					grads, same := fusedGrads(sizes, step, anyBits), fusedGrads(sizes, step, anyBits)
					if form == "halves" {
						must(t, o.StepSplit(h, r, grads))
						must(t, blocks.StepSplit(d, s, same))
						p, q = joined(t, h, r), joined(t, d, s)
					} else if form == "codes along float32" {
						must(t, o.StepSet(p, widened(grads)))
						must(t, blocks.StepSet(q, widened(same)))
					} else {
						must(t, o.StepTyped(p, grads))
						must(t, blocks.StepTyped(q, same))
					}
					what := fmt.Sprintf("%s, %s, table %v, step %d", form, with.name, table, step)
					wantFused(t, what, o, blocks, p, q, none, none)
					for k, g := range grads {
						if !slices.Equal(bitsOf(g), bitsOf(same[k])) {
							t.Errorf("%s: the gradient of tensor %d is another", what, k)
						}
					}
					switch {
					case step%6 > 0:
					case form == "moments":
						wantSameHalves(t, what, statesOf(t, o), statesOf(t, blocks))
					case strings.HasPrefix(form, "codes"):
						wantSameCodes(t, what, statesOf(t, o), statesOf(t, blocks))
					}
				}
			}
		}
	}
}

// TestFusedFlushes has small state of 8 bits become zeros in blocks that the kernel packs: of whole
// rows, and of a row's first elements.
func TestFusedFlushes(t *testing.T) {
	n := tune.SmallLen + 2*tune.PackLen
	coded := func() *update.Optimizer {
		o := newOne(t, n, plainAdam)
		must(t, stateTypes(update.StateFloat8, update.StateFloat8)(o))
		return o
	}
	o, blocks := coded(), coded()
	update.Unfused(blocks)
	p, q, g := make([]float32, n), make([]float32, n), make([]float32, n)
	for step := 1; step <= 33; step++ {
		for i := range g {
			switch place := i % tune.PackLen; {
			case place < tune.ScaleLen: // of which v is small
				g[i] = 1e-15
			case place >= 3*tune.ScaleLen || place >= 2*tune.ScaleLen && place%2 > 0: // of which m is, and then no gradient comes
				if g[i] = 0; step < 4 {
					g[i] = 1e-32
				}
			default:
				g[i] = float32(step%3) - 1
			}
		}
		must(t, o.Step(p, g))
		must(t, blocks.Step(q, g))
		if !slices.Equal(p, q) {
			t.Errorf("step %d: parameters are others", step)
		}
		states := statesOf(t, o)
		wantSameCodes(t, fmt.Sprint("step ", step), states, statesOf(t, blocks))
		flushed := states[0].Typed["v"].Scales[0] == 0 && states[0].Typed["m"].Scales[3] == 0
		if want := step%16 == 0; flushed != want && step >= 16 && step%16 < 3 {
			t.Errorf("step %d: small state is 0: %v, want %v", step, flushed, want)
		}
	}
}

// wantSameHalves compares moments of BF16, of which a NaN is like another.
func wantSameHalves(t *testing.T, what string, states, others []update.TensorState) {
	t.Helper()
	for k, s := range states {
		for name, x := range s.Typed {
			for i, a := range x.BF16 {
				if b := others[k].Typed[name].BF16[i]; a != b && (a.Float32() == a.Float32() || b.Float32() == b.Float32()) {
					t.Errorf("%s: %s[%d] of tensor %d is %#x, want %#x", what, name, i, k, a, b)
					break
				}
			}
		}
	}
}

// wantSameCodes compares moments of 8 bits.
func wantSameCodes(t *testing.T, what string, states, others []update.TensorState) {
	t.Helper()
	for k, s := range states {
		for name, x := range s.Typed {
			y := others[k].Typed[name]
			if !slices.Equal(x.Codes, y.Codes) || !slices.Equal(x.Scales, y.Scales) {
				t.Errorf("%s: %s of tensor %d are others", what, name, k)
			}
		}
	}
}

// widened are gradients as float32.
func widened(grads []update.Typed) [][]float32 {
	list := make([][]float32, len(grads))
	for k, g := range grads {
		if !g.IsNil() {
			list[k] = make([]float32, g.Len())
			g.Widen(0, list[k])
		}
	}
	return list
}

// stateTypes sets those of both moments.
func stateTypes(m, v update.StateType) func(o *update.Optimizer) error {
	return func(o *update.Optimizer) error {
		return o.SetStateTypes(map[string]update.StateType{"m": m, "v": v}, 7)
	}
}

// TestFusedRuns has the fused kernels take what they can and no more.
func TestFusedRuns(t *testing.T) {
	sizes := []int{5, 40, 3*tune.UnitLen + 11}
	for name, c := range map[string]struct {
		set     func(o *update.Optimizer) error
		share   func(k int) bool // of a tensor's copy
		grads   func(n int) update.Typed
		step    int
		tensors []int
		blocks  int  // the tensor whose whole blocks of codes go there, or 0
		widened bool // before
	}{
		"alone":                    {tensors: []int{0, 1, 2}},
		"to a norm":                {set: func(o *update.Optimizer) error { return o.SetMaxNorm(1e-3) }, tensors: []int{0, 1, 2}},
		"where state is looked at": {step: 15},
		"along float16":            {grads: func(n int) update.Typed { return update.TypedOf(make([]update.F16, n)) }},
		"with some copies":         {share: func(k int) bool { return k == 1 }, tensors: []int{0, 1, 2}},
		"without copies":           {share: func(int) bool { return false }, tensors: []int{0, 1, 2}},
		"halves of moments":        {share: func(int) bool { return false }, set: stateTypes(update.StateBF16, update.StateBF16), tensors: []int{0, 1, 2}},
		"halves and codes":         {share: func(int) bool { return false }, set: stateTypes(update.StateBF16, update.StateFloat8), tensors: []int{0, 1}},
		"halves, with copies":      {set: stateTypes(update.StateBF16, update.StateBF16), tensors: []int{0, 1}},
		"codes":                    {share: func(int) bool { return false }, set: stateTypes(update.StateFloat8, update.StateFloat8), tensors: []int{0, 1}, blocks: 2},
		"codes, clipped": {set: func(o *update.Optimizer) error {
			return errors.Join(o.SetMaxValue(1), stateTypes(update.StateFloat8, update.StateFloat8)(o))
		}, blocks: 2, widened: true},
		"codes, with copies":              {set: stateTypes(update.StateFloat8, update.StateFloat8), tensors: []int{0, 1}, blocks: 2},
		"codes, where state is looked at": {set: stateTypes(update.StateFloat8, update.StateFloat8), step: 15, blocks: 2, widened: true},
		"codes, along float16": {set: stateTypes(update.StateFloat8, update.StateFloat8),
			grads: func(n int) update.Typed { return update.TypedOf(make([]update.F16, n)) }, blocks: 2, widened: true},
		"clipped":   {set: func(o *update.Optimizer) error { return o.SetMaxValue(1) }},
		"averaging": {set: func(o *update.Optimizer) error { return o.SetAverage(update.Averaging{Every: 1, Decay: .5}) }},
	} {
		o, p, _ := newSet(t, sizes, plainAdam)
		var elements, widened atomic.Int64
		update.CountFused(o, &elements, &widened)
		list, grads, want := make([]update.Typed, len(sizes)), make([]update.Typed, len(sizes)), int64(0)
		for k, n := range sizes {
			if grads[k] = update.TypedOf(make([]update.BF16, n)); c.grads != nil {
				grads[k] = c.grads(n)
			}
			if c.share == nil || c.share(k) {
				list[k] = update.TypedOf(make([]update.BF16, n))
			}
		}
		must(t, o.SetCopies(list))
		if c.set != nil {
			must(t, c.set(o))
		}
		must(t, o.SetSteps(int64(c.step)))
		must(t, o.StepTyped(p, grads))
		for _, k := range c.tensors {
			want += int64(sizes[k])
		}
		blocks, wantWidened := int64(sizes[c.blocks]/tune.PackLen*tune.PackLen), int64(0)
		switch {
		case c.blocks > 0 && c.widened:
			wantWidened = blocks
		case c.blocks > 0:
			want += blocks
		}
		if got := elements.Load(); got != want {
			t.Errorf("%s: %d elements went through the fused kernels, want %d", name, got, want)
		}
		if got := widened.Load(); got != wantWidened {
			t.Errorf("%s: %d elements went through the kernel along float32, want %d", name, got, wantWidened)
		}
	}
}
