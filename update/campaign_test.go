package update

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var all = flag.Bool("all", false, "run the whole campaign of random options")

// A trajectory is a rule in some arithmetic: what becomes of one parameter.
type trajectory[F float32 | float64] struct {
	p, m, v, h, b F
	t             int
}

// f32 is arithmetic that rounds each operation to float32, f64 to float64.
type arithmetic[F float32 | float64] struct {
	round func(float64) F
	root  func(F) F
}

var (
	f32 = arithmetic[float32]{func(x float64) float32 { return float32(x) }, func(x float32) float32 { return float32(math.Sqrt(float64(x))) }}
	f64 = arithmetic[float64]{func(x float64) float64 { return x }, math.Sqrt}
)

// step takes a step of the rule as PyTorch's loop does, operation by operation; of Lion
// as Optax does. In float64 it is the oracle, in float32 a plain loop whose error ours
// is held against.
func step[F float32 | float64](a arithmetic[F], s *trajectory[F], r Rule, g, scale float64) {
	s.t++
	o := r.options()
	lr := o.LR
	x := F(a.round(g) * a.round(scale))
	if o.L2 != 0 {
		x = F(x + F(a.round(o.L2)*s.p))
	}
	if o.WeightDecay != 0 {
		s.p = F(s.p * a.round(1-lr*o.WeightDecay))
	}
	ema := func(m F, beta float64, x F) F { // lerp
		if 1-beta < .5 {
			return F(m + F(a.round(1-beta)*F(x-m)))
		}
		return F(x - F(F(x-m)*a.round(beta)))
	}
	squares := func(v F, beta float64, x F) F {
		return F(F(v*a.round(beta)) + F(a.round(1-beta)*F(x*x)))
	}
	switch r := r.(type) {
	case SGD:
		s.p = F(s.p - F(a.round(lr)*x))
	case Momentum:
		input := 1.
		if s.t > 1 {
			input = 1 - r.Dampening
		}
		s.b = F(F(a.round(r.Momentum)*s.b) + F(a.round(input)*x))
		d := s.b
		if r.Nesterov {
			d = F(x + F(a.round(r.Momentum)*s.b))
		}
		s.p = F(s.p - F(a.round(lr)*d))
	case AdaGrad:
		s.v = F(s.v + F(x*x))
		s.p = F(s.p - F(a.round(lr/(1+float64(s.t-1)*r.LRDecay))*F(x/F(a.root(s.v)+a.round(r.Eps)))))
	case Adam:
		s.m, s.v = ema(s.m, r.Beta1, x), squares(s.v, r.Beta2, x)
		c1, c2 := 1-math.Pow(r.Beta1, float64(s.t)), -math.Expm1(float64(s.t)*math.Log(r.Beta2))
		v := s.v
		if r.AMSGrad {
			s.h = max(s.h, s.v)
			v = s.h
		}
		den := F(F(a.root(v)/a.round(math.Sqrt(c2))) + a.round(r.Eps))
		s.p = F(s.p - F(a.round(lr/c1)*F(s.m/den)))
	case RMSprop:
		s.v = squares(s.v, r.Rho, x)
		v := s.v
		if r.Centered {
			s.m = ema(s.m, r.Rho, x)
			v = max(F(v-F(s.m*s.m)), 0)
		}
		u := F(x / F(a.root(v)+a.round(r.Eps)))
		if r.Momentum != 0 {
			s.b = F(F(a.round(r.Momentum)*s.b) + u)
			u = s.b
		}
		s.p = F(s.p - F(a.round(lr)*u))
	case Lion:
		c := F(F(a.round(r.Beta1)*s.m) + F(a.round(1-r.Beta1)*x))
		if c != 0 {
			s.p = F(s.p - F(a.round(lr)*F(math.Copysign(1, float64(c)))))
		}
		s.m = F(F(a.round(r.Beta2)*s.m) + F(a.round(1-r.Beta2)*x))
	}
}

// A draw makes random options.
type draw struct{ *rand.Rand }

// power is 10 to a power between two.
func (d draw) power(low, high float64) float64 { return math.Pow(10, low+(high-low)*d.Float64()) }

// beta is 0, or below 1 by 1e-7 or more.
func (d draw) beta() float64 {
	if d.IntN(8) == 0 {
		return 0
	}
	return 1 - d.power(-7, -.001)
}

