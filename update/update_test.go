package update

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The defaults of PyTorch, which package torch has too.
var (
	adamDefaults = Adam{Options: Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8}
	adamW        = Adam{Options: Options{LR: 1e-3, WeightDecay: 1e-2}, Beta1: .9, Beta2: .999, Eps: 1e-8}
)

// rules are some of those that package internal/registry has, for tests that look inside
// of this package. All others go through the registry.
var rules = map[string]Rule{
	"sgd":         SGD{Options{LR: .1, L2: .01, WeightDecay: .02}},
	"momentum":    Momentum{Options: Options{LR: .1}, Momentum: .9, Dampening: .5},
	"momentum l2": Momentum{Options: Options{LR: .1, L2: .01}, Momentum: .9, LRInside: true},
	"adagrad":     AdaGrad{Options: Options{LR: .1}, Eps: 1e-7, LRDecay: .1, InitialAccumulator: .1},
	"adam":        adamW,
	"amsgrad":     Adam{Options: Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true},
	"amsgrad l1":  Adam{Options: Options{LR: .01, L1: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true},
	"lamb":        LAMB{Options: Options{LR: .01, L2: .01}, Beta1: .9, Beta2: .99, Eps: 1e-6, Decay: .1},
}

// emulated machines have neither the time nor the clock for large tests.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

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
		for _, name := range slotNames(a, k) {
			if !sameBits(buffer(a, k, name), buffer(b, k, name)) {
				t.Errorf("%s: %s of tensor %d differs", what, name, k)
			}
		}
	}
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
