package update

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// The defaults of PyTorch, which package torch has too.
var (
	adamDefaults = Adam{Options: Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8}
	adamW        = Adam{Options: Options{LR: 1e-3, WeightDecay: 1e-2}, Beta1: .9, Beta2: .999, Eps: 1e-8}
)

// rules take every path: each kernel, and the two stages around it.
var rules = map[string]Rule{
	"sgd":               SGD{Options{LR: .1, L2: .01, WeightDecay: .02}},
	"sgd l1":            SGD{Options{LR: .1, L1: .01}},
	"sgd proximal":      SGD{Options{LR: .1, L1: .01, L2: .02, Proximal: true}},
	"momentum":          Momentum{Options: Options{LR: .1}, Momentum: .9, Dampening: .5},
	"momentum l2":       Momentum{Options: Options{LR: .1, L2: .01}, Momentum: .9, LRInside: true},
	"nesterov":          Momentum{Options: Options{LR: .1}, Momentum: .9, Nesterov: true},
	"nesterov inside":   Momentum{Options: Options{LR: .1, WeightDecay: .02}, Momentum: .9, Nesterov: true, LRInside: true},
	"nesterov proximal": Momentum{Options: Options{LR: .1, L1: .01, Proximal: true}, Momentum: .9, Nesterov: true},
	"adagrad":           AdaGrad{Options: Options{LR: .1}, Eps: 1e-7, LRDecay: .1, InitialAccumulator: .1},
	"adagrad l1":        AdaGrad{Options: Options{LR: .1, L1: .01}, Eps: 1e-7, EpsInside: true},
	"adagrad proximal":  AdaGrad{Options: Options{LR: .1, L1: .01, Proximal: true}, Eps: 1e-7},
	"adam":              adamW,
	"adam l2":           Adam{Options: Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsHat: true},
	"adam uncorrected":  Adam{Options: Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, NoBiasCorrection: true},
	"adam root":         Adam{Options: Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsRoot: 1e-6},
	"adam proximal":     Adam{Options: Options{LR: .01, L1: .1, Proximal: true}, Beta1: .9, Beta2: .99, Eps: 1e-8},
	"amsgrad":           Adam{Options: Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true},
	"amsgrad proximal":  Adam{Options: Options{LR: .01, L1: .1, L2: .1, Proximal: true}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true},
	"lion":              Lion{Options: Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99},
	"lion beta1 small":  Lion{Options: Options{LR: .01, L2: .1}, Beta1: .3, Beta2: .99},
	"rmsprop":           RMSprop{Options: Options{LR: .01}, Rho: .9, Eps: 1e-8},
	"rmsprop centered":  RMSprop{Options: Options{LR: .01, WeightDecay: .1}, Rho: .9, Eps: 1e-7, EpsInside: true, Centered: true, InitialScale: .1},
	"rmsprop momentum":  RMSprop{Options: Options{LR: .01, L1: .1}, Rho: .9, Eps: 1e-8, Momentum: .9},
	"rmsprop both":      RMSprop{Options: Options{LR: .01}, Rho: .9, Eps: 1e-8, Momentum: .9, Centered: true, LRInside: true},
	"lamb":              LAMB{Options: Options{LR: .01, L2: .01}, Beta1: .9, Beta2: .99, Eps: 1e-6, Decay: .1},
	"adam beta1 small":  Adam{Options: Options{LR: .01}, Beta1: .3, Beta2: .4, Eps: 1e-8},
	"amsgrad l1":        Adam{Options: Options{LR: .01, L1: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true},
}

// emulated machines have neither the time nor the clock for large tests.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

// eachRule runs a test for every rule, in order.
func eachRule(t *testing.T, test func(t *testing.T, r Rule)) {
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		t.Run(name, func(t *testing.T) { test(t, rules[name]) })
	}
}

// uniform numbers in [-1, 1).
func uniform(n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.Int32N(1<<24)-1<<23) * 0x1p-23
	}
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustNew(t testing.TB, n int, r Rule) *Optimizer {
	t.Helper()
	o, err := New(n, r)
	must(t, err)
	return o
}