func (d draw) options() Options {
	o := Options{LR: d.power(-6, -1)}
	if d.IntN(2) == 0 {
		o.WeightDecay = d.power(-9, 0) / o.LR
	}
	if d.IntN(3) == 0 {
		o.L2 = d.power(-9, 0)
	}
	return o
}

// kinds make a rule of each kind with random options.
var kinds = map[string]func(d draw) Rule{
	"SGD": func(d draw) Rule { return SGD{d.options()} },
	"Momentum": func(d draw) Rule {
		return Momentum{Options: d.options(), Momentum: min(d.beta(), .9999), Dampening: float64(d.IntN(2)) / 2}
	},
	"Nesterov": func(d draw) Rule {
		return Momentum{Options: d.options(), Momentum: max(.1, min(d.beta(), .9999)), Nesterov: true}
	},
	"AdaGrad": func(d draw) Rule {
		return AdaGrad{Options: d.options(), Eps: d.power(-15, 0), LRDecay: float64(d.IntN(2)) * .1}
	},
	"Adam": func(d draw) Rule {
		return Adam{Options: d.options(), Beta1: d.beta(), Beta2: max(1e-3, d.beta()), Eps: d.power(-15, 0)}
	},
	"AMSGrad": func(d draw) Rule {
		return Adam{Options: d.options(), Beta1: d.beta(), Beta2: max(1e-3, d.beta()), Eps: d.power(-15, 0), AMSGrad: true}
	},
	"RMSprop": func(d draw) Rule {
		return RMSprop{Options: d.options(), Rho: d.beta(), Eps: d.power(-15, 0), Momentum: float64(d.IntN(2)) * .9}
	},
	"Lion": func(d draw) Rule { return Lion{Options: d.options(), Beta1: d.beta(), Beta2: d.beta()} },
}

// gradients are steady, sparse or noisy, of about one size.
func (d draw) gradients(n, steps int) [][]float64 {
	size, form := d.power(-38, 8), d.IntN(3)
	list := make([][]float64, steps)
	for k := range list {
		list[k] = make([]float64, n)
		for i := range list[k] {
			switch form {
			case 0:
				list[k][i] = size * float64(i+1) / float64(n)
			case 1:
				if d.IntN(10) == 0 {
					list[k][i] = size * d.NormFloat64()
				}
			case 2:
				list[k][i] = size * d.NormFloat64()
			}
		}
	}
	return list
}

// TestCampaign runs random options beside float64, and beside a plain float32 loop in a
// framework's order. The error is that of all parameters, relative to the largest that
// each has been; ours is at most 1.5 times the loop's in the root of the mean square, for
// each rule.
func TestCampaign(t *testing.T) {
	if emulated {
		t.Skip("a few configurations are no statistics, and the bits are those of every table")
	}
	runs := 20
	if *all {
		runs = 250
	}
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var ours, plain []float64
		for seed := range runs {
			d := draw{rand.New(rand.NewPCG(uint64(seed), 99))}
			a, b := campaign(t, d, kinds[name](d))
			ours, plain = append(ours, a...), append(plain, b...)
		}
		x, y := rms(ours), rms(plain)
		t.Logf("%-9s %d configurations; units of 2⁻²⁴, ours beside the plain loop: median %.2g %.2g, 90%% %.3g %.3g, 99%% %.3g %.3g, root mean square %.3g %.3g",
			name, runs, quantile(ours, .5), quantile(plain, .5), quantile(ours, .9), quantile(plain, .9), quantile(ours, .99), quantile(plain, .99), x, y)
		if x > 1.5*y+.5 {
			t.Errorf("%s: the error is %.3g units of 2⁻²⁴, that of a plain loop %.3g", name, x, y)
		}
	}
}

