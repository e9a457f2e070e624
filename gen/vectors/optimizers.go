package main

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/draws"
	"github.com/lockstep-go/lockstep/internal/names"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

// optimizers is the file of what optimizers must do, a line each: the presets with their
// options, options that must be refused, what bench/verify trains, and with which types, and
// trajectories of the registry's samples with hashes of what steps leave behind.
func optimizers() []byte {
	var b lines
	for _, e := range registry.All() {
		for _, p := range e.Presets {
			b.add(func() string { return fmt.Sprintf("preset %s %s %s\n", p.Framework, p.Name, options(p.Rule)) })
		}
		for _, r := range e.Refused {
			b.add(func() string { return fmt.Sprintf("refused %s %s %s\n", names.C(r.Arg), r.Value, options(r.Rule)) })
		}
		for _, r := range e.Verified {
			b.add(func() string {
				return fmt.Sprintf("verified %s %s\n", strings.ReplaceAll(r.Name, " ", "_"), options(r.Rule))
			})
		}
	}
	for _, s := range registry.Mixed() {
		for _, m := range registry.Mixes {
			b.add(func() string {
				return fmt.Sprintf("mixed %s %v %v %s %v %s\n", strings.ReplaceAll(s.Name+", "+m.Name, " ", "_"), m.Grads, m.Copies, m.Params, m.State, options(s.Rule))
			})
		}
	}
	for k, e := range registry.All() {
		for _, s := range e.Samples {
			name := strings.ReplaceAll(s.Name, " ", "_")
			b.add(func() string {
				return fmt.Sprintf("whole %s%s %s\n", name, newTrajectory(name, s.Rule, whole, nil).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("missing %s%s %s\n", name, newTrajectory(name, s.Rule, missing, nil).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("clipped %s%s %s\n", name, newTrajectory(name, s.Rule, clipped, nil).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("packed_missing %s%s %s\n", name, newPacked(name, s.Rule, missing).run(), options(s.Rule))
			})
		}
		for _, s := range e.Samples[:min(1, len(e.Samples))] {
			name := strings.ReplaceAll(s.Name, " ", "_")
			b.add(func() string {
				return fmt.Sprintf("observed %s%s %s\n", name, newTrajectory(name, s.Rule, observed, nil).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("followed %s%s %s\n", name, newTrajectory(name, s.Rule, followed, nil).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("sharded %s%s %s\n", name, newTrajectory(name, s.Rule, sharded, nil).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("noisy %s%s %s\n", name, newTrajectory(name, s.Rule, noisy, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("noisy_shards %s%s %s\n", name, newTrajectory(name, s.Rule, noisyShards, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("noisy_whole %s%s %s\n", name, newTrajectory(name, s.Rule, noisyWhole, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("followed_whole %s%s %s\n", name, newTrajectory(name, s.Rule, followedWhole, nil).run(), options(s.Rule))
			})
			b.add(func() string { return typedLines(name, s.Rule, k%3 == 0) })
			b.add(func() string { return packedLines(name, s.Rule) })
		}
		for _, s := range e.Factored {
			name := strings.ReplaceAll(s.Name, " ", "_")
			b.add(func() string {
				return fmt.Sprintf("matrices %s%s %s\n", name, newTrajectory(name, s.Rule, missing, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("clipped_matrices %s%s %s\n", name, newTrajectory(name, s.Rule, clipped, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("observed_matrices %s%s %s\n", name, newTrajectory(name, s.Rule, observed, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("followed_matrices %s%s %s\n", name, newTrajectory(name, s.Rule, followed, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("sharded_matrices %s%s %s\n", name, newTrajectory(name, s.Rule, sharded, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("noisy %s%s %s\n", name, newTrajectory(name, s.Rule, noisy, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("noisy_shards %s%s %s\n", name, newTrajectory(name, s.Rule, noisyShards, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("one_row %s%s %s\n", name, newTrajectory(name, s.Rule, missing, sizes).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("typed_clipped_matrices %s%s %s\n", name, newTyped(name, s.Rule, clipped, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("typed_noisy_shards %s%s %s\n", name, newTyped(name, s.Rule, noisyShards, columns).run(), options(s.Rule))
			})
		}
	}
	for _, s := range muons() {
		if s.Name == "muon_keras" {
			b.add(func() string {
				return fmt.Sprintf("typed_clipped_matrices %s%s %s\n", s.Name, newTyped(s.Name, s.Rule, clipped, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("typed_noisy_shards %s%s %s\n", s.Name, newTyped(s.Name, s.Rule, noisyShards, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("clipped_matrices %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, clipped, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("followed_matrices %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, followed, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("sharded_matrices %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, sharded, columns).run(), options(s.Rule))
			})
			b.add(func() string {
				return fmt.Sprintf("noisy_shards %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, noisyShards, columns).run(), options(s.Rule))
			})
		}
		b.add(func() string {
			return fmt.Sprintf("matrices %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, missing, columns).run(), options(s.Rule))
		})
		b.add(func() string {
			return fmt.Sprintf("one_row %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, missing, sizes).run(), options(s.Rule))
		})
	}
	for _, s := range soaps() {
		b.add(func() string {
			return fmt.Sprintf("missing %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, missing, nil).run(), options(s.Rule))
		})
		b.add(func() string {
			return fmt.Sprintf("matrices %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, missing, columns).run(), options(s.Rule))
		})
		b.add(func() string {
			return fmt.Sprintf("clipped_matrices %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, clipped, columns).run(), options(s.Rule))
		})
		b.add(func() string {
			return fmt.Sprintf("typed_clipped_matrices %s%s %s\n", s.Name, newTyped(s.Name, s.Rule, clipped, columns).run(), options(s.Rule))
		})
		b.add(func() string {
			return fmt.Sprintf("one_row %s%s %s\n", s.Name, newTrajectory(s.Name, s.Rule, missing, sizes).run(), options(s.Rule))
		})
	}
	for _, s := range registry.Samples() {
		name := strings.ReplaceAll(s.Name, " ", "_")
		b.add(func() string {
			if hashes := runRows(name, s.Rule); hashes != "" {
				return fmt.Sprintf("rows %s%s %s\n", name, hashes, options(s.Rule))
			}
			return ""
		})
	}
	for _, s := range []update.LossScaling{update.TorchLossScaling(), {Scale: 65536, Growth: 2, Backoff: .5, Interval: 5}, {Scale: 0x1p125, Growth: 2, Backoff: .5, Interval: 2}, {Scale: 1000, Growth: 1.7, Backoff: .3, Interval: 3}, {Scale: 0x1p-100, Growth: 4, Backoff: .1, Interval: 2}} {
		b.add(func() string {
			return fmt.Sprintf("scaler %x %x %x %d %08x\n", s.Scale, s.Growth, s.Backoff, s.Interval, scales(s))
		})
	}
	return b.bytes()
}

// lines are made on all processors, each by itself.
type lines []func() string

func (l *lines) add(line func() string) { *l = append(*l, line) }

// bytes is the file of the lines, in order.
func (l *lines) bytes() []byte {
	made := make([]string, len(*l))
	var next atomic.Int64
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for k := int(next.Add(1)) - 1; k < len(made); k = int(next.Add(1)) - 1 {
				made[k] = (*l)[k]()
			}
		})
	}
	running.Wait()
	return []byte("Code generated by gen/vectors. DO NOT EDIT.\n" + strings.Join(made, ""))
}

// typedLines are trajectories of gradients of any types, and of copies of parameters: some, or all.
func typedLines(name string, r update.Rule, all bool) string {
	lines := []struct {
		title   string
		kind    kind
		columns []int
	}{
		{"clipped", clipped, nil}, {"followed_whole", followedWhole, nil}, {"noisy_shards", noisyShards, columns},
		{"observed", observed, nil}, {"followed", followed, nil}, {"sharded", sharded, nil}, {"noisy", noisy, columns}, {"noisy_whole", noisyWhole, columns},
	}
	text := ""
	for k, l := range lines {
		if all || k < 3 {
			text += fmt.Sprintf("typed_%s %s%s %s\n", l.title, name, newTyped(name, r, l.kind, l.columns).run(), options(r))
		}
	}
	return text
}

// packedLines are trajectories of state in fewer bits, of a rule that has such.
func packedLines(name string, r update.Rule) string {
	text := ""
	for _, l := range []struct {
		title string
		kind  kind
		typed bool
	}{{"clipped", clipped, false}, {"followed_whole", followedWhole, false}, {"typed_sharded", sharded, true}, {"typed_followed", followed, true}} {
		t := newPacked(name, r, l.kind)
		if t.typed = l.typed; len(t.packable) > 0 {
			text += fmt.Sprintf("packed_%s %s%s %s\n", l.title, name, t.run(), options(r))
		}
	}
	return text
}

// muons are variants of Muon, of which the registry has no samples. Products take time: most
// have few.
func muons() []registry.Sample {
	few := func(r update.Muon, iterations int) update.Muon {
		r.Iterations = iterations
		return r
	}
	plain, unclamped := few(keras.Muon(), 3), few(torch.Muon(), 1)
	plain.Nesterov, plain.RMS, plain.KeepSubnormals = false, 0, true
	unclamped.Unclamped, unclamped.BiasCorrection, unclamped.Nesterov = true, true, false
	adaptive, schatten, spectral, aol := optax.Muon(.02), few(optax.Muon(.02), 1), few(optax.Muon(.02), 1), few(textbook.NorMuon(.02), 2)
	adaptive.Adaptive, adaptive.Dion, adaptive.A, adaptive.B, adaptive.C = true, true, 0, 0, 0
	schatten.SchattenNorm, schatten.Eps, schatten.EpsFloor = true, 0, 1e-4
	spectral.SpectralNorm = true
	aol.AOL, aol.Adaptive, aol.Spectral, aol.RMS, aol.ExactRMS = true, true, false, .2, true
	return []registry.Sample{
		{Name: "muon", Rule: torch.Muon()}, {Name: "muon_keras", Rule: few(keras.Muon(), 1)},
		{Name: "muon_optax", Rule: few(optax.Muon(.02), 2)}, {Name: "muon_plain", Rule: plain}, {Name: "muon_unclamped", Rule: unclamped},
		{Name: "muon_adaptive", Rule: adaptive}, {Name: "muon_schatten", Rule: schatten}, {Name: "muon_spectral", Rule: spectral},
		{Name: "normuon", Rule: few(textbook.NorMuon(.02), 2)}, {Name: "normuon_aol", Rule: aol},
	}
}

// soaps are variants of SOAP, of which the registry has no samples. The longest matrices have
// preconditioners of one side or none.
func soaps() []registry.Sample {
	usual := textbook.SOAP()
	usual.MaxPrecondDim = 70
	often := usual
	often.PreconditionFrequency, often.MaxPrecondDim, often.NormalizeGrads, often.Beta1, often.ShampooBeta = 4, 131, true, .4, .8
	uncorrected := usual
	uncorrected.NoBiasCorrection, uncorrected.KeepSubnormals, uncorrected.MaxPrecondDim = true, true, 12
	return []registry.Sample{{Name: "soap", Rule: usual}, {Name: "soap_often", Rule: often}, {Name: "soap_uncorrected", Rule: uncorrected}}
}

// scales is a hash of the scales of a loss, and of the parameter that steps leave.
func scales(options update.LossScaling) uint32 {
	source, h := newSource("scaler", 0), draws.NewHash()
	s, err := update.NewLossScaler(options)
	must(err)
	o, err := update.New(1, update.SGD{Options: update.Options{LR: 1}})
	must(err)
	must(o.SetPolicy(update.Skip))
	p := []float32{1}
	for range 200 {
		g := []float32{float32(s.Scale() * .25)}
		if source.Below(6) == 0 {
			g[0] = float32(math.Inf(1))
		}
		must(s.StepSet(o, [][]float32{p}, [][]float32{g}))
		must(s.Update())
		h.Doubles(s.Scale())
		h.Floats(p...)
	}
	return h.Sum()
}

// options are a rule's type, and as names of C those options that are not 0.
func options(r update.Rule) string {
	v := reflect.ValueOf(r)
	return v.Type().Name() + fields(v)
}

func fields(v reflect.Value) string {
	text := ""
	for k := range v.NumField() {
		name := " " + names.C(v.Type().Field(k).Name)
		switch f := v.Field(k); {
		case f.Kind() == reflect.Struct:
			text += fields(f)
		case f.IsZero():
		case f.Kind() == reflect.Bool:
			text += name + " 1"
		case f.CanInt():
			text += name + " " + strconv.FormatFloat(float64(f.Int()), 'x', -1, 64)
		default:
			text += name + " " + strconv.FormatFloat(f.Float(), 'x', -1, 64)
		}
	}
	return text
}

// What trajectories are of: c/test/trajectory.c has the same. Longer tensors repeat their
// first numbers.
var sizes = []int{17161, 5, 64, 0, 1000, 4096, 4097, 33}

// columns are those of them as matrices, beside matrices of one row.
var columns = []int{131, 5, 16, 0, 1000, 64, 4097, 11}

// The parameters of one tensor are so small that they fade, before it has gradients; the
// gradients of another are at first so small that their squares are flushed.
const (
	steps   = 50
	period  = 997
	fading  = 4
	faint   = 5
	appears = 20
)

// A kind says what happens in a trajectory.
type kind int

const (
	whole         kind = iota
	missing            // some gradients are, and are clipped by the norm of all for a while
	clipped            // gradients are clipped element by element and tensor by tensor, and some are not finite
	observed           // gradients, of which some are missing and some not finite, are observed in parts
	followed           // some are missing, and averages of the parameters and slow ones follow
	followedWhole      // the same of all
	sharded            // gradients are sums of up to six, of which some are missing, and clipped as above
	noisy              // rows are clipped and centered, and there is noise, with some missing and some not finite
	noisyShards        // the same of sums
	noisyWhole         // the same of all gradients, which are finite
)

// isWhole reports whether all gradients are there.
func (k kind) isWhole() bool { return k == whole || k == followedWhole || k == noisyWhole }

// isSharded reports whether they are sums.
func (k kind) isSharded() bool { return k == sharded || k == noisyShards }

// A trajectory is steps of a rule, and of the same with half the rate for every third
// tensor.
type trajectory struct {
	*source
	o             *update.Optimizer
	rule          update.Rule
	params, grads [][]float32
	shards        [][][]float32 // of the gradients, each with memory of its own
	exponent      float64       // the gradients' factor
	kind          kind

	typed  bool     // gradients are of any types, and parameters have copies
	copies []halves // of each tensor

	packed   bool     // state is in fewer bits
	packable []string // the buffers that may be
}

// halves are numbers of 16 bits, of one of two types.
type halves struct {
	bf16 []update.BF16
	f16  []update.F16
}

// shardsOf is how many a step has.
func shardsOf(step int) int { return 1 + step%6 }

func newTrajectory(name string, rule update.Rule, kind kind, columns []int) *trajectory {
	t := &trajectory{source: newSource(name, 0), rule: rule, kind: kind, exponent: 1}
	var tensors []update.Tensor
	for k, n := range sizes {
		tensors = append(tensors, update.Tensor{Size: n, Rule: groupOf(k)})
		if columns != nil {
			tensors[k].Columns = columns[k]
		}
		t.params, t.grads = append(t.params, make([]float32, n)), append(t.grads, make([]float32, n))
		t.repeat(t.params[k], t.Ordinary)
	}
	for i := range t.params[fading] {
		t.params[fading][i] *= 0x1p-96
	}
	o, err := update.NewSet(tensors, rule, registry.With(rule, func(o *update.Options) { o.LR /= 2 }))
	must(err)
	must(o.SetTable(kernels.Available()[len(kernels.Available())-1])) // the reference
	t.o = o
	return t
}

func newTyped(name string, rule update.Rule, kind kind, columns []int) *trajectory {
	t := newTrajectory(name, rule, kind, columns)
	t.typed = true
	return t
}

func newPacked(name string, rule update.Rule, kind kind) *trajectory {
	t := newTrajectory(name, rule, kind, nil)
	names, err := t.o.Buffers(0)
	must(err)
	for _, name := range names {
		if t.o.SetStateTypes(map[string]update.StateType{name: update.StateBF16}, 0) == nil {
			t.packable = append(t.packable, name)
		}
	}
	t.packed = true
	must(t.o.SetStateTypes(nil, 0))
	return t
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func groupOf(tensor int) int {
	if tensor%3 == 2 {
		return 1
	}
	return 0
}

func (t *trajectory) repeat(x []float32, draw func() float32) {
	for i := range x {
		if i < period {
			x[i] = draw()
		} else {
			x[i] = x[i-period]
		}
	}
}

// run takes the steps, and returns hashes of what some leave behind.
func (t *trajectory) run() string {
	text := ""
	for step := 1; step <= steps; step++ {
		t.change(step)
		grads := t.gradients(step)
		if t.kind == observed && !math.IsInf(t.o.MaxNorm(), 1) {
			t.observe(grads, step)
		}
		if _, ok := t.rule.(update.Sophia); ok && step%4 == 0 && !t.leavesOut() {
			must(t.o.UpdateHessian(grads))
		}
		t.step(grads, step)
		if step%8 == 0 || step == steps {
			text += fmt.Sprintf(" %08x", t.hash())
		}
	}
	return text
}

// step takes a step.
func (t *trajectory) step(grads [][]float32, step int) {
	list := [][][]float32{grads}
	if t.kind.isSharded() {
		list = t.shardsFrom(grads, step)
	}
	switch {
	case t.typed && t.kind.isSharded():
		var shards [][]update.Typed
		for _, grads := range list {
			shards = append(shards, t.narrowed(grads, step))
		}
		must(t.o.StepShardsTyped(t.params, shards))
	case t.typed:
		must(t.o.StepTyped(t.params, t.narrowed(grads, step)))
	case t.kind.isSharded():
		must(t.o.StepShards(t.params, list))
	default:
		must(t.o.StepSet(t.params, grads))
	}
}

// narrowed are gradients of the types that they have in a step: f16 where all are in its range.
func (t *trajectory) narrowed(grads [][]float32, step int) (list []update.Typed) {
	for k, g := range grads {
		switch kind := (k + step) % 3; {
		case g == nil:
			list = append(list, update.Typed{})
		case kind == 2:
			list = append(list, update.TypedOf(g))
		case kind == 1 && t.exponent == 1:
			h := make([]update.F16, len(g))
			fallback.NarrowF16(h, g)
			list = append(list, update.TypedOf(h))
		default:
			h := make([]update.BF16, len(g))
			fallback.NarrowBF16(h, g)
			list = append(list, update.TypedOf(h))
		}
	}
	return list
}

// changeCopies sets copies, of all tensors but one and of other types, and gives them up.
func (t *trajectory) changeCopies(step int) {
	switch step {
	case 2:
		t.copyTo(0)
		must(t.o.WriteCopies(t.params))
	case 19:
		t.copyTo(1)
	case 33:
		t.copies = nil
		must(t.o.SetCopies(nil))
	case 37:
		t.copyTo(0)
	}
}

// copyTo sets copies of zeros.
func (t *trajectory) copyTo(first int) {
	const without = 5
	t.copies = make([]halves, len(sizes))
	list := make([]update.Typed, len(sizes))
	for k, n := range sizes {
		switch c := &t.copies[k]; {
		case k == without:
		case (k+first)%2 == 0:
			c.bf16 = make([]update.BF16, n)
			list[k] = update.TypedOf(c.bf16)
		default:
			c.f16 = make([]update.F16, n)
			list[k] = update.TypedOf(c.f16)
		}
	}
	must(t.o.SetCopies(list))
}

// changeTypes changes those of the state: of every other buffer two, one for both, and none.
func (t *trajectory) changeTypes(step int) {
	switch step {
	case 1:
		t.packAs(5, update.StateBF16, update.StateFloat8)
	case 16:
		t.packAs(1<<63+9, update.StateFloat8, update.StateBF16)
	case 27:
		t.packAs(1, update.StateFloat8, update.StateFloat8)
	case 38:
		t.packAs(0, update.StateFloat32, update.StateFloat32)
	case 41:
		t.packAs(2, update.StateBF16, update.StateFloat32)
	}
}

func (t *trajectory) packAs(seed uint64, of ...update.StateType) {
	types := map[string]update.StateType{}
	for j, name := range t.packable {
		types[name] = of[j%2]
	}
	must(t.o.SetStateTypes(types, seed))
}

// change changes what can be changed between steps.
func (t *trajectory) change(step int) {
	lr := registry.Options(t.rule).LR
	switch step {
	case 10:
		must(t.o.SetGradScale(.5))
	case 12:
		if t.kind == missing {
			must(t.o.SetMaxNorm(3))
		}
	case 20:
		t.scale(0x1p-110)
	case 25:
		t.scale(0x1p110)
	case 30:
		t.scale(1)
	case 35:
		must(t.o.SetRule(0, registry.With(t.rule, func(o *update.Options) { o.Maximize = true })))
	case 40:
		must(t.o.SetMaxNorm(math.Inf(1)))
	case 45:
		must(t.o.SetSteps(1000))
	}
	switch t.kind {
	case clipped, sharded:
		t.changeClipping(step)
	case observed:
		t.changeObserving(step)
	case followed, followedWhole:
		t.changeFollowing(step)
	case noisy, noisyShards, noisyWhole:
		t.changeRows(step)
	}
	if t.typed {
		t.changeCopies(step)
	}
	if t.packed {
		t.changeTypes(step)
	}
	must(t.o.SetRuleLR(0, lr*(1-float64(step)/64)))
	must(t.o.SetRuleLR(1, lr/2*(1-float64(step)/64)))
}

func (t *trajectory) changeClipping(step int) {
	switch step {
	case 1:
		must(t.o.SetPolicy(update.Skip))
	case 3:
		must(t.o.SetMaxValue(.5))
	case 12:
		must(t.o.SetMaxTensorNorm(2))
	case 17:
		must(t.o.SetMaxValue(math.Inf(1)))
	case 28:
		must(t.o.SetMaxValue(.25))
	case 41:
		must(t.o.SetMaxTensorNorm(math.Inf(1)))
		must(t.o.SetMaxNorm(3))
	case 48:
		must(t.o.SetPolicy(update.Propagate))
	}
}

func (t *trajectory) changeObserving(step int) {
	switch step {
	case 1:
		must(t.o.SetPolicy(update.Skip))
		must(t.o.SetMaxNorm(3))
	case 42:
		must(t.o.SetMaxNorm(2))
	}
}

func (t *trajectory) changeFollowing(step int) {
	switch step {
	case 1:
		must(t.o.SetLookahead(update.Lookahead{Period: 3, Step: .5}))
	case 4:
		must(t.o.SetAverage(update.Averaging{Every: 2, After: 5, Decay: .9}))
	case 13:
		must(t.o.SetAverage(update.TorchSWA(0)))
	case 17:
		must(t.o.SetAverage(update.OptaxEMA(.999)))
		must(t.o.SetLookahead(update.Lookahead{Period: 2, Step: .75}))
	case 22:
		must(t.o.SetAverage(update.Averaging{}))
		must(t.o.SetAverage(update.Averaging{Every: 1, After: 21, Decay: .99, WarmUp: true, FromStart: true, Overwrite: 7}))
	case 30: // what is exchanged twice is what it was
		must(t.o.SwapAverage(t.params))
		must(t.o.SwapAverage(t.params))
	case 42:
		must(t.o.SetAverage(update.Averaging{Every: 1, Decay: .25}))
	case 43:
		must(t.o.SetLookahead(update.Lookahead{}))
	}
}

func (t *trajectory) changeRows(step int) {
	inf, whole := math.Inf(1), t.kind == noisyWhole
	switch {
	case step == 1:
		must(t.o.SetNoise(update.OptaxNoise(.01, .55, 7)))
	case step == 2 && !whole:
		must(t.o.SetPolicy(update.Skip))
	case step == 4:
		must(t.o.SetAdaptiveClip(.01, 1e-3))
	case step == 9:
		must(t.o.SetCentralize(true))
	case step == 14:
		must(t.o.SetNoise(update.Noise{}))
	case step == 16 && !whole:
		must(t.o.SetMaxTensorNorm(2))
	case step == 19:
		must(t.o.SetAdaptiveClip(inf, 0))
	case step == 21:
		must(t.o.SetLookahead(update.Lookahead{Period: 2, Step: .5}))
	case step == 23:
		must(t.o.SetAdaptiveClip(.5, .1))
		must(t.o.SetMaxTensorNorm(inf))
	case step == 28:
		must(t.o.SetMaxValue(.25))
	case step == 33:
		must(t.o.SetCentralize(false))
	case step == 36:
		must(t.o.SetNoise(update.Noise{Eta: 1e-4, Gamma: 1, Seed: 1<<63 + 5}))
	case step == 41 && !whole:
		must(t.o.SetMaxNorm(3))
	case step == 44:
		must(t.o.SetCentralize(true))
		must(t.o.SetMaxValue(inf))
	case step == 48:
		must(t.o.SetPolicy(update.Propagate))
	}
}

// shardsFrom are a step's, of which the first has been drawn.
func (t *trajectory) shardsFrom(first [][]float32, step int) [][][]float32 {
	list := [][][]float32{first}
	own := t.grads
	for j := 1; j < shardsOf(step); j++ {
		if len(t.shards) < j {
			t.shards = append(t.shards, nil)
			for _, n := range sizes {
				t.shards[j-1] = append(t.shards[j-1], make([]float32, n))
			}
		}
		t.grads = t.shards[j-1]
		list = append(list, t.gradients(step))
	}
	t.grads = own
	return list
}

// observe has gradients arrive in parts, every other one first: C cuts them otherwise, which
// changes no bit.
func (t *trajectory) observe(grads [][]float32, step int) {
	list := update.TypedList(grads)
	if t.typed {
		list = t.narrowed(grads, step)
	}
	for first := range 2 {
		for k, g := range grads {
			length := 1 + (k*1531+977)%4000
			for lo := first * length; lo < len(g); lo += 2 * length {
				must(t.o.ObserveTyped(k, lo, list[k].Slice(lo, min(lo+length, len(g)))))
			}
		}
	}
}

// scale has gradients that are as large as others once they are scaled.
func (t *trajectory) scale(by float64) {
	must(t.o.SetGradScale(by))
	t.exponent = 1 / by
}

// gradients are ordinary ones and zeros, or such as fade, or vanish.
func (t *trajectory) gradients(step int) [][]float32 {
	list := make([][]float32, len(t.grads))
	for k, g := range t.grads {
		size := 1.0
		switch t.Below(8) {
		case 0:
			size = 0
		case 1:
			size = 0x1p-70
		case 2:
			size = 0x1p-126
		}
		if step < appears {
			size *= early(k)
		}
		factor := float32(size * t.exponent)
		t.repeat(g, func() float32 {
			if x := t.Ordinary(); t.Below(4) > 0 {
				return x * factor
			}
			return 0
		})
		if t.Below(4) > 0 || t.kind.isWhole() {
			list[k] = g
		}
	}
	if t.leavesOut() {
		t.spoil(step)
	}
	return list
}

// leavesOut reports whether steps are skipped.
func (t *trajectory) leavesOut() bool {
	return t.kind == clipped || t.kind == observed || t.kind == sharded || t.kind == noisy || t.kind == noisyShards
}

// spoil makes a gradient infinite, or a finite one so large that its square is not.
func (t *trajectory) spoil(step int) {
	switch step {
	case 5, 15, 21, 43:
		t.grads[0][9999] = float32(math.Inf(1))
	case 2, 6, 16, 18, 29, 44:
		t.grads[7][3] = float32(0x1p66 * t.exponent)
	case 46:
		t.grads[4][500] = float32(math.NaN())
	}
}

// early is the factor of a tensor's first gradients.
func early(tensor int) float64 {
	switch tensor {
	case fading:
		return 0
	case faint:
		return 0x1p-50
	}
	return 1
}

func (t *trajectory) hash() uint32 {
	h := draws.NewHash()
	state, err := t.o.Export()
	must(err)
	for k := range t.params {
		h.Floats(t.params[k]...)
		names, err := t.o.Buffers(k)
		must(err)
		for _, name := range names {
			h.Floats(state.Tensors[k].Buffers[name]...)
			s := state.Tensors[k].Typed[name]
			for _, x := range s.BF16 {
				h.Word(uint64(x))
			}
			for _, x := range s.Codes {
				h.Word(uint64(x))
			}
			h.Floats(s.Scales...)
		}
		if t.copies != nil {
			for _, x := range t.copies[k].bf16 {
				h.Word(uint64(x))
			}
			for _, x := range t.copies[k].f16 {
				h.Word(uint64(x))
			}
		}
	}
	h.Doubles(t.o.GradNorm())
	if t.leavesOut() {
		h.Doubles(float64(t.o.Skipped()), float64(t.o.NonFinite()))
	}
	return h.Sum()
}

// A table of which steps take rows: c/test/rows.c has the same. Lists are of one to four
// units, sorted in part, with rows that are there more than once.
const (
	rows     = 3000
	width    = 21
	longest  = 900
	rowSteps = 20
)

// runRows takes steps on rows, and returns a hash of what they leave behind, or nothing if the
// rule takes none.
func runRows(name string, rule update.Rule) string {
	s := newSource("rows_"+name, 0)
	o, err := update.NewSet([]update.Tensor{{Size: rows * width, Columns: width}}, rule)
	must(err)
	must(o.SetTable(kernels.Available()[len(kernels.Available())-1]))
	p, g, indices := make([]float32, rows*width), make([]float32, longest*width), make([]int64, longest)
	for i := range p {
		p[i] = s.Ordinary()
	}
	for step := range rowSteps {
		if step == 12 {
			must(o.SetMaxNorm(3))
			must(o.SetGradScale(.5))
		}
		n := int(s.Below(longest + 1))
		scale := []float32{0, 0x1p-60, 1, 1}[s.Below(4)]
		for k := range n {
			indices[k] = int64(s.Below(uint32(1 + s.Below(rows))))
		}
		if step%4 == 3 {
			slices.Sort(indices[:n])
		}
		for i := range n * width {
			g[i] = s.Ordinary() * scale
		}
		if err := update.StepRows(o, p, indices[:n], g[:n*width]); err != nil {
			return ""
		}
	}
	h := draws.NewHash()
	h.Floats(p...)
	names, err := o.Buffers(0)
	must(err)
	for _, name := range names {
		b, err := o.Buffer(0, name)
		must(err)
		h.Floats(b...)
	}
	h.Doubles(o.GradNorm())
	return fmt.Sprintf(" %08x", h.Sum())
}