// exported is the state of an optimizer that is not in a step.
func exported(o *Optimizer) State {
	s, err := o.Export()
	if err != nil {
		panic(err)
	}
	return s
}

func sameBits(x, y []float32) bool {
	return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// wantSame compares the state of two optimizers and their parameters.
func wantSame(t *testing.T, what string, a, b *Optimizer, p, q []float32) {
	t.Helper()
	if !sameBits(p, q) {
		t.Errorf("%s: parameters differ", what)
	}
	if a.Steps() != b.Steps() {
		t.Errorf("%s: %d steps and %d", what, a.Steps(), b.Steps())
	}
	for k := range a.tensors {
		for _, name := range a.Buffers(k) {
			if !sameBits(a.Buffer(k, name), b.Buffer(k, name)) {
				t.Errorf("%s: %s of tensor %d differs", what, name, k)
			}
		}
	}
}

func TestWorkers(t *testing.T) {
	n, steps := 1363148, 2 // 1.3 Mi and some
	if testing.Short() {
		n, steps = tune.ParallelLen+77, 1
	}
	start, g := uniform(n, 1), uniform(n, 2)
	eachRule(t, func(t *testing.T, r Rule) {
		var one *Optimizer
		var want []float32
		for _, workers := range []int{1, 2, 3, 7} {
			o, p := mustNew(t, n, r), slices.Clone(start)
			must(t, o.SetWorkers(workers))
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
	eachRule(t, func(t *testing.T, r Rule) {
		if _, ok := r.(LAMB); ok {
			wantArg(t, mustNew(t, n, r).Begin(), "rule", "lamb")
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
	eachRule(t, func(t *testing.T, r Rule) {
		if _, ok := r.(LAMB); ok {
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
				for _, name := range o.Buffers(0) {
					if !sameBits(o.Buffer(0, name)[i:i+1], one.Buffer(0, name)) {
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

// set makes an optimizer of tensors of some sizes, which take the rules in turn.
func set(t testing.TB, sizes []int, rules ...Rule) (o *Optimizer, params, grads [][]float32) {
	t.Helper()
	var tensors []Tensor
	for k, n := range sizes {
		tensors = append(tensors, Tensor{Size: n, Rule: k % len(rules)})
		params = append(params, uniform(n, uint64(2*k+1)))
		grads = append(grads, uniform(n, uint64(2*k+2)))
	}
	o, err := NewSet(tensors, rules...)
	must(t, err)
	return o, params, grads
}

func TestSet(t *testing.T) {
	sizes := []int{0, 1, 0, tune.UnitLen - 1, 1, tune.UnitLen, 1, tune.UnitLen + 1, 5, 0, 2*tune.UnitLen - 1, 2 * tune.UnitLen, 2*tune.UnitLen + 1,
		3000, 1, 2, 3, tune.UnitLen / 2, tune.UnitLen/2 + 1, 0}
	if !testing.Short() {
		sizes = append(sizes, tune.ParallelLen) // so that workers are at work
	}
	var mixed []Rule
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		mixed = append(mixed, rules[name])
	}
	o, params, grads := set(t, sizes, mixed[:7]...)
	must(t, o.SetWorkers(3))
	o2, params2, grads2 := set(t, sizes, mixed[7:]...)
	total := 0
	for _, n := range sizes {
		total += n
	}
	if o.Len() != total {
		t.Errorf("Len is %d, want %d", o.Len(), total)
	}
	for range 2 {
		must(t, o.StepSet(params, grads))
		must(t, o2.StepSet(params2, grads2))
	}
	for k, n := range sizes {
		for _, s := range []struct {
			*Optimizer
			rule Rule
			got  []float32
		}{{o, mixed[:7][k%7], params[k]}, {o2, mixed[7:][k%len(mixed[7:])], params2[k]}} {
			alone, p := mustNew(t, n, s.rule), uniform(n, uint64(2*k+1))
			for range 2 {
				must(t, alone.Step(p, grads[k]))
			}
			if !sameBits(s.got, p) {
				t.Errorf("tensor %d of %d elements differs from one alone", k, n)
			}
			for _, name := range alone.Buffers(0) {
				if !sameBits(s.Buffer(k, name), alone.Buffer(0, name)) {
					t.Errorf("%s of tensor %d differs from one alone", name, k)
				}
			}
		}
	}
}

// TestEmpty steps nothing, which is nowhere.
func TestEmpty(t *testing.T) {
	o := mustNew(t, 0, rules["adam"])
	for range 2 {
		must(t, o.Step(nil, nil))
	}
	if o.Steps() != 2 {
		t.Errorf("%d steps, want 2", o.Steps())
	}
}

// TestOnlyLeftOut has no gradient of the only tensor in some steps.
func TestOnlyLeftOut(t *testing.T) {
	o, want := mustNew(t, 4, adamW), mustNew(t, 4, adamW)
	p, q, g := uniform(4, 1), uniform(4, 1), uniform(4, 2)
	for range 2 {
		must(t, o.StepSet([][]float32{p}, [][]float32{nil}))
		must(t, o.StepSet([][]float32{p}, [][]float32{g}))
		must(t, o.Step(p, g))
		for range 2 {
			must(t, want.Step(q, g))
		}
	}
	if !sameBits(p, q) || o.Steps() != 6 {
		t.Errorf("%g after %d steps, want %g", p, o.Steps(), q)
	}
}

// TestAllocs includes steps after a collection, which empties a sync.Pool, and
// steps whose buffers are not those of the last step.
func TestAllocs(t *testing.T) {
	runs := 10
	if emulated {
		runs = 3
	}
	for _, name := range []string{"sgd", "momentum", "nesterov", "adagrad", "adam", "amsgrad", // no stages
		"momentum l2", "adagrad l1", "adam l2", "amsgrad l1", "sgd l1", // regularize
		"sgd proximal", "nesterov proximal", "adam proximal"} { // shrink, but Adam
		t.Run(name, func(t *testing.T) {
			small, p, g := set(t, []int{5000}, rules[name])
			large, lp, lg := set(t, []int{tune.ParallelLen}, rules[name])
			many, mp, mg := set(t, slices.Repeat([]int{7, 6000, 0, 3000}, 25), rules[name], rules["sgd"])
			big, bp, bg := set(t, slices.Repeat([]int{tune.ParallelLen / 100, tune.ParallelLen/100 + 1}, 50), rules[name])
			must(t, large.SetWorkers(2))
			must(t, big.SetWorkers(2))
			q := slices.Clone(p[0])
			for what, step := range map[string]func(){
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
			} {
				if n := testing.AllocsPerRun(runs, step); n != 0 {
					t.Errorf("%s: %v allocations", what, n)
				}
			}
			collect := func() { runtime.GC(); runtime.GC() }
			alone := testing.AllocsPerRun(3, collect)
			if n := testing.AllocsPerRun(3, func() { collect(); must(t, small.Step(p[0], g[0])) }); n > alone {
				t.Errorf("Step after a collection: %v allocations", n-alone)
			}
			must(t, small.SetPolicy(Refuse))
			if n := testing.AllocsPerRun(runs, func() { must(t, small.Step(p[0], g[0])) }); n != 0 {
				t.Errorf("Step with a policy: %v allocations", n)
			}
		})
	}
}

// pinned are hashes of what TestBits computes.
var pinned = map[string]uint64{
	"adagrad":           0xc888e7fb98ad3b7b,
	"adagrad l1":        0xd7fa1bbb0bfeb74f,
	"adagrad proximal":  0x2e02a317ea836df3,
	"adam":              0x044ced5a4be2ff91,
	"adam beta1 small":  0x6e120a8598472ef7,
	"adam l2":           0xd3ecd5df23d25d4a,
	"adam proximal":     0xfac9a33b2b6981ae,
	"adam root":         0x3b61692d2077b17d,
	"adam uncorrected":  0xc87e0eca0d5c7078,
	"amsgrad":           0x555f6dfccb5fdfb4,
	"amsgrad l1":        0x07ef40e3e0b6859c,
	"amsgrad proximal":  0x4b0d10bef7668158,
	"lamb":              0x2cf551a230bf6984,
	"lion":              0xad69cdfb3994e31b,
	"lion beta1 small":  0x951b10f237a7d327,
	"momentum":          0x771deb264fa0d04e,
	"momentum l2":       0x2a528c2cc7eb9d58,
	"nesterov":          0x0ff351361da4d7a1,
	"nesterov inside":   0x9ad3bb71c027a7fa,
	"nesterov proximal": 0x38c649e653cc8621,
	"rmsprop":           0x2cdbf27c03ea7432,
	"rmsprop both":      0xe95a65960068accd,
	"rmsprop centered":  0x76437ad2e9e6db00,
	"rmsprop momentum":  0x9df1e411cf85089d,
	"sgd":               0x6582ff0898b0e82a,
	"sgd l1":            0xefa973012af05206,
	"sgd proximal":      0x2dc458e2494cf487,
}

// TestBits keeps the bits what they are, whatever the machine: these numbers are
// the same for each LOCKSTEP_ISA and each GOARCH. To change one is to break what
// users rely on.
func TestBits(t *testing.T) {
	const n, steps = 259, 20
	eachRule(t, func(t *testing.T, r Rule) {
		o, p := mustNew(t, n, r), uniform(n, 1)
		must(t, o.SetGradScale(1./3))
		for step := range steps {
			must(t, o.SetLR(r.options().LR*(1-float64(step)/(2*steps))))
			must(t, o.Step(p, uniform(n, uint64(step))))
		}
		h := fnv.New64a()
		must(t, binary.Write(h, binary.LittleEndian, p))
		for _, name := range o.Buffers(0) {
			must(t, binary.Write(h, binary.LittleEndian, o.Buffer(0, name)))
		}
		_, name, _ := strings.Cut(t.Name(), "/")
		name = strings.ReplaceAll(name, "_", " ")
		if got, want := h.Sum64(), pinned[name]; got != want {
			t.Errorf("the bits have changed: %#016x, were %#016x", got, want)
		}
	})
}

// TestNaNStays has one NaN among the gradients, which no other element sees.
func TestNaNStays(t *testing.T) {
	const n, at = 100, 37
	eachRule(t, func(t *testing.T, r Rule) {
		if _, ok := r.(LAMB); ok {
			t.Skip("an element's step depends on all of its tensor")
		}
		o, clean := mustNew(t, n, r), mustNew(t, n, r)
		p, g := uniform(n, 1), uniform(n, 2)
		q, h := slices.Clone(p), slices.Clone(g)
		g[at] = float32(math.NaN())
		for range 3 {
			must(t, o.Step(p, g))
			must(t, clean.Step(q, h))
		}
		if p[at] == p[at] {
			t.Errorf("the NaN has become %g", p[at])
		}
		p[at] = q[at]
		for _, name := range o.Buffers(0) {
			o.Buffer(0, name)[at] = clean.Buffer(0, name)[at]
		}
		wantSame(t, "other elements", o, clean, p, q)
	})
}

// TestMaximize climbs along the gradient and descends along its negative.
func TestMaximize(t *testing.T) {
	const n = 3000
	for name, of := range map[string]func(maximize bool) Rule{
		"sgd":      func(m bool) Rule { return SGD{Options{LR: .1, L2: .1, Maximize: m}} },
		"momentum": func(m bool) Rule { return Momentum{Options: Options{LR: .1, L1: .1, Maximize: m}, Momentum: .9} },
		"nesterov": func(m bool) Rule {
			return Momentum{Options: Options{LR: .1, Maximize: m}, Momentum: .9, Nesterov: true}
		},
		"adagrad": func(m bool) Rule { return AdaGrad{Options: Options{LR: .1, WeightDecay: .1, Maximize: m}, Eps: 1e-8} },
		"adam": func(m bool) Rule {
			return Adam{Options: Options{LR: .1, L1: .1, Proximal: true, Maximize: m}, Beta1: .9, Beta2: .99, Eps: 1e-8}
		},
	} {
		up, down := mustNew(t, n, of(true)), mustNew(t, n, of(false))
		p, g := uniform(n, 1), uniform(n, 2)
		q, h := slices.Clone(p), slices.Clone(g)
		for i := range h {
			h[i] = -h[i]
		}
		for range 5 {
			must(t, up.Step(p, g))
			must(t, down.Step(q, h))
		}
		wantSame(t, name, up, down, p, q)
	}
}

// TestDecay has SGD, for which L2 and decoupled decay are the same, and Adam,
// for which they are not.
func TestDecay(t *testing.T) {
	const n = 1000
	run := func(r Rule) []float32 {
		o, p, g := mustNew(t, n, r), uniform(n, 1), uniform(n, 2)
		for range 5 {
			must(t, o.Step(p, g))
		}
		return p
	}
	coupled, decoupled := run(SGD{Options{LR: .1, L2: .3}}), run(SGD{Options{LR: .1, WeightDecay: .3}})
	for i, x := range coupled {
		if math.Abs(float64(x-decoupled[i])) > 5*2*0x1p-24 { // two roundings in each step
			t.Errorf("SGD: L2 and decoupled decay differ: %g and %g", x, decoupled[i])
		}
	}
	adam := Adam{Beta1: .9, Beta2: .99, Eps: 1e-8}
	l2, decay := adam, adam
	l2.Options, decay.Options = Options{LR: .1, L2: .3}, Options{LR: .1, WeightDecay: .3}
	if sameBits(run(l2), run(decay)) {
		t.Error("Adam: L2 and decoupled decay are the same")
	}
	// Without a gradient a part of the parameter is taken off.
	p := []float32{2, -4}
	must(t, mustNew(t, 2, decay).Step(p, make([]float32, 2)))
	if want := []float32{2 - 2*float32(.1*.3), -4 + 4*float32(.1*.3)}; !sameBits(p, want) {
		t.Errorf("decay takes 2 and -4 to %g, want %g", p, want)
	}
}

// TestL1 has gradients too weak to keep parameters from zero: a proximal step
// arrives there, the subgradient jumps over it.
func TestL1(t *testing.T) {
	const n = 200
	options := Options{LR: .01, L1: .5}
	proximal := options
	proximal.Proximal = true
	for name, of := range map[string]func(o Options) Rule{
		"sgd":      func(o Options) Rule { return SGD{o} },
		"momentum": func(o Options) Rule { return Momentum{Options: o, Momentum: .5, Dampening: .5} },
		"adagrad":  func(o Options) Rule { return AdaGrad{Options: o, Eps: 1e-8, InitialAccumulator: .1} },
		"adam":     func(o Options) Rule { return Adam{Options: o, Beta1: .9, Beta2: .999, Eps: 1e-8} },
	} {
		zeros := func(o Options) (n int) {
			opt, p, g := mustNew(t, 200, of(o)), uniform(200, 1), uniform(200, 2)
			for i := range p {
				p[i], g[i] = p[i]*.1, g[i]*.1+.2 // a slope of at most 0.3
			}
			for range 500 {
				must(t, opt.Step(p, g))
			}
			for _, x := range p {
				if x == 0 {
					n++
				}
			}
			return n
		}
		if got := zeros(proximal); got != n {
			t.Errorf("%s: %d of %d parameters are 0 after proximal steps", name, got, n)
		}
		if got := zeros(options); got != 0 {
			t.Errorf("%s: %d parameters are 0 after subgradients", name, got)
		}
	}
}

// TestText minimizes the text's f(w) = mean((w·x - y)²) from w = 1.
func TestText(t *testing.T) {
	x, y := []float32{1, 2, 3}, []float32{2, 4, 6}
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Momentum{Options: Options{LR: .01}, Momentum: .9, LRInside: true}, "2.0000"},
		{AdaGrad{Options: Options{LR: .01}, Eps: 1e-8}, "1.5375"},
		{Adam{Options: Options{LR: .01}, Beta1: .9, Beta2: .999, Eps: 1e-8}, "2.0000"},
	} {
		o, w, g := mustNew(t, 1, c.rule), []float32{1}, []float32{0}
		for range 1000 {
			g[0] = 0
			for i := range x {
				g[0] += float32(2*x[i]*float32(float32(w[0]*x[i])-y[i])) / 3
			}
			must(t, o.Step(w, g))
		}
		if got := fmt.Sprintf("%.4f", w[0]); got != c.want {
			t.Errorf("%+v arrives at %s, want %s", c.rule, got, c.want)
		}
	}
}

// TestSetLR schedules the learning rate: each step is that of an optimizer with
// this rate from the first.
func TestSetLR(t *testing.T) {
	o, err := NewSet([]Tensor{{Size: 2}, {Size: 2, Rule: 1}}, SGD{Options{LR: 9}}, SGD{Options{LR: 9, L1: 1, Proximal: true}})
	must(t, err)
	p, g := [][]float32{{8, 8}, {8, 8}}, [][]float32{{1, -1}, {1, -1}}
	for _, c := range []struct{ lr, first, second float32 }{{1, 7, 6}, {.5, 6.5, 5}, {0, 6.5, 5}, {.25, 6.25, 4.5}} {
		must(t, o.SetLR(float64(c.lr)))
		must(t, o.StepSet(p, g))
		if p[0][0] != c.first || p[1][0] != c.second {
			t.Errorf("lr %g: %g and %g, want %g and %g", c.lr, p[0][0], p[1][0], c.first, c.second)
		}
	}
	must(t, o.SetRuleLR(1, 1))
	must(t, o.StepSet(p, g))
	if p[0][0] != 6 || p[1][0] != 2.5 {
		t.Errorf("one rule's lr: %g and %g, want 6 and 2.5", p[0][0], p[1][0])
	}
}

// TestGradScale has powers of two, for which the order of factors is nothing.
func TestGradScale(t *testing.T) {
	const n = 3000
	eachRule(t, func(t *testing.T, r Rule) {
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

// TestNotFused has learning rates whose products with another option round in a
// way that a fused product and sum would not. The result is half way between
// two float32, where it shows.
func TestNotFused(t *testing.T) {
	// above is a y for which k·y rounds to product and is above it.
	above := func(k, product float64) float64 {
		y := product / k
		if math.FMA(k, y, -product) <= 0 {
			y = math.Nextafter(y, 1)
		}
		if float64(k*y) != product || math.FMA(k, y, -product) <= 0 {
			t.Fatalf("there is no factor for %g", product)
		}
		return y
	}
	shrink := 0x1p-25 + 0x1p-50 + 0x1p-53
	lrDecay := 0x1p-20 + 0x1p-53
	for _, c := range []struct {
		name    string
		rule    Rule
		p, g, q float32
	}{
		{"proximal L2", SGD{Options{LR: 7, L2: above(7, shrink), Proximal: true}}, 1, 0, 1},
		{"LRDecay", AdaGrad{Options: Options{LR: (1 + 0x1p-20) * (1 + 0x3p-24)}, LRDecay: above(5, lrDecay), AllowZeroEps: true}, 0, 1, -1 - 0x1p-22},
	} {
		o, p := mustNew(t, 1, c.rule), []float32{c.p}
		must(t, o.SetSteps(5))
		must(t, o.Step(p, []float32{c.g}))
		if p[0] != c.q {
			t.Errorf("%s: %v, want %v", c.name, p[0], c.q)
		}
	}
}
