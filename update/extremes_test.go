package update

import (
	"math"
	"testing"
)

// TestExactMoments are numbers that a careless form loses.
func TestExactMoments(t *testing.T) {
	// A small gradient after a large one, where the mean has no memory.
	o := mustNew(t, 1, Adam{Options: Options{LR: 1e-3}, Eps: 1e-8})
	p := []float32{0}
	must(t, o.Step(p, []float32{1}))
	must(t, o.Step(p, []float32{1e-8}))
	if m := buffer(o, 0, "m")[0]; m != 1e-8 {
		t.Errorf("m is %g, want 1e-8", m)
	}
	// v settles at the mean square, however long its memory.
	for _, beta2 := range []float64{.999, .99999, .999999} {
		o := mustNew(t, 1, Adam{Options: Options{LR: 1e-9}, Beta1: .9, Beta2: beta2, Eps: 1e-8})
		buffer(o, 0, "v")[0] = 1.1
		for range 20000 {
			must(t, o.Step(p, []float32{1}))
		}
		want := 1 + .1*math.Pow(beta2, 20000)
		if v := float64(buffer(o, 0, "v")[0]); math.Abs(v-want) > .004 {
			t.Errorf("β₂ %g: v is %g, want %g", beta2, v, want)
		}
	}
}

// TestHugeNorms clips gradients whose norm makes a factor that is no normal float32, or
// none at all, in the kernel and in the stage of L1.
func TestHugeNorms(t *testing.T) {
	for _, c := range []struct {
		size    float32
		n       int
		maxNorm float64
		options Options
	}{
		{1e38, 4, 1, Options{LR: 1e-7}}, {3e38, 1 << 16, 1, Options{LR: 1e-7}}, {3e38, 4, 1e-8, Options{LR: 1}},
		{1e38, 4, 1, Options{LR: 1e-7, L1: 1}}, {3e38, 4, 1e-5, Options{LR: 1, L1: 1}}, {3e38, 4, 1e-8, Options{LR: 1, L1: 1}},
	} {
		o := mustNew(t, c.n, SGD{c.options})
		must(t, o.SetMaxNorm(c.maxNorm))
		p, g := make([]float32, c.n), make([]float32, c.n)
		for i := range g {
			g[i] = c.size
		}
		must(t, o.Step(p, g))
		want := -c.options.LR * c.maxNorm / math.Sqrt(float64(c.n))
		if math.Abs(float64(p[0])-want) > 1e-6*-want {
			t.Errorf("%d gradients of %g, clipped to %g, with %+v move parameters to %g, want %g", c.n, c.size, c.maxNorm, c.options, p[0], want)
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
		o := mustNew(t, 3, c.r)
		must(t, o.SetPolicy(Skip))
		must(t, o.SetGradScale(c.scale))
		must(t, o.Step([]float32{1, 1, 1}, []float32{1, c.g, 1}))
		if o.NonFinite() != c.want || o.Skipped() != c.want {
			t.Errorf("%s, gradient %g scaled by %g: %d beyond, %d skipped, want %d", c.r.Name(), c.g, c.scale, o.NonFinite(), o.Skipped(), c.want)
		}
	}
}

// TestAllowsZeroEps has options beside which an eps of 0 does no harm, and rates that
// float32 makes something else of.
func TestAllowsZeroEps(t *testing.T) {
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
