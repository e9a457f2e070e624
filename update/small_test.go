package update_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
)

// TestSmallNumbers is what becomes of small numbers in a 16th step and in others: see
// Options.KeepSubnormals. Rates are 0 or 1, so that each result is one of the numbers.
func TestSmallNumbers(t *testing.T) {
	const below, above = 0x1.8p-96, 0x1p-95            // the bound of what fades
	thousandth := 0x1p-60 * float32(math.Sqrt(1-.999)) // of the square of 2⁻⁶⁰, before it is squared
	square := func(rho float64) float32 {              // of 2⁻⁶³, beside the means of squares of such a rate
		x := 0x1p-63 * float32(math.Sqrt(1-rho))
		return x * x
	}
	momentum := func(o update.Options) update.Rule { return update.Momentum{Options: o, Momentum: .5} }
	sgd := func(o update.Options) update.Rule { return update.SGD{Options: o} }
	for _, c := range []struct {
		what        string
		rule        update.Rule
		steps       int64 // before
		scale       float64
		param, grad float32
		want        float32 // of the parameter, or of the last state, which begins as it
	}{
		{"a parameter", sgd(update.Options{}), 15, 1, below, 0, below},
		{"one that decays", sgd(update.Options{LR: 1, WeightDecay: 1e-20}), 15, 1, below, 0, 0},
		{"one that decays, large", sgd(update.Options{LR: 1, WeightDecay: 1e-20}), 15, 1, above, 0, above},
		{"one that decays, step 15", sgd(update.Options{LR: 1, WeightDecay: 1e-20}), 14, 1, below, 0, below},
		{"one that decays, kept", sgd(update.Options{LR: 1, WeightDecay: 1e-20, KeepSubnormals: true}), 15, 1, below, 0, below},
		{"one that decays, with a gradient", sgd(update.Options{LR: 0, L2: 1}), 15, 1, below, 0x1p-127, below},
		{"one that decays, with a small gradient", sgd(update.Options{LR: 0, L2: 1}), 15, 1, below, 0x1p-128, 0},
		{"one of L2", sgd(update.Options{L2: 1}), 15, 1, below, 0, 0},
		{"one of a proximal L2", sgd(update.Options{L2: 1, Proximal: true}), 15, 1, below, 0, 0},
		{"one of a proximal L1", sgd(update.Options{LR: 1, L1: 0x1p-120, Proximal: true}), 15, 1, below, 0, 0},
		{"one of L1", sgd(update.Options{L1: 1}), 15, 1, below, 0, below},
		{"a gradient that is scaled to nothing", sgd(update.Options{L2: 1}), 15, 0x1p-60, below, 0x1p-100, 0},
		{"a gradient that is scaled to something", sgd(update.Options{L2: 1}), 15, 0x1p60, below, 0x1p-140, below},

		{"a gradient below the least", sgd(update.Options{LR: 1}), 0, 1, 0, 0x1.8p-128, 0},
		{"the least gradient", sgd(update.Options{LR: 1}), 0, 1, 0, 0x1p-127, -0x1p-127},
		{"one below, scaled above", sgd(update.Options{LR: 1}), 0, 2, 0, 0x1.8p-128, -0x1.8p-127},
		{"one below, scaled above, climbing", sgd(update.Options{LR: 1, Maximize: true}), 0, 2, 0, 0x1.8p-128, 0x1.8p-127},
		{"one above, scaled below", sgd(update.Options{LR: 1}), 0, .5, 0, 0x1.8p-127, 0},
		{"one above, scaled below, kept", sgd(update.Options{LR: 1, KeepSubnormals: true}), 0, .5, 0, 0x1.8p-127, -0x1.8p-128},
		{"one below, kept", sgd(update.Options{LR: 1, KeepSubnormals: true}), 0, 1, 0, 0x1p-149, -0x1p-149},
		{"a huge factor", sgd(update.Options{LR: 1}), 0, 0x1p120, 0, 0x1p-140, -0x1p-20},
		{"a tiny factor", sgd(update.Options{LR: 1}), 0, 0x1p-140, 0, 0x1p120, -0x1p-20},

		{"a momentum", momentum(update.Options{}), 15, 1, 2 * below, 0, 0},
		{"a momentum, large", momentum(update.Options{}), 15, 1, 2 * above, 0, above},
		{"a momentum, step 17", momentum(update.Options{}), 16, 1, 2 * below, 0, below},
		{"a momentum, kept", momentum(update.Options{KeepSubnormals: true}), 15, 1, 2 * below, 0, below},
		{"half of a momentum", update.Momentum{Momentum: .5}, 16, 1, 2 * below, 0, below},
		{"less than half", update.Momentum{Momentum: .25}, 16, 1, 4 * below, 0, 0},

		{"Lion's momentum", update.Lion{Beta1: .5, Beta2: .5}, 15, 1, 2 * below, 0, below},
		{"Lion's gradient", update.Lion{Beta1: .5, Beta2: .5}, 0, 1, 0, 0x1p-140, 0x1p-141},
		{"a mean", update.RMSprop{Rho: .5, Eps: 1, Centered: true}, 15, 1, 2 * below, 0, 0},
		{"a mean, step 15", update.RMSprop{Rho: .5, Eps: 1, Centered: true}, 14, 1, 2 * below, 0, below},
		{"a mean of squares", update.RMSprop{Rho: .5, Eps: 1e-8}, 15, 1, 2 * below, 0, 0},
		{"one that eps does not hide", update.RMSprop{Rho: .5, Eps: 1e-30}, 15, 1, 2 * below, 0, below},
		{"one that eps hides inside", update.RMSprop{Rho: .5, Eps: 1e-22, EpsInside: true}, 15, 1, 2 * below, 0, 0},
		{"one that is kept", update.RMSprop{Options: update.Options{KeepSubnormals: true}, Rho: .5, Eps: 1e-8}, 15, 1, 2 * below, 0, below},
		{"a square", update.RMSprop{Rho: .5, Eps: 1e-8}, 0, 1, 0, 0x1p-64, 0},
		{"a square that is kept", update.RMSprop{Options: update.Options{KeepSubnormals: true}, Rho: .5, Eps: 1e-8}, 0, 1, 0, 0x1p-64, 0x1p-129},
		{"a square that counts", update.AdaGrad{Eps: 1e-30}, 0, 1, 0, 0x1p-65, 0x1p-130},
		{"one that does not", update.AdaGrad{Eps: 1e-8}, 0, 1, 0, 0x1p-65, 0},
		{"one that counts inside", update.AdaGrad{Eps: 1e-30, EpsInside: true}, 0, 1, 0, 0x1p-65, 0x1p-130},
		{"one that does not inside", update.AdaGrad{Eps: 1e-20, EpsInside: true}, 0, 1, 0, 0x1p-65, 0},
		{"a square that eps would hide, but its mean not", update.RMSprop{Rho: .5, Eps: 4e-17}, 0, 1, 0, 0x1p-64, 0x1p-129},
		{"a square that eps does not hide", update.RMSprop{Rho: .999, Eps: 2e-16}, 0, 1, 0, 0x1p-60, thousandth * thousandth},
		{"a square whose mean would be subnormal in 15 steps", update.RMSprop{Rho: .715, Eps: 4.2e-17}, 0, 1, 0, 0x1p-63, square(.715)},
		{"one whose mean would not, but in 16", update.RMSprop{Rho: .73, Eps: 4.2e-17}, 0, 1, 0, 0x1p-63, 0},
		{"a mean that is looked at in every step", update.RMSprop{Rho: .4, Eps: 1e-14}, 4, 1, 0x1p-112, 0, 0},
		{"an accumulator", update.AdaGrad{Eps: 1e-8}, 15, 1, below, 0, below},
	} {
		// A tensor is alone, large, beside others that share calls, or applied in parts.
		for _, sizes := range [][]int{{1}, {5000}, {1, 1, 7}, {1, 5000}} {
			o, params, grads := newSet(t, sizes, c.rule)
			must(t, o.SetGradScale(c.scale))
			for k := range params {
				for i := range params[k] {
					params[k][i], grads[k][i] = c.param, c.grad
					for _, state := range slotNames(o, k) {
						buffer(o, k, state)[i] = c.param
					}
				}
			}
			must(t, o.SetSteps(c.steps))
			must(t, o.StepSet(params, grads))
			for k := range params {
				got := params[k]
				for _, state := range slotNames(o, k) {
					got = buffer(o, k, state)
				}
				if i := slices.IndexFunc(got, func(x float32) bool { return math.Float32bits(x) != math.Float32bits(c.want) }); i >= 0 {
					t.Errorf("%s, tensors of %v: %g, want %g", c.what, sizes, got[i], c.want)
				}
			}
		}
	}
}