// campaign is the errors of one configuration, in units of 2⁻²⁴, of ours and of the plain
// loop. Where float64 leaves float32, or the loop ends as no number, there is no error to
// compare.
func campaign(t *testing.T, d draw, r Rule) (ours, plain []float64) {
	t.Helper()
	const n, steps = 32, 100
	scale := d.power(-30, 30)
	grads := d.gradients(n, steps)
	o := mustNew(t, n, r)
	must(t, o.SetGradScale(float64(float32(scale))))
	p, g := make([]float32, n), make([]float32, n)
	exact, loop, size := make([]trajectory[float64], n), make([]trajectory[float32], n), make([]float64, n)
	for i := range p {
		p[i] = float32(d.NormFloat64())
		exact[i].p, loop[i].p = float64(p[i]), p[i]
	}
	for _, row := range grads {
		for i, x := range row {
			g[i] = float32(x / scale)
			size[i] = max(size[i], math.Abs(exact[i].p))
			step(f64, &exact[i], r, float64(g[i]), float64(float32(scale)))
			step(f32, &loop[i], r, float64(g[i]), float64(float32(scale)))
		}
		must(t, o.Step(p, g))
	}
	for i := range p {
		want := exact[i].p
		size[i] = max(size[i], math.Abs(want), 1e-30)
		if math.IsInf(float64(loop[i].p), 0) || loop[i].p != loop[i].p || !(math.Abs(want) < math.MaxFloat32) || !(math.Abs(float64(g[i])) < math.MaxFloat32) {
			continue
		}
		off := func(x float32) float64 { return min(math.Abs(float64(x)-want)/size[i]*(1<<24), 1e4) }
		if p[i] != p[i] {
			t.Fatalf("%+v, scale %g: %v ends as NaN, want %g", r, scale, p[i], want)
		}
		ours, plain = append(ours, off(p[i])), append(plain, off(loop[i].p))
	}
	return ours, plain
}

func rms(x []float64) float64 {
	sum := 0.
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(max(1, len(x))))
}

func quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(x))[int(q*float64(len(x)-1))]
}

// TestSmallDecay trains with decays that are nothing beside 1 in float32, with noise
// that moves parameters on: what decays is within 1 % of float64's.
func TestSmallDecay(t *testing.T) {
	const n, steps, noise = 4096, 2000, 1e-4
	products := []float64{1e-6, 3e-8, 1e-8, 1e-9}
	if testing.Short() {
		products = products[2:3] // fewer steps leave too few numbers for an average
	}
	for _, c := range []struct {
		name string
		of   func(lr, decay float64) Rule
	}{
		{"SGD, decay", func(lr, d float64) Rule { return SGD{Options{LR: lr, WeightDecay: d}} }},
		{"SGD, L2", func(lr, d float64) Rule { return SGD{Options{LR: lr, L2: d}} }},
		{"Momentum", func(lr, d float64) Rule {
			return Momentum{Options: Options{LR: lr, WeightDecay: d}, Momentum: .9}
		}},
		{"AdaGrad", func(lr, d float64) Rule { return AdaGrad{Options: Options{LR: lr, WeightDecay: d}, Eps: 1e-8} }},
		{"Adam", func(lr, d float64) Rule {
			return Adam{Options: Options{LR: lr, WeightDecay: d}, Beta1: .9, Beta2: .999, Eps: 1e-8}
		}},
		{"Lion", func(lr, d float64) Rule { return Lion{Options: Options{LR: lr, WeightDecay: d}, Beta1: .9, Beta2: .99} }},
		{"RMSprop", func(lr, d float64) Rule {
			return RMSprop{Options: Options{LR: lr, WeightDecay: d}, Rho: .99, Eps: 1e-8}
		}},
	} {
		for _, product := range products {
			const lr = 1e-4
			decayed, plain := mustNew(t, n, c.of(lr, product/lr)), mustNew(t, n, c.of(lr, 0))
			p, q, g := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range p {
				p[i], q[i] = 1+float32(i)/n, 1+float32(i)/n
			}
			rng := rand.New(rand.NewPCG(1, 1))
			left := 0. // logarithm of what is left
			for range steps {
				rate := lr * (.5 + rng.Float64()) // or the steps of Lion are all alike
				left += math.Log1p(-product * rate / lr)
				must(t, decayed.SetLR(rate))
				must(t, plain.SetLR(rate))
				for i := range g {
					g[i] = float32(rng.NormFloat64() * noise / lr)
				}
				must(t, decayed.Step(p, g))
				must(t, plain.Step(q, g))
			}
			got, want := 0., 0.
			for i := range p {
				got += float64(q[i]) - float64(p[i])
				want += float64(q[i]) * -math.Expm1(left)
			}
			// What rounding leaves of so many numbers is noise of its own.
			slack := math.Sqrt(n*steps) * 0x1p-24 * 8
			if math.Abs(got-want) > .01*want+slack {
				t.Errorf("%s, %g: what has decayed is %.3f of what should", c.name, product, got/want)
			}
		}
	}
}

