package update_test

import (
	"errors"
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// sgd is a rule whose steps are the gradients.
func sgd() update.SGD { return update.SGD{Options: update.Options{LR: 1}} }

// Gradients may be clipped by element, each tensor's to a norm, and all together to one.
func ExampleOptimizer_SetMaxValue() {
	tensors := []update.Tensor{{Size: 2}, {Size: 1}}
	for _, set := range []func(o *update.Optimizer) error{
		func(o *update.Optimizer) error { return o.SetMaxValue(3.5) },
		func(o *update.Optimizer) error { return o.SetMaxTensorNorm(2.5) },
		func(o *update.Optimizer) error { return o.SetMaxNorm(6.5) },
	} {
		optimizer, err := update.NewSet(tensors, sgd())
		check(err)
		check(set(optimizer))
		params := [][]float32{{0, 0}, {0}}
		check(optimizer.StepSet(params, [][]float32{{-3, -4}, {12}}))
		fmt.Println(params, optimizer.MaxValue(), optimizer.MaxTensorNorm(), optimizer.MaxNorm())
	}
	// Output:
	// [[3 3.5] [-3.5]] 3.5 +Inf +Inf
	// [[1.5 2] [-2.5]] +Inf 2.5 +Inf
	// [[1.5 2] [-6]] +Inf +Inf 6.5
}

// What a step does with a gradient that is not finite: nothing at all, nothing and say so, or
// what the formula makes of it.
func ExamplePolicy() {
	grads := []float32{1, float32(math.Inf(1)), float32(math.NaN())}
	fmt.Println(update.CountNonFinite(grads), "of", len(grads))
	for _, policy := range []update.Policy{update.Skip, update.Refuse, update.Propagate} {
		optimizer, err := update.NewSet([]update.Tensor{{Name: "weights", Size: 3}}, sgd())
		check(err)
		check(optimizer.SetPolicy(policy))
		params := [][]float32{{0, 0, 0}}
		err = optimizer.StepSet(params, [][]float32{grads})
		var refused *update.NonFiniteError
		if errors.As(err, &refused) {
			fmt.Println("refused:", refused.Count, "in", refused.Name)
		}
		fmt.Println(params[0], optimizer.Steps(), "steps,", optimizer.Skipped(), "skipped,", optimizer.NonFinite(), "not finite")
	}
	// Output:
	// 2 of 3
	// [0 0 0] 0 steps, 1 skipped, 2 not finite
	// refused: 2 in weights
	// [0 0 0] 0 steps, 1 skipped, 2 not finite
	// [-1 -Inf NaN] 1 steps, 0 skipped, 0 not finite
}

// An error names the argument, and nothing has been written.
func ExampleArgError() {
	optimizer, err := update.New(3, sgd())
	check(err)
	var bad *update.ArgError
	if err := optimizer.Step(make([]float32, 3), make([]float32, 2)); errors.As(err, &bad) {
		fmt.Println(bad.Arg, "|", bad.Value, "|", bad.Want)
	}
	// Output: len(grads) | 2 | the tensor's size, 3
}

// Where the caller has the norm already, Begin need not read the gradients.
func ExampleOptimizer_BeginNorm() {
	optimizer, err := update.New(4, sgd())
	check(err)
	check(optimizer.SetMaxNorm(1))
	params, grads := make([]float32, 4), []float32{1, 1, 1, 1}
	check(optimizer.BeginNorm(update.SumSquares(grads)))
	check(optimizer.Apply(0, 0, params[:2], grads[:2]))
	check(optimizer.Apply(0, 2, params[2:], grads[2:]))
	check(optimizer.End())
	fmt.Println(params, optimizer.GradNorm())
	// Output: [-0.5 -0.5 -0.5 -0.5] 2
}

// Half-precision gradients that arrive part by part, and a batch that is given up: its parts
// are forgotten.
func ExampleOptimizer_ObserveTyped() {
	optimizer, err := update.New(2, sgd())
	check(err)
	check(optimizer.SetMaxNorm(1))
	grads := []update.F16{fallback.ToF16(3), fallback.ToF16(4)}
	typed := update.TypedOf(grads)

	check(optimizer.ObserveTyped(0, 0, typed))
	optimizer.ForgetObserved() // an overflow somewhere else: the batch is computed again
	check(optimizer.ObserveTyped(0, 0, typed))
	params := make([]float32, 2)
	check(optimizer.StepTyped([][]float32{params}, []update.Typed{typed}))
	fmt.Printf("%.1f, norm %g\n", params, optimizer.GradNorm())
	// Output: [-0.6 -0.8], norm 5
}

// Ranks whose gradients are of BF16, summed in the step.
func ExampleOptimizer_StepShardsTyped() {
	optimizer, err := update.New(2, sgd())
	check(err)
	check(optimizer.SetGradScale(1. / 2))
	var shards [][]update.Typed
	for rank := range 2 {
		g := []update.BF16{fallback.ToBF16(float32(rank)), fallback.ToBF16(1)}
		shards = append(shards, []update.Typed{update.TypedOf(g)})
	}
	params := [][]float32{{0, 0}}
	check(optimizer.StepShardsTyped(params, shards))
	fmt.Println(params, "at a scale of", optimizer.GradScale())
	// Output: [[-0.5 -1]] at a scale of 0.5
}

// A range of parameters in halves, stepped as its gradient arrives.
func ExampleOptimizer_ApplySplit() {
	const n = 4
	optimizer, err := update.New(n, sgd())
	check(err)
	weights, rests, grads := make([]update.BF16, n), make([]int16, n), make([]update.BF16, n)
	for i := range grads {
		grads[i] = fallback.ToBF16(1. / 3)
	}
	check(optimizer.Begin())
	for lo := 0; lo < n; lo += 2 {
		check(optimizer.ApplySplit(0, lo, weights[lo:lo+2], rests[lo:lo+2], update.TypedOf(grads[lo:lo+2])))
	}
	check(optimizer.End())
	params := make([]float32, n)
	check(update.JoinParams(params, weights, rests))
	fmt.Println(params)
	// Output: [-0.33398438 -0.33398438 -0.33398438 -0.33398438]
}

// A range of parameters of BF16 alone, whose steps of a third round to one of two neighbours.
func ExampleOptimizer_ApplyBF16() {
	const n = 4
	optimizer, err := update.New(n, sgd())
	check(err)
	weights, grads := make([]update.BF16, n), []float32{1. / 3, 1. / 3, 1. / 3, 1. / 3}
	check(optimizer.Begin())
	for lo := 0; lo < n; lo += 2 {
		check(optimizer.ApplyBF16(0, lo, weights[lo:lo+2], update.TypedOf(grads[lo:lo+2])))
	}
	check(optimizer.End())
	for _, w := range weights {
		fmt.Println(w.Float32())
	}
	// Output:
	// -0.33398438
	// -0.33203125
	// -0.33203125
	// -0.33398438
}

// Beta2 follows a schedule of its own; the state stays. Rules have rates of their own too.
func ExampleOptimizer_SetRule() {
	rule := torch.AdamW()
	optimizer, err := update.New(1, rule)
	check(err)
	params, grads := []float32{1}, []float32{1}
	for _, beta2 := range []float64{.9, .99, .999} {
		rule.Beta2 = beta2
		check(optimizer.SetRule(0, rule))
		check(optimizer.Step(params, grads))
	}
	lr, err := optimizer.RuleLR(0)
	check(err)
	fmt.Printf("%.4f at a rate of %g\n", params, lr)
	// Output: [0.9984] at a rate of 0.001
}

// State from elsewhere: the moments of PyTorch's Adam after 100 steps, under its names for them.
func ExampleFrameworkNames() {
	theirs := map[string][]float32{"exp_avg": {.5}, "exp_avg_sq": {.25}}

	rule := torch.Adam()
	state := update.TensorState{Rule: rule.Name(), Steps: 100, Buffers: map[string][]float32{}}
	for ours, name := range update.FrameworkNames(rule.Name(), "torch") {
		if buffer, ok := theirs[name]; ok {
			state.Buffers[ours] = buffer
		}
	}
	optimizer, err := update.New(1, rule)
	check(err)
	check(optimizer.Import(update.State{Steps: 100, Rules: []update.RuleState{{Name: rule.Name(), LR: rule.LR}}, Tensors: []update.TensorState{state}}))
	params := []float32{1}
	check(optimizer.Step(params, []float32{.5}))
	fmt.Printf("%.6f in step %d\n", params, optimizer.Steps())
	// Output: [0.999690] in step 101
}

// The caller counts: Adam goes on with a correction of the bias of the thousandth step.
func ExampleOptimizer_SetSteps() {
	optimizer, err := update.New(1, torch.Adam())
	check(err)
	check(optimizer.SetSteps(999))
	params := []float32{0}
	check(optimizer.Step(params, []float32{1}))
	fmt.Printf("%.5f in step %d\n", params, optimizer.Steps())
	// Output: [-0.00251] in step 1000
}

// One optimizer on the plain Go of the reference, another on what the CPU has: the same bits.
func ExampleOptimizer_SetTable() {
	var ends [2]float32
	for k := range ends {
		optimizer, err := update.New(1, torch.AdamW())
		check(err)
		if k == 1 {
			plain, err := kernels.ByName("go")
			check(err)
			check(optimizer.SetTable(plain))
			fmt.Println(optimizer.Table().ISA())
		}
		params := []float32{1}
		for step := range 100 {
			check(optimizer.Step(params, []float32{float32(step)}))
		}
		ends[k] = params[0]
	}
	fmt.Println(ends[0] == ends[1])
	// Output:
	// go
	// true
}

// The averages of frameworks, of which some begin elsewhere.
func ExampleAveraging() {
	for _, averaging := range []update.Averaging{
		update.TorchEMA(.5), update.KerasEMA(), update.OptaxEMA(.5), update.TensorFlowEMA(.5),
	} {
		optimizer, err := update.New(1, sgd())
		check(err)
		check(optimizer.SetAverage(averaging))
		params := []float32{0}
		for range 3 {
			check(optimizer.Step(params, []float32{-1})) // 1, 2, 3
		}
		average, err := optimizer.Buffer(0, update.AverageName)
		check(err)
		fmt.Printf("decay %g: %.4f\n", optimizer.Average().Decay, average)
	}
	// Output:
	// decay 0.5: [2.2500]
	// decay 0.99: [1.0299]
	// decay 0.5: [2.4286]
	// decay 0.5: [2.1250]
}

// What a lookahead goes back to is state, and in checkpoints.
func ExampleLookahead() {
	optimizer, err := update.New(1, sgd())
	check(err)
	check(optimizer.SetLookahead(update.Lookahead{Period: 2, Step: .5}))
	params := []float32{0}
	for range 3 {
		check(optimizer.Step(params, []float32{-1}))
	}
	slow, err := optimizer.Buffer(0, update.SlowName)
	check(err)
	fmt.Println(params, slow, optimizer.Lookahead().Period)
	// Output: [2] [1] 2
}

// Noise that falls with the steps, the same for any number of workers.
func ExampleNoise() {
	optimizer, err := update.New(3, sgd())
	check(err)
	check(optimizer.SetNoise(update.Noise{Eta: .01, Gamma: .55, Seed: 1}))
	params := make([]float32, 3)
	check(optimizer.Step(params, make([]float32, 3)))
	fmt.Printf("%.3f of a variance of %g\n", params, optimizer.Noise().Eta)
	// Output: [0.054 0.175 -0.135] of a variance of 0.01
}

// Keras' LossScaleOptimizer: a scale that doubles after so many good steps.
func ExampleLossScaling() {
	var options update.LossScaling = update.KerasLossScaling()
	options.Interval = 2
	scaler, err := update.NewLossScaler(options)
	check(err)
	optimizer, err := update.New(1, sgd())
	check(err)
	check(optimizer.SetPolicy(update.Skip))
	params := [][]float32{{0}}
	for range 4 {
		check(scaler.StepSet(optimizer, params, [][]float32{{float32(scaler.Scale())}}))
		check(scaler.Update())
		fmt.Print(scaler.Scale(), " ")
	}
	fmt.Println(params[0])
	// Output: 32768 65536 65536 131072 [-4]
}

// A window of micro-batches that is given up half-way.
func ExampleAccumulator_Reset() {
	optimizer, err := update.New(1, sgd())
	check(err)
	params, accumulator := [][]float32{{0}}, update.NewAccumulator(optimizer)
	check(accumulator.Add([][]float32{{1000}}, 4))
	accumulator.Reset()
	check(accumulator.StepSet(params, [][]float32{{1}}, 4))
	fmt.Println(params[0])
	// Output: [-1]
}

// What is set can be asked for, such as for a log.
func ExampleOptimizer_AdaptiveClip() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 4, Columns: 2}}, sgd())
	check(err)
	check(errors.Join(optimizer.SetAdaptiveClip(.01, 1e-3), optimizer.SetCentralize(true), optimizer.SetZeroGrads(true)))
	clipping, eps := optimizer.AdaptiveClip()
	fmt.Println(clipping, eps, optimizer.Centralize(), optimizer.ZeroGrads())
	// Output: 0.01 0.001 true true
}

