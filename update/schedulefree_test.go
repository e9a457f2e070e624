package update_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// TestScheduleFreeMean follows z and x of Defazio et al. in float64, with the options of
// both rules that have them: Eval makes x of the parameters, and Train y again.
func TestScheduleFreeMean(t *testing.T) {
	const n, steps = 64, 50
	sgd := update.ScheduleFreeSGD{Options: update.Options{LR: .1}, Momentum: .8, WarmupSteps: 20, WeightPower: .5, WeightLRPower: 2}
	adamw := update.ScheduleFreeAdamW{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, WarmupSteps: 10, WeightLRPower: 2}
	for _, r := range []update.Rule{sgd, adamw} {
		rng := rand.New(rand.NewPCG(1, 1))
		o := newOne(t, n, r)
		p, g := make([]float32, n), make([]float32, n)
		y, z, x, v := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range p {
			p[i] = float32(rng.NormFloat64())
			y[i], z[i], x[i] = float64(p[i]), float64(p[i]), float64(p[i])
		}
		sum, beta, warmup := 0., .8, 20.
		if r == update.Rule(adamw) {
			beta, warmup = .9, 10
		}
		for k := range steps {
			at := float64(k + 1)
			rate := min(1, at/warmup)
			weight := rate * rate
			if r == update.Rule(sgd) {
				weight *= math.Sqrt(at)
			}
			sum += weight
			for i := range g {
				g[i] = float32(rng.NormFloat64())
				u := float64(g[i])
				if r == update.Rule(adamw) {
					v[i] = .99*v[i] + .01*u*u
					u = .01 * (u/(math.Sqrt(v[i]/(1-math.Pow(.99, at)))+1e-8) + .1*y[i])
				} else {
					u *= .1
				}
				z[i] -= rate * u
				x[i] += weight / sum * (z[i] - x[i])
				y[i] = (1-beta)*z[i] + beta*x[i]
			}
			must(t, o.Step(p, g))
		}
		near := func(what string, want []float64) {
			for i := range p {
				if math.Abs(float64(p[i])-want[i]) > 1e-5*(1+math.Abs(want[i])) {
					t.Fatalf("%T: element %d of %s is %g, want %g", r, i, what, p[i], want[i])
				}
			}
		}
		near("y", y)
		must(t, o.Eval(p))
		near("x", x)
		must(t, o.Train(p))
		near("y again", y)
	}
}

// TestRectifiedMean follows z and x of RAdamScheduleFree in float64, through both kinds of the
// steps before it is rectified.
func TestRectifiedMean(t *testing.T) {
	const n, steps, beta1, beta2, lr, decay = 64, 60, .8, .95, .01, .1
	for _, silent := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(1, 1))
		o := newOne(t, n, update.ScheduleFreeRAdam{Options: update.Options{LR: lr, WeightDecay: decay}, Beta1: beta1, Beta2: beta2, Eps: 1e-8,
			SilentSGDPhase: silent, WeightPower: .5, WeightLRPower: 2})
		p, g := make([]float32, n), make([]float32, n)
		y, z, x, v := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range p {
			p[i] = float32(rng.NormFloat64())
			y[i], z[i], x[i] = float64(p[i]), float64(p[i]), float64(p[i])
		}
		sum, most, still := 0., 0., 0
		for k := range steps {
			at := float64(k + 1)
			rect := rectification(at, beta2)
			rate := rect
			if rect == 0 && !silent {
				rate = 1
			}
			most = max(most, rate)
			weight := math.Sqrt(at) * most * most
			sum += weight
			if rate == 0 {
				still++
			}
			for i := range g {
				g[i] = float32(rng.NormFloat64())
				u := float64(g[i])
				v[i] = beta2*v[i] + (1-beta2)*u*u
				if rect > 0 {
					u /= math.Sqrt(v[i]/(1-math.Pow(beta2, at))) + 1e-8
				}
				z[i] -= lr * rate * (u + decay*y[i])
				if weight > 0 {
					x[i] += weight / sum * (z[i] - x[i])
				}
				y[i] = (1-beta1)*z[i] + beta1*x[i]
			}
			must(t, o.Step(p, g))
		}
		if silent && still != 4 {
			t.Errorf("%d steps are silent, want 4", still)
		}
		near := func(what string, want []float64) {
			for i := range p {
				if math.Abs(float64(p[i])-want[i]) > 1e-5*(1+math.Abs(want[i])) {
					t.Fatalf("silent %v: element %d of %s is %g, want %g", silent, i, what, p[i], want[i])
				}
			}
		}
		near("y", y)
		must(t, o.Eval(p))
		near("x", x)
	}
}