// fading are numbers of all sizes around those that go.
func fading(n int, seed uint64) []float32 {
	x := uniform(n, seed)
	for i := range x {
		x[i] *= float32(math.Ldexp(1, -86-i%12))
	}
	return x
}

// TestFadingRoutes lets numbers fade on each of the routes that a step can take, which are
// the same to the bit: alone, among small tensors that share calls or with a large one,
// in parts, and with buffers that move and a rule whose decay begins and ends.
func TestFadingRoutes(t *testing.T) {
	for _, sample := range registry.Samples() {
		name, options := sample.Name, registry.Options(sample.Rule)
		options.WeightDecay, options.L2, options.L1 = 0, 0, 1e-29*options.L1
		decaying := options
		of := func(o update.Options) update.Rule {
			return registry.With(sample.Rule, func(to *update.Options) { *to = o })
		}
		if decaying.WeightDecay = 1; update.Check(of(decaying)) != nil { // L2 is Schedule-Free SGD's
			decaying.WeightDecay, decaying.L2 = 0, 1
		}
		if newOne(t, 1, of(options)).Begin() != nil {
			continue // a step is not taken in parts
		}
		if _, err := update.New(1, of(decaying)); err != nil { // as of FTRL
			decaying.WeightDecay, decaying.L2 = 0, 1
		}
		sizes := []int{3, 40, 5000, 1, 17}
		set, params, grads := newSet(t, sizes, of(options), of(options))
		parts, _, _ := newSet(t, sizes, of(options), of(options))
		applied := make([][]float32, len(sizes))
		var alone []*update.Optimizer
		var want [][]float32
		for k, n := range sizes {
			alone = append(alone, newOne(t, n, of(options)))
			params[k] = fading(n, uint64(k))
			want, applied[k] = append(want, slices.Clone(params[k])), slices.Clone(params[k])
		}
		for step := 1; step <= 50; step++ {
			for k, n := range sizes {
				if step < 4 {
					copy(grads[k], fading(n, uint64(100*step+k)))
				} else {
					clear(grads[k][n/2:])
				}
			}
			for at, o := range map[int]update.Options{10: decaying, 38: options} {
				for _, optimizer := range append([]*update.Optimizer{set, parts}, alone...) {
					if step == at {
						must(t, optimizer.SetRule(0, of(o)))
					}
				}
			}
			if step == 20 || step == 33 {
				for k := range params {
					params[k], grads[k] = slices.Clone(params[k]), slices.Clone(grads[k])
				}
			}
			must(t, set.StepSet(params, grads))
			must(t, parts.Begin())
			for k, n := range sizes {
				if k%2 == 0 { // the other rule's have no decay in the set
					must(t, alone[k].Step(want[k], grads[k]))
				}
				for _, r := range [][2]int{{0, n / 3}, {n / 3, n}} {
					must(t, parts.Apply(k, r[0], applied[k][r[0]:r[1]], grads[k][r[0]:r[1]]))
				}
			}
			must(t, parts.End())
			for k := range sizes {
				what := fmt.Sprintf("%s, step %d, tensor %d", name, step, k)
				wantEqual(t, what+", in parts", parts, set, k, k, applied[k], params[k])
				if k%2 == 0 {
					wantEqual(t, what+", alone", alone[k], set, 0, k, want[k], params[k])
				}
			}
			if t.Failed() {
				return
			}
		}
	}
}

// wantEqual compares a tensor of one optimizer with one of another.
func wantEqual(t *testing.T, what string, a, b *update.Optimizer, k, j int, p, q []float32) {
	t.Helper()
	if !sameBits(p, q) {
		t.Errorf("%s: parameters differ", what)
	}
	for _, name := range slotNames(a, k) {
		if !sameBits(buffer(a, k, name), buffer(b, j, name)) {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}