// The second moment in bfloat16 and the first in float32, and what is in a checkpoint of it.
func ExampleStateType() {
	const n = 1 << 13
	optimizer, err := update.New(n, torch.Adam())
	check(err)
	check(optimizer.SetStateTypes(map[string]update.StateType{"m": update.StateFloat32, "v": update.StateBF16}, 1))
	params, grads := make([]float32, n), make([]float32, n)
	for i := range grads {
		grads[i] = 1
	}
	check(optimizer.Step(params, grads))
	types, seed := optimizer.StateTypes()
	exported, err := optimizer.Export()
	check(err)
	var v update.TypedState = exported.Tensors[0].Typed["v"]
	fmt.Println(types["v"], seed, len(exported.Tensors[0].Buffers["m"]), v.Type, len(v.BF16))
	fmt.Println(math.Abs(float64(v.BF16[0].Float32())-.001) < .00001)
	// Output:
	// bfloat16 1 8192 bfloat16 8192
	// true
}

// Memory with pages of the usual size, for a program that holds many small models.
func ExampleSetHugePages() {
	update.SetHugePages(false)
	defer update.SetHugePages(true)
	buffers := update.Alloc(1<<20, 2)
	fmt.Println(len(buffers), len(buffers[0]))
	// Output: 2 1048576
}