// TestSteady has Adam take one gradient for ever, from the smallest to the largest, with
// parameters that begin at 0: the displacement is float64's within 1.02, and no step is
// longer by more, wherever a loop that flushes nothing keeps to that.
func TestSteady(t *testing.T) {
	steps := 1000
	if testing.Short() {
		steps = 200
	}
	for _, b2 := range []float64{.9, .99, .999, .9999, .99999} {
		for _, eps := range []float64{1e-30, 1e-20, 1e-15, 1e-12, 1e-8, 1e-3, 1} {
			r := Adam{Options: Options{LR: 1e-3}, Beta1: .9, Beta2: b2, Eps: eps}
			kept := r
			kept.KeepSubnormals = true
			for power := -38.; power <= 8; power += 1 {
				steady(t, r, kept, float32(math.Pow(10, power)), steps)
			}
		}
	}
}

func steady(t *testing.T, r, kept Adam, g float32, steps int) {
	t.Helper()
	var exact trajectory[float64]
	flushing, all := mustNew(t, 1, r), mustNew(t, 1, kept)
	p, q := []float32{0}, []float32{0}
	holds := true
	failure := ""
	for k := range steps {
		before, last, lastKept := exact.p, p[0], q[0]
		step(f64, &exact, r, float64(g), 1)
		must(t, flushing.Step(p, []float32{g}))
		must(t, all.Step(q, []float32{g}))
		within := func(x, last float32) bool {
			ratio, one := float64(x)/exact.p, (float64(x)-float64(last))/(exact.p-before)
			return ratio < 1.02 && ratio > 1/1.02 && one < 1.02
		}
		holds = holds && within(q[0], lastKept)
		if failure == "" && !within(p[0], last) {
			failure = fmt.Sprintf("%+v, gradient %g: after step %d at %g, want %g", r, g, k+1, p[0], exact.p)
		}
	}
	if holds && failure != "" {
		t.Error(failure)
	}
}

// TestExactMoments are numbers that a careless form loses.
func TestExactMoments(t *testing.T) {
	// A small gradient after a large one, where the mean has no memory.
	o := mustNew(t, 1, Adam{Options: Options{LR: 1e-3}, Eps: 1e-8})
	p := []float32{0}
	must(t, o.Step(p, []float32{1}))
	must(t, o.Step(p, []float32{1e-8}))
	if m := o.Buffer(0, "m")[0]; m != 1e-8 {
		t.Errorf("m is %g, want 1e-8", m)
	}
	// v settles at the mean square, however long its memory.
	for _, beta2 := range []float64{.999, .99999, .999999} {
		o := mustNew(t, 1, Adam{Options: Options{LR: 1e-9}, Beta1: .9, Beta2: beta2, Eps: 1e-8})
		o.Buffer(0, "v")[0] = 1.1
		for range 20000 {
			must(t, o.Step(p, []float32{1}))
		}
		want := 1 + .1*math.Pow(beta2, 20000)
		if v := float64(o.Buffer(0, "v")[0]); math.Abs(v-want) > .004 {
			t.Errorf("β₂ %g: v is %g, want %g", beta2, v, want)
		}
	}
}

// TestJudgesScaled has gradients that are nothing before they are scaled.
func TestJudgesScaled(t *testing.T) {
	for name, r := range rules {
		if _, ok := r.(LAMB); ok {
			continue
		}
		small, plain := mustNew(t, 1, r), mustNew(t, 1, r)
		must(t, small.SetGradScale(1e30))
		p, q := []float32{1}, []float32{1}
		for range 20 {
			must(t, small.Step(p, []float32{1e-30}))
			must(t, plain.Step(q, []float32{1}))
		}
		if math.Abs(float64(p[0]-q[0])) > 1e-5*math.Abs(float64(q[0]))+1e-6 {
			t.Errorf("%s: gradients of 1e-30 scaled by 1e30 lead to %g, want %g", name, p[0], q[0])
		}
	}
}

// TestHugeNorms clips gradients whose norm makes a factor that is no normal float32.
func TestHugeNorms(t *testing.T) {
	for _, c := range []struct {
		size float32
		n    int
	}{{1e38, 4}, {3e38, 1 << 16}} {
		o := mustNew(t, c.n, SGD{Options{LR: 1e-7}})
		must(t, o.SetMaxNorm(1))
		p, g := make([]float32, c.n), make([]float32, c.n)
		for i := range g {
			g[i] = c.size
		}
		must(t, o.Step(p, g))
		want := -1e-7 / math.Sqrt(float64(c.n))
		if math.Abs(float64(p[0])-want) > 1e-6*-want {
			t.Errorf("%d gradients of %g, clipped, move parameters to %g, want %g", c.n, c.size, p[0], want)
		}
	}
}