// rectification is r of RAdam, or 0 where there is none.
func rectification(t, beta2 float64) float64 {
	c2, most := -math.Expm1(t*math.Log(beta2)), 2/(1-beta2)-1
	rho := most - 2*t*(1-c2)/c2
	if rho <= 4 {
		return 0
	}
	return math.Sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
}

// TestRectifiedWeights is TestWeights of weights that follow a rectification, and has steps in
// another order come to the same bits.
func TestRectifiedWeights(t *testing.T) {
	for _, c := range []struct{ beta2, power, lrPower float64 }{{.999, 0, 2}, {.9, 0, 2}, {.9, 1.5, 2}, {.99, 0, 1}, {.61, 8, 8}, {.9995, .75, 0}} {
		r := update.ScheduleFreeRAdam{Options: update.Options{LR: 1}, Beta1: .5, Beta2: c.beta2, Eps: 1e-8, SilentSGDPhase: true, WeightPower: c.power, WeightLRPower: c.lrPower}
		o := newOne(t, 1, r)
		part := func(o *update.Optimizer, step int) (moved, left float32) {
			b := buffer(o, 0, "behind")
			b[0] = 1
			p := []float32{0}
			must(t, o.SetSteps(int64(step-1)))
			must(t, o.Step(p, []float32{0}))
			return -p[0], b[0]
		}
		sum, seen := 0., map[int]float32{}
		for step := 1; step <= 100000; step++ {
			rect := rectification(float64(step), c.beta2)
			weight := math.Pow(float64(step), c.power) * math.Pow(rect, c.lrPower)
			sum += weight
			if rect == 0 || weight == sum || step >= 100 && step%997 != 0 {
				continue
			}
			moved, left := part(o, step)
			seen[step] = moved
			if want := weight / sum; math.Abs(float64(moved)-want) > 3e-7*want {
				t.Fatalf("%+v, step %d: a part of %g, want %g", c, step, moved, want)
			}
			if math.Abs(float64(left)-(1-weight/sum)) > 1e-7 {
				t.Fatalf("%+v, step %d: %g is left, want %g", c, step, left, 1-weight/sum)
			}
		}
		other := newOne(t, 1, r)
		for step, want := range seen { // in any order
			if moved, _ := part(other, step); moved != want {
				t.Fatalf("%+v, step %d: a part of %g in another order, want %g", c, step, moved, want)
			}
		}
		must(t, o.SetSteps(math.MaxInt64-2)) // which takes no longer than others
		must(t, o.Step([]float32{0}, []float32{0}))
	}
}

// TestWeights adds the weights of long trainings up one by one, and sees how far a step
// moves the mean: with a gradient of 0 it moves y by c·(z - y), where y is known to be near.
func TestWeights(t *testing.T) {
	for _, c := range []struct{ warmup, power, lrPower float64 }{{0, 0, 2}, {0, .75, 0}, {0, 3, 0}, {700, 0, 2}, {99.5, 1.5, 1}, {.5, 1, 2}, {700, 1.5, 1}, {30, 8, 8}, {1 << 40, 0, 2}} {
		r := update.ScheduleFreeSGD{Options: update.Options{LR: 1}, Momentum: .5, WarmupSteps: c.warmup, WeightPower: c.power, WeightLRPower: c.lrPower}
		sum := 0.
		o := newOne(t, 1, r)
		b := buffer(o, 0, "behind")
		for step := 1; step <= 100000; step++ {
			at, warm := float64(step), 1.
			if at < c.warmup {
				warm = at / c.warmup
			}
			weight := math.Pow(at, c.power) * math.Pow(warm, c.lrPower)
			sum += weight
			if step < 200 || step%997 == 0 || step > 690 && step < 710 {
				b[0] = 1
				p := []float32{0}
				must(t, o.SetSteps(int64(step-1)))
				must(t, o.Step(p, []float32{0}))
				if want := weight / sum; math.Abs(float64(-p[0])-want) > 3e-7*want && want < 1 {
					t.Fatalf("%+v, step %d: a part of %g, want %g", c, step, -p[0], want)
				}
				if left := float64(b[0]); math.Abs(left-(1-weight/sum)) > 1e-7 {
					t.Fatalf("%+v, step %d: %g is left, want %g", c, step, left, 1-weight/sum)
				}
			}
		}
		must(t, o.SetSteps(math.MaxInt64-2)) // which takes no longer than others
		must(t, o.Step([]float32{0}, []float32{0}))
	}
}

