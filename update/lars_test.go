package update_test

import (
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestLARSTrust has tensors whose norms are 0, for which the ratio is 1, and the divisors of
// Optax and of the paper.
func TestLARSTrust(t *testing.T) {
	r := update.LARS{Options: update.Options{LR: .5, L2: .5}, Trust: .1, TrustEps: 1}
	paper := r
	paper.SeparateNorms = true
	for _, c := range []struct {
		rule       update.LARS
		p, g, want []float32
	}{
		{r, []float32{0, 0}, []float32{3, -4}, []float32{-1.5, 2}},
		{r, []float32{3, -4}, []float32{-1.5, 2}, []float32{3, -4}}, // u is 0
		{r, []float32{3, 4}, []float32{0, 0}, []float32{3 - .25*1.5/3.5, 4 - .25*2/3.5}},
		{paper, []float32{3, 4}, []float32{0, 0}, []float32{2.25, 3}},
		{r, []float32{3, 4}, []float32{1.5, 2}, []float32{3 - .25*3/6, 4 - .25*4/6}},
		{paper, []float32{3, 4}, []float32{-1.5, 2}, []float32{3, 4 - .25*4/6}},
	} {
		p := append([]float32{}, c.p...)
		must(t, newOne(t, 2, c.rule).Step(p, c.g))
		for i := range p {
			if math.Abs(float64(p[i]-c.want[i])) > 1e-6 {
				t.Errorf("%+v: %g with gradients %g moves to %g, want %g", c.rule, c.p, c.g, p, c.want)
			}
		}
	}
}

// TestLARSIsFinite has gradients so small that the trust ratio is no float32: a step is as
// long as ever, or ends where float32 does, and parameters without a gradient stay.
func TestLARSIsFinite(t *testing.T) {
	for _, g := range []float32{1e-45, 1e-42, 1e-39, 1e-36} {
		for _, inside := range []bool{false, true} {
			for _, nesterov := range []bool{false, true} {
				o := newOne(t, 3, update.LARS{Options: update.Options{LR: 1e3}, Momentum: .5, Nesterov: nesterov, LRInside: inside, Trust: 1e-3})
				p := []float32{1, 1, 1}
				must(t, o.Step(p, []float32{g, 0, -g}))
				if length := p[2] - 1; p[1] != 1 || math.Abs(float64(p[0]-(1-length))) > 1e-6 || !(length > 0 && length < 2.5) || g > 1e-37 && length < 1 {
					t.Errorf("gradients of %g (Nesterov %v, LRInside %v) move 1 to %g", g, nesterov, inside, p)
				}
			}
		}
	}
}

// TestNovoGradSteps has a tensor that comes later: its first v is its own first norm. The
// other's v forgets.
func TestNovoGradSteps(t *testing.T) {
	r := update.NovoGrad{Options: update.Options{LR: 1}, Beta1: .5, Beta2: .5, Eps: 1e-8}
	o, err := update.NewSet([]update.Tensor{{Size: 2}, {Size: 2}}, r)
	must(t, err)
	p := [][]float32{{0, 0}, {0, 0}}
	must(t, o.StepSet(p, [][]float32{{3, 4}, nil}))
	must(t, o.StepSet(p, [][]float32{{0, 0}, {6, 8}}))
	for k, want := range []struct {
		v float32
		p [2]float64
	}{{12.5, [2]float64{-.6 - .3, -.8 - .4}}, {100, [2]float64{-.6, -.8}}} {
		if v := buffer(o, k, "v"); len(v) != 1 || v[0] != want.v {
			t.Errorf("v of tensor %d is %g, want %g", k, v, want.v)
		}
		for i, x := range want.p {
			if math.Abs(float64(p[k][i])-x) > 1e-6 {
				t.Errorf("tensor %d is at %g, want %g", k, p[k], want.p)
			}
		}
	}
	if err := o.Begin(); err == nil {
		t.Error("a step by ranges has begun, without norms")
	}
}

// TestNormsAreClipped has norms of gradients as they are clipped, in every way: LARS, whose
// steps do not depend on their size, takes them whatever a tensor's norm is clipped to.
func TestNormsAreClipped(t *testing.T) {
	novograd := update.NovoGrad{Options: update.Options{LR: 1}, Beta1: .5, Beta2: .5, Eps: 1e-8}
	for name, c := range map[string]struct {
		set  func(o *update.Optimizer) error
		want float32 // of (3, 100)
	}{
		"value":  {func(o *update.Optimizer) error { return o.SetMaxValue(4) }, 25},
		"tensor": {func(o *update.Optimizer) error { return o.SetMaxTensorNorm(2) }, 4},
		"norm":   {func(o *update.Optimizer) error { return o.SetMaxNorm(2) }, 4},
		"scale":  {func(o *update.Optimizer) error { return o.SetGradScale(.5) }, 2502.25},
	} {
		o := newOne(t, 2, novograd)
		must(t, c.set(o))
		must(t, o.Step([]float32{1, 1}, []float32{3, 100}))
		if v := buffer(o, 0, "v")[0]; math.Abs(float64(v-c.want)) > 1e-5*float64(c.want) {
			t.Errorf("%s: v is %g, want %g", name, v, c.want)
		}
		if name == "value" {
			continue // which turns the gradient
		}
		lars := update.LARS{Options: update.Options{LR: 1}, Momentum: .5, Trust: .1}
		free, clipped, p, q := newOne(t, 2, lars), newOne(t, 2, lars), []float32{1, 1}, []float32{1, 1}
		must(t, c.set(clipped))
		for range 3 {
			must(t, free.Step(p, []float32{3, 100}))
			must(t, clipped.Step(q, []float32{3, 100}))
		}
		for i := range p {
			if math.Abs(float64(p[i]-q[i])) > 1e-6 {
				t.Errorf("%s: LARS goes to %g, want %g", name, q, p)
			}
		}
	}
}

// TestNormsWantTensors refuses a step by ranges, and names the rule, though the norm to clip
// to has been observed.
func TestNormsWantTensors(t *testing.T) {
	for _, r := range []update.Rule{
		update.LARS{Options: update.Options{LR: 1}, Trust: 1},
		update.NovoGrad{Options: update.Options{LR: 1}, Eps: 1},
		update.StableAdamW{Options: update.Options{LR: 1}, Eps: 1},
	} {
		o := newOne(t, 2, r)
		must(t, o.SetMaxNorm(1))
		must(t, o.Observe(0, 0, []float32{3, 4}))
		wantArg(t, r.Name(), o.Begin(), "rule")
		must(t, o.StepSet([][]float32{{1, 1}}, [][]float32{{3, 4}}))
	}
}

// TestNovoGradScales has factors of the gradient that are no normal float32 on the way: its
// bits do not depend on a power of 2 in the scale.
func TestNovoGradScales(t *testing.T) {
	run := func(scale, by, other float32) []float32 {
		o := newOne(t, 3, update.NovoGrad{Options: update.Options{LR: .1}, Beta1: .9, Beta2: .9, Eps: 1e-12, Decay: .1})
		must(t, o.SetGradScale(float64(scale)))
		p := []float32{1, 2, 3}
		for _, g := range []float32{1, 3, -2, .5} {
			must(t, o.Step(p, []float32{g * by, other * g * by, .03125 * by}))
		}
		return append(p, buffer(o, 0, "m")...)
	}
	want := run(1, 0x1p26, -.3)
	if got := run(0x1p-100, 0x1p126, -.3); !slices.Equal(got, want) {
		t.Errorf("with a scale of 2⁻¹⁰⁰ it goes to %g, want %g", got, want)
	}
	want = run(1, 0x1p-38, -.75)
	if got := run(0x1p100, 0x1p-138, -.75); !slices.Equal(got, want) {
		t.Errorf("with a scale of 2¹⁰⁰ it goes to %g, want %g", got, want)
	}
}
