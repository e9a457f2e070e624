package update_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// splitMix is the next number of SplitMix64.
func splitMix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// noised has noise by hand, of the steps that each tensor has taken.
func noised(n update.Noise) stage {
	steps := make([]uint64, len(aroundSizes))
	return stage{
		set:  func(o *update.Optimizer) error { return o.SetNoise(n) },
		late: true,
		grads: func(_, grads [][]float32) {
			for k, g := range grads {
				if g == nil && aroundSizes[k] > 0 {
					continue
				}
				steps[k]++
				key := splitMix(splitMix(splitMix(n.Seed)^uint64(k)) ^ steps[k])
				std := math.Sqrt(n.Eta / math.Pow(float64(steps[k]), n.Gamma))
				c := fallback.NoiseScalars{Std: float32(std), Key1: fallback.Mask(key), Key2: fallback.Mask(key >> 32)}
				for i := range g {
					fallback.Noise(g[i:i+1], []float32{math.Float32frombits(uint32(i))}, &c)
				}
			}
		},
		after: func(int, [][]float32, [][]float32) {},
	}
}

func TestNoise(t *testing.T) {
	agrees(t, func(n int) stage {
		return noised([]update.Noise{{Eta: .01, Gamma: .55, Seed: 7}, {Eta: 1, Seed: 1 << 63}, {Eta: 1e-6, Gamma: 3}}[n%3])
	})
}

func TestNoiseAllocates(t *testing.T) {
	noised(update.Noise{Eta: .01, Gamma: .55}).allocatesNothing(t)
}

// TestNoiseDistribution looks at a million numbers: moments, their distribution, and how they
// go with those of the next elements, step and tensor.
func TestNoiseDistribution(t *testing.T) {
	const n, std = 1 << 20, .5
	o, err := update.NewSet([]update.Tensor{{Size: n}, {Size: n}}, update.SGD{Options: update.Options{LR: 1}})
	must(t, err)
	must(t, o.SetNoise(update.OptaxNoise(std*std, 0, 42)))
	draw := func() (list [2][]float64) {
		params, grads := [][]float32{make([]float32, n), make([]float32, n)}, [][]float32{make([]float32, n), make([]float32, n)}
		must(t, o.StepSet(params, grads))
		for k, p := range params {
			for _, x := range p {
				list[k] = append(list[k], -float64(x)/std)
			}
		}
		return list
	}
	first, second := draw(), draw()
	within := func(what string, got, want, deviation float64) {
		t.Helper()
		if math.Abs(got-want) > 4.5*deviation/math.Sqrt(n) {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}
	mean := func(of func(i int) float64) (sum float64) {
		for i := range n {
			sum += of(i)
		}
		return sum / n
	}
	for _, x := range [][]float64{first[0], first[1], second[0], second[1]} {
		for k, moment := range []struct{ want, deviation float64 }{{0, 1}, {1, math.Sqrt(2)}, {0, math.Sqrt(15)}, {3, math.Sqrt(96)}} {
			within("a moment", mean(func(i int) float64 { return math.Pow(x[i], float64(k+1)) }), moment.want, moment.deviation)
		}
		for _, at := range []float64{-4, -3, -2, -1, -.5, -.1, 0, .1, .5, 1, 2, 3, 4} {
			part := .5 * math.Erfc(-at/math.Sqrt2)
			below := mean(func(i int) float64 {
				if x[i] < at {
					return 1
				}
				return 0
			})
			within("the part below", below, part, math.Sqrt(part*(1-part)))
		}
		for _, by := range []int{1, 2, 16, 512, 4096} {
			within("the product with a later one", mean(func(i int) float64 { return x[i] * x[(i+by)%n] }), 0, 1)
			within("that of the squares", mean(func(i int) float64 { return (x[i]*x[i] - 1) * (x[(i+by)%n]*x[(i+by)%n] - 1) }), 0, 2)
		}
	}
	within("the product of tensors", mean(func(i int) float64 { return first[0][i] * first[1][i] }), 0, 1)
	within("that of steps", mean(func(i int) float64 { return first[0][i] * second[0][i] }), 0, 1)
}

// TestNoiseFalls has noise of less in each step, and the same again after a checkpoint.
func TestNoiseFalls(t *testing.T) {
	const n = 3*tune.BlockLen + 5
	o := newOne(t, n, update.SGD{Options: update.Options{LR: 1}})
	must(t, o.SetNoise(update.Noise{Eta: .01, Gamma: .55, Seed: 3}))
	p, g := make([]float32, n), make([]float32, n)
	for step := 1; step <= 200; step++ {
		clear(p)
		must(t, o.Step(p, g))
		squares, want := 0., .01/math.Pow(float64(step), .55)
		for _, x := range p {
			squares += float64(x) * float64(x)
		}
		if got := squares / n; math.Abs(got-want) > .25*want {
			t.Fatalf("step %d: a variance of %g, want %g", step, got, want)
		}
	}
	again := newOne(t, n, update.SGD{Options: update.Options{LR: 1}})
	must(t, again.SetNoise(o.Noise()))
	must(t, again.SetSteps(199))
	q := make([]float32, n)
	must(t, again.Step(q, g))
	if !sameBits(p, q) {
		t.Error("the noise of step 200 is another")
	}
	must(t, o.SetNoise(update.Noise{}))
	clear(p)
	must(t, o.Step(p, g))
	if !sameBits(p, make([]float32, n)) {
		t.Error("there is noise still")
	}
}

func TestNoiseRefuses(t *testing.T) {
	o := newOne(t, 2, plainSGD)
	for arg, n := range map[string]update.Noise{"Eta": {Eta: -1}, "Gamma": {Eta: 1, Gamma: -1}} {
		wantArg(t, arg, o.SetNoise(n), arg)
	}
	wantArg(t, "no Eta", o.SetNoise(update.Noise{Seed: 1}), "Eta")
	wantArg(t, "NaN", o.SetNoise(update.Noise{Eta: math.NaN()}), "Eta")
	wantArg(t, "a large Gamma", o.SetNoise(update.Noise{Eta: 1, Gamma: 9}), "Gamma")
	must(t, o.Begin())
	wantArg(t, "begun", o.SetNoise(update.Noise{Eta: 1}), "step")
}

// ExampleOptimizer_SetNoise is optax.noisy_sgd. The noise is the same on every CPU.
func ExampleOptimizer_SetNoise() {
	o, err := update.New(3, update.SGD{Options: update.Options{LR: .1}})
	if err != nil {
		panic(err)
	}
	if err := o.SetNoise(update.OptaxNoise(.01, .55, 1)); err != nil {
		panic(err)
	}
	params, grads := []float32{1, 2, 3}, []float32{.5, 0, -.5}
	for range 2 {
		if err := o.Step(params, grads); err != nil {
			panic(err)
		}
	}
	fmt.Println(params)
	// Output: [0.89759916 2.021927 3.0748289]
}