// TestProximalStays begins at the minimiser of (w-2)²/2 + |w|, which is 1.
func TestProximalStays(t *testing.T) {
	for _, amsGrad := range []bool{false, true} {
		o := mustNew(t, 1, Adam{Options: Options{LR: 1e-3, L1: 1, Proximal: true}, Beta1: .999, Beta2: .999, Eps: 1e-8, AMSGrad: amsGrad})
		w := []float32{1}
		for k := range 2000 {
			before := w[0]
			must(t, o.Step(w, []float32{w[0] - 2}))
			if moved := math.Abs(float64(w[0] - before)); k == 0 && moved > 2.1e-3 {
				t.Errorf("the first step moves %g, two of the rate at most", moved)
			}
		}
		if math.Abs(float64(w[0])-1) > .02 {
			t.Errorf("AMSGrad %v: from the minimum it goes to %g", amsGrad, w[0])
		}
	}
}

// TestPoliciesScaled has gradients that are finite until they are scaled or squared.
func TestPoliciesScaled(t *testing.T) {
	for _, c := range []struct {
		r     Rule
		g     float32
		scale float64
		want  int64
	}{
		{SGD{Options{LR: 1}}, 1e30, 1e10, 1}, {SGD{Options{LR: 1}}, 1e30, 1, 0},
		{adamDefaults, 1e21, 1, 1}, {adamDefaults, 1e11, 1e10, 1}, {adamDefaults, 1e18, 1, 0},
	} {
		for _, clip := range []float64{math.Inf(1), 1e30} {
			o := mustNew(t, 3, c.r)
			must(t, o.SetPolicy(Skip))
			must(t, o.SetGradScale(c.scale))
			must(t, o.SetMaxNorm(clip))
			must(t, o.Step([]float32{1, 1, 1}, []float32{1, c.g, 1}))
			if o.NonFinite() != c.want || o.Skipped() != c.want {
				t.Errorf("%s, gradient %g scaled by %g: %d beyond, %d skipped, want %d", c.r.Name(), c.g, c.scale, o.NonFinite(), o.Skipped(), c.want)
			}
		}
	}
}

// TestRefusesOptions are options that float32 makes something else of.
func TestRefusesOptions(t *testing.T) {
	for _, c := range []struct {
		arg  string
		rule Rule
	}{
		{"Beta2", Adam{Options: Options{LR: 1}, Beta1: .9, Beta2: 1 - 1e-9, Eps: 1e-8}},
		{"Eps", Adam{Options: Options{LR: 1}, Beta1: .9, Beta2: .999}},
		{"Eps", Adam{Options: Options{LR: 1e-3}}},
		{"Eps", Adam{Options: Options{LR: 1}, Beta1: .9, Beta2: .999, Eps: 1e-45}},
		{"Eps", AdaGrad{Options: Options{LR: 1}}},
		{"Eps", RMSprop{Options: Options{LR: 1}, Rho: .9}},
		{"LR", SGD{Options{LR: 1e30, L2: 1e30}}},
		{"LR", Adam{Options: Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}},
		{"LR", Adam{Options: Options{LR: 1, L1: 1, Proximal: true}, Beta1: .9, Beta2: .999, Eps: 1e-40}},
		{"Proximal", Lion{Options: Options{LR: 1, Proximal: true}}},
		{"L1", LAMB{Options: Options{LR: 1, L1: 1}, Beta1: .9, Beta2: .999, Eps: 1e-6}},
	} {
		_, err := New(1, c.rule)
		wantArg(t, err, c.arg, "")
	}
	for name, r := range map[string]Rule{
		"an accumulator": AdaGrad{Options: Options{LR: 1}, InitialAccumulator: .1},
		"the caller":     Adam{Options: Options{LR: 1}, Beta1: .9, Beta2: .999, AllowZeroEps: true},
		"a root":         Adam{Options: Options{LR: 1}, Beta1: .9, Beta2: .999, EpsRoot: 1e-8},
	} {
		if _, err := New(1, r); err != nil {
			t.Errorf("Eps 0 with %s: %v", name, err)
		}
	}
	o := mustNew(t, 1, SGD{Options{LR: 1, WeightDecay: 1e30}})
	wantArg(t, o.SetLR(1e10), "lr", "1e+10")
	must(t, o.SetLR(1e-60)) // a rate that a schedule makes tiny is 0
}