// TestEvalMisused does what needs parameters in the other mode.
func TestEvalMisused(t *testing.T) {
	o := newOne(t, 3, torch.AdamWScheduleFree())
	p, g := []float32{1, 2, 3}, []float32{1, -1, 1}
	const mode = "the mode of the parameters"
	wantArg(t, "Train at first", o.Train(p), mode)
	must(t, o.Step(p, g))
	must(t, o.Step(p, g))
	before := append([]float32(nil), p...)
	must(t, o.Eval(p))
	x := append([]float32(nil), p...)
	for i, y := range before {
		const beta = .9
		mean := (1 - beta) / beta * (1 - 0x1p-30) // in the arithmetic of constants, which is within a rounding
		if want := float32(float64(y) + float64(float64(buffer(o, 0, "behind")[i])*mean)); x[i] != want {
			t.Errorf("Eval makes %g of %g, want %g", x[i], y, want)
		}
	}
	_, err := o.Export()
	for _, err := range []error{o.Eval(p), o.Step(p, g), o.StepSet([][]float32{p}, [][]float32{g}), o.Begin(), o.SetRule(0, torch.AdamWScheduleFree()), err} {
		wantArg(t, "after Eval", err, mode)
	}
	if !sameBits(p, x) {
		t.Error("what was refused has written")
	}
	wantArg(t, "a shorter tensor", o.Train(p[:2]), "len(params)")
	wantArg(t, "no tensor", o.Train(), "len(params)")
	b := buffer(o, 0, "behind")
	if o.Train(b) == nil {
		t.Error("state was taken for parameters")
	}
	must(t, o.Train(p))
	if !sameBits(p, before) {
		t.Error("Train does not undo Eval")
	}
	s, err := o.Export()
	must(t, err)
	must(t, o.Eval(p))
	must(t, o.Import(s)) // whose parameters are those of training
	must(t, o.Step(before, g))
	must(t, o.Begin())
	wantArg(t, "within a step", o.Eval(p), "step")
}

// TestEvalComesBack turns parameters of training back and forth. A parameter comes back to
// the bit where the mean has no larger power of two; others within half of its last bit.
func TestEvalComesBack(t *testing.T) {
	const n = 10000
	rng := rand.New(rand.NewPCG(3, 3))
	o := newOne(t, n, torch.AdamWScheduleFree())
	p, g := make([]float32, n), make([]float32, n)
	for i := range p {
		p[i] = float32(rng.NormFloat64() * math.Pow(10, -3*rng.Float64()))
	}
	moved, power := 0, func(x float32) int { _, e := math.Frexp(float64(x)); return e }
	for range 30 {
		for i := range g {
			g[i] = float32(rng.NormFloat64())
		}
		must(t, o.Step(p, g))
		before := append([]float32(nil), p...)
		must(t, o.Eval(p))
		x := append([]float32(nil), p...)
		must(t, o.Train(p))
		for i := range p {
			if p[i] == before[i] {
				continue
			}
			moved++
			last := math.Ldexp(1, power(x[i])-24)
			if off := math.Abs(float64(p[i]) - float64(before[i])); off > last*.5000001+math.Ldexp(1, power(before[i])-25) || power(x[i]) <= power(before[i]) && power(before[i]) == power(p[i]) {
				t.Fatalf("%b comes back as %b from %b, behind %b", before[i], p[i], x[i], buffer(o, 0, "behind")[i])
			}
		}
	}
	if moved > 30*n/20 {
		t.Errorf("%d of %d parameters do not come back", moved, 30*n)
	}
}

// TestEvalLeavesOthers has other rules beside one with a mean, and rules without state.
func TestEvalLeavesOthers(t *testing.T) {
	tensors := []update.Tensor{{Size: 2}, {Size: 0, Rule: 1}, {Size: 2, Rule: 1}, {Size: 2, Rule: 2}}
	o, err := update.NewSet(tensors, registry.Get("adam uncorrected"), torch.SGDScheduleFree(), torch.SGD())
	must(t, err)
	params := [][]float32{{1, 2}, {}, {3, 4}, {5, 6}}
	grads := [][]float32{{1, 1}, {}, {1, 1}, {1, 1}}
	for range 3 {
		must(t, o.StepSet(params, grads))
	}
	copies := [][]float32{append([]float32(nil), params[0]...), {}, append([]float32(nil), params[2]...), append([]float32(nil), params[3]...)}
	must(t, o.Eval(params...))
	for _, k := range []int{0, 3} {
		if !sameBits(params[k], copies[k]) {
			t.Errorf("the parameters of tensor %d are another rule's", k)
		}
	}
	if params[2][0] == copies[2][0] {
		t.Error("the mean is what was trained")
	}
}
