package update_test

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"log"
	"math"
	"sync"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// AdamW on f(w) = ½‖w - target‖², whose gradient is w - target.
func Example() {
	rule := torch.AdamW()
	rule.LR = 0.1
	params, grads := make([]float32, 3), make([]float32, 3)
	optimizer, err := update.New(len(params), rule)
	check(err)

	target := []float32{1, -2, 3}
	for range 200 {
		for i := range grads {
			grads[i] = params[i] - target[i]
		}
		check(optimizer.Step(params, grads))
	}
	fmt.Printf("%.2f after %d steps\n", params, optimizer.Steps())
	// Output: [1.00 -1.99 2.98] after 200 steps
}

// A cautious update: where the gradient opposes the momentum nothing moves, and the rest of the
// tensor makes up for it.
func ExampleOptions() {
	rule := torch.Momentum(0.9)
	rule.LR, rule.CautiousUpdate = 0.1, true
	optimizer, err := update.New(2, rule)
	check(err)

	params := []float32{0, 0}
	check(optimizer.Step(params, []float32{1, 1}))
	check(optimizer.Step(params, []float32{1, -0.5}))
	fmt.Printf("%.2f\n", params)
	// Output: [-0.48 -0.10]
}

// Parameter groups: weights decay, biases do not.
func ExampleNewSet() {
	weights := update.SGD{Options: update.Options{LR: 0.5, WeightDecay: 0.1}}
	biases := update.SGD{Options: update.Options{LR: 0.5}}
	optimizer, err := update.NewSet([]update.Tensor{
		{Size: 3, Rule: 0},
		{Size: 1, Rule: 1},
	}, weights, biases)
	check(err)

	params := [][]float32{{1, 2, 3}, {4}}
	grads := [][]float32{{1, 0, 0}, {0}}
	check(optimizer.StepSet(params, grads))
	fmt.Printf("%.2f\n", params)

	check(optimizer.SetRuleLR(1, 0)) // freezes the biases
	grads[1][0] = 1
	check(optimizer.StepSet(params, grads))
	fmt.Printf("%.2f\n", params)
	// Output:
	// [[0.45 1.90 2.85] [4.00]]
	// [[-0.07 1.80 2.71] [4.00]]
}

// A matrix and a vector with Adafactor: the matrix keeps a number for each of its 4 rows and
// 3 columns in place of one for each parameter.
func ExampleAdafactor() {
	r := torch.Adafactor()
	r.LR = .1
	o, err := update.NewSet([]update.Tensor{
		{Name: "weights", Size: 12, Columns: 3},
		{Name: "bias", Size: 3},
	}, r)
	check(err)
	params := [][]float32{{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1}}
	grads := [][]float32{{1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3}, {1, 2, 3}}
	check(o.StepSet(params, grads))

	state, err := o.Export()
	check(err)
	for _, t := range state.Tensors {
		fmt.Println(t.Name, t.Buffers)
	}
	fmt.Println(params[0][:3], params[1])
	// Output:
	// weights map[col_var:[1 4 9] row_var:[4.6666665 4.6666665 4.6666665 4.6666665]]
	// bias map[variance:[1 4 9]]
	// [0.9 0.9 0.9] [0.9 0.9 0.9]
}

// Hidden layers' matrices with Muon, all else with AdamW. A step of Muon with RMS is as long
// as one of AdamW.
func ExampleMuon() {
	muon := torch.Muon()
	muon.Spectral, muon.RMS = false, .2
	o, err := update.NewSet([]update.Tensor{
		{Name: "weights", Size: 6, Columns: 3},
		{Name: "bias", Size: 3, Rule: 1},
	}, muon, torch.AdamW())
	check(err)

	params := [][]float32{{1, 2, 3, 4, 5, 6}, {0, 0, 0}}
	grads := [][]float32{{1, 0, 0, 0, 0, 100}, {1, 1, 1}}
	check(o.StepSet(params, grads))
	fmt.Printf("%.4f\n", params)
	// Output: [[0.9997 1.9998 2.9997 3.9996 4.9995 5.9992] [-0.0010 -0.0010 -0.0010]]
}

// All tensors of a network with SOAP: the weights have preconditioners of both sides, the
// embedding of the shorter one alone, because a side of 50000 is longer than MaxPrecondDim, and
// the biases take Adam's steps. The first step makes the bases and moves nothing.
func ExampleSOAP() {
	o, err := update.NewSet([]update.Tensor{
		{Name: "embedding", Size: 50000 * 8, Columns: 8},
		{Name: "weight", Size: 16 * 8, Columns: 8},
		{Name: "bias", Size: 16},
	}, textbook.SOAP())
	check(err)
	for k := range 2 {
		sizes := map[string]int{}
		names, err := o.Buffers(k)
		check(err)
		for _, name := range names {
			b, err := o.Buffer(k, name)
			check(err)
			sizes[name] = len(b)
		}
		fmt.Println(sizes)
	}
	// Output:
	// map[left:0 left_basis:0 m:400000 right:64 right_basis:64 v:400000]
	// map[left:256 left_basis:256 m:128 right:64 right_basis:64 v:128]
}

// NorMuon gives the rows of a matrix about the same share of a step. Its state is a mean of
// squares of each, beside the momentum.
func ExampleMuon_norMuon() {
	r := textbook.NorMuon(.02)
	o, err := update.NewSet([]update.Tensor{{Name: "weights", Size: 6, Columns: 2}}, r)
	check(err)

	params := [][]float32{{1, 1, 1, 1, 1, 1}}
	check(o.StepSet(params, [][]float32{{1, 1, 0, 3, .01, 0}}))
	v, err := o.Buffer(0, "row_var")
	check(err)
	fmt.Printf("%.3f\n", v)
	fmt.Printf("%.3f\n", params[0])
	// Output:
	// [0.020 0.015 0.000]
	// [0.984 0.997 1.005 0.984 0.983 1.001]
}

// A step on the caller's goroutines has the bits of Step.
func ExampleOptimizer_Apply() {
	const n, part = 10000, 3000
	optimizer, err := update.New(n, torch.Momentum(0.9))
	check(err)
	params, grads := make([]float32, n), make([]float32, n)
	for i := range grads {
		grads[i] = float32(i)
	}

	check(optimizer.Begin())
	var running sync.WaitGroup
	for lo := 0; lo < n; lo += part {
		hi := min(lo+part, n)
		running.Go(func() { check(optimizer.Apply(0, lo, params[lo:hi], grads[lo:hi])) })
	}
	running.Wait()
	fmt.Printf("%.3f %.3f %.3f\n", params[0], params[1], params[n-1])
	// Output: 0.000 -0.001 -9.999
}

// Clipping without a pass of its own: the norm is there once the last gradient has arrived.
func ExampleOptimizer_Observe() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 2}, {Size: 1}}, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	check(optimizer.SetMaxNorm(1))
	params := [][]float32{{0, 0}, {0}}
	grads := [][]float32{{2, 3}, {6}}

	var arriving sync.WaitGroup
	for k := range grads {
		arriving.Go(func() { check(optimizer.Observe(k, 0, grads[k])) })
	}
	arriving.Wait()
	check(optimizer.StepSet(params, grads))
	fmt.Printf("norm %g, %.3f\n", optimizer.GradNorm(), params)
	// Output: norm 7, [[-0.286 -0.429] [-0.857]]
}

// Mixed precision: the model computes with weights of BF16 and has gradients of it, and the
// step moves float32 ones, of which it leaves the model's as it goes. Steps of a rate that a
// weight of BF16 would not feel add up.
func ExampleOptimizer_StepTyped() {
	const n = 1000
	optimizer, err := update.New(n, update.SGD{Options: update.Options{LR: 0.001}})
	check(err)

	master, weights, grads := make([]float32, n), make([]update.BF16, n), make([]update.BF16, n)
	for i := range master {
		master[i] = 1
	}
	check(optimizer.SetCopies([]update.Typed{update.TypedOf(weights)}))
	check(optimizer.WriteCopies([][]float32{master})) // before the first step
	for range 8 {
		for i, w := range weights {
			grads[i] = fallback.ToBF16(w.Float32() / 2)
		}
		check(optimizer.StepTyped([][]float32{master}, []update.Typed{update.TypedOf(grads)}))
	}
	fmt.Printf("%.4f, of which the model has %v\n", master[0], weights[0].Float32())
	// Output: 0.9960, of which the model has 0.99609375
}

// The same in 4 bytes a parameter instead of 6: the model's weights are half of the master, and
// the step is that of float32 to the bit.
func ExampleOptimizer_StepSplit() {
	const n = 1000
	optimizer, err := update.New(n, update.SGD{Options: update.Options{LR: 0.001}})
	check(err)

	master, weights, rests, grads := make([]float32, n), make([]update.BF16, n), make([]int16, n), make([]update.BF16, n)
	for i := range master {
		master[i] = 1
	}
	check(update.SplitParams(weights, rests, master))
	for range 8 {
		for i, w := range weights {
			grads[i] = fallback.ToBF16(w.Float32() / 2)
		}
		check(optimizer.StepSplit([][]update.BF16{weights}, [][]int16{rests}, []update.Typed{update.TypedOf(grads)}))
	}
	check(update.JoinParams(master, weights, rests)) // to look at, or to save
	fmt.Printf("%.4f, of which the model has %v\n", master[0], weights[0].Float32())
	// Output: 0.9960, of which the model has 0.99609375
}

// In 2 bytes a parameter: steps are rounded at random, so that on average parameters go as far as
// they should, though each step is an eighth of what a BF16 near 1 can be told by.
func ExampleOptimizer_StepBF16() {
	const n = 1000
	optimizer, err := update.New(n, update.SGD{Options: update.Options{LR: 0.001}})
	check(err)
	check(optimizer.SetRounding(1)) // the seed

	weights, grads := make([]update.BF16, n), make([]update.BF16, n)
	for i := range weights {
		weights[i] = fallback.ToBF16(1)
	}
	for range 8 {
		for i, w := range weights {
			grads[i] = fallback.ToBF16(w.Float32() / 2)
		}
		check(optimizer.StepBF16([][]update.BF16{weights}, []update.Typed{update.TypedOf(grads)}))
	}
	mean := 0.0
	for _, w := range weights {
		mean += float64(w.Float32()) / n
	}
	fmt.Printf("%.3f on average, by the seed %d\n", mean, optimizer.Rounding())
	// Output: 0.996 on average, by the seed 1
}

// A backward pass that adds to the gradients finds zeros after each step.
func ExampleOptimizer_SetZeroGrads() {
	optimizer, err := update.New(1, update.SGD{Options: update.Options{LR: .5}})
	check(err)
	check(optimizer.SetZeroGrads(true))
	params, grads := []float32{8}, []float32{0}
	for range 3 {
		grads[0] += params[0] // of ½w²
		check(optimizer.Step(params, grads))
		fmt.Println(params, grads)
	}
	// Output:
	// [4] [0]
	// [2] [0]
	// [1] [0]
}

// Goroutines with samples of their own have a gradient each; the step has their mean.
func ExampleOptimizer_StepShards() {
	optimizer, err := update.New(2, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	params, shards := [][]float32{{0, 0}}, make([][][]float32, 4)
	var running sync.WaitGroup
	for j := range shards {
		running.Go(func() { shards[j] = [][]float32{{float32(j), 1}} })
	}
	running.Wait()
	check(optimizer.SetGradScale(1 / float64(len(shards))))
	check(optimizer.StepShards(params, shards))
	fmt.Println(params)
	// Output: [[-1.5 -1]]
}

// Micro-batches of 4 samples, of which the last has but 2: the step is that of all 10.
func ExampleAccumulator() {
	optimizer, err := update.New(1, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	params, accumulator := [][]float32{{0}}, update.NewAccumulator(optimizer)
	check(accumulator.Add([][]float32{{3}}, 4))
	check(accumulator.Add([][]float32{{5}}, 4))
	check(accumulator.StepSet(params, [][]float32{{1}}, 2))
	fmt.Println(params[0], "after", optimizer.Steps(), "step") // (4·3 + 4·5 + 2·1) / 10
	// Output: [-3.4] after 1 step
}

// The same of gradients of 16 bits, which are added up in float32.
func ExampleAccumulator_AddTyped() {
	optimizer, err := update.New(1, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	params, accumulator := [][]float32{{0}}, update.NewAccumulator(optimizer)
	half := func(x float32) []update.Typed { return update.TypedList([][]update.BF16{{fallback.ToBF16(x)}}) }
	check(accumulator.AddTyped(half(3), 4))
	check(accumulator.AddTyped(half(5), 4))
	check(accumulator.StepTyped(params, half(1), 2))
	fmt.Println(params[0], "after", optimizer.Steps(), "step")
	// Output: [-3.4] after 1 step
}

// An average of the parameters, kept in the step, is what to evaluate.
func ExampleOptimizer_SetAverage() {
	optimizer, err := update.New(1, update.SGD{Options: update.Options{LR: 1.5}})
	check(err)
	check(optimizer.SetAverage(update.TorchSWA(4))) // the mean of all steps after the fourth
	params, grads := [][]float32{{8}}, [][]float32{{0}}
	for range 8 {
		grads[0][0] = params[0][0] // of ½w²
		check(optimizer.StepSet(params, grads))
	}
	fmt.Println(optimizer.Averages(), "averages, w =", params[0])
	check(optimizer.SwapAverage(params))
	fmt.Println("evaluated at", params[0])
	check(optimizer.SwapAverage(params))
	fmt.Println("goes on from", params[0])
	// Output:
	// 4 averages, w = [0.03125]
	// evaluated at [-0.0390625]
	// goes on from [0.03125]
}

// Every second step begins anew half-way back.
func ExampleOptimizer_SetLookahead() {
	optimizer, err := update.New(1, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	check(optimizer.SetLookahead(update.Lookahead{Period: 2, Step: .5}))
	params, grads := []float32{0}, []float32{-1}
	for range 4 {
		check(optimizer.Step(params, grads))
		fmt.Print(params[0], " ")
	}
	// Output: 1 1 2 2
}

// The gradient of a row is at most a tenth as long as the row.
func ExampleOptimizer_SetAdaptiveClip() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 4, Columns: 2}}, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	check(optimizer.SetAdaptiveClip(.1, 1e-3))
	params := [][]float32{{3, 4, 30, 40}}
	check(optimizer.StepSet(params, [][]float32{{0, 10, 0, 1}}))
	fmt.Println(params[0])
	// Output: [3 3.5 30 39]
}

// The gradient of each row of a matrix loses its mean.
func ExampleOptimizer_SetCentralize() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 4, Columns: 2}}, update.SGD{Options: update.Options{LR: 1}})
	check(err)
	check(optimizer.SetCentralize(true))
	params := [][]float32{{0, 0, 0, 0}}
	check(optimizer.StepSet(params, [][]float32{{1, 3, 5, 5}}))
	fmt.Println(params[0])
	// Output: [1 -1 0 0]
}

// The scale of a loss whose gradients a narrow type holds up to 65504: it is halved until
// they do not overflow, and the steps that would have are skipped.
func ExampleLossScaler() {
	optimizer, err := update.New(1, update.SGD{Options: update.Options{LR: .5}})
	check(err)
	check(optimizer.SetPolicy(update.Skip))
	scaler, err := update.NewLossScaler(update.TorchLossScaling())
	check(err)
	params, grads := [][]float32{{8}}, [][]float32{{0}}
	for range 5 {
		grad := params[0][0] * float32(scaler.Scale()) // of ½w², scaled
		if grad > 65504 {
			grad = float32(math.Inf(1))
		}
		grads[0][0] = grad
		check(scaler.StepSet(optimizer, params, grads))
		check(scaler.Update())
	}
	fmt.Println(optimizer.Skipped(), "skipped, scale", scaler.Scale(), "w =", params[0][0])
	// Output: 4 skipped, scale 4096 w = 4
}

// A checkpoint has the parameters and the exported state. Training goes on with
// the same bits.
func ExampleOptimizer_Export() {
	params, grads := []float32{1, 2}, []float32{0.5, -0.5}
	optimizer, err := update.New(len(params), torch.Adam())
	check(err)
	for range 10 {
		check(optimizer.Step(params, grads))
	}
	var file bytes.Buffer
	writer := gob.NewEncoder(&file)
	check(writer.Encode(params))
	exported, err := optimizer.Export()
	check(err)
	check(writer.Encode(exported))

	var loaded []float32
	var state update.State
	reader := gob.NewDecoder(&file)
	check(reader.Decode(&loaded))
	check(reader.Decode(&state))
	resumed, err := update.New(len(loaded), torch.Adam())
	check(err)
	check(resumed.Import(state))

	check(optimizer.Step(params, grads))
	check(resumed.Step(loaded, grads))
	fmt.Println(resumed.Steps(), loaded[0] == params[0], loaded[1] == params[1])
	// Output: 11 true true
}

// AdamW with state of 8 bits: two bytes of a parameter and a scale of each 256, where float32
// takes eight.
func ExampleOptimizer_SetStateTypes() {
	const n = 1 << 16
	params, grads := make([]float32, n), make([]float32, n)
	for i := range grads {
		grads[i] = 1
	}
	optimizer, err := update.New(n, torch.AdamW())
	check(err)
	fmt.Println(optimizer.StateBytes(), "bytes of float32")
	check(optimizer.SetStateTypes(map[string]update.StateType{"m": update.StateFloat8, "v": update.StateFloat8}, 1))
	fmt.Println(optimizer.StateBytes(), "bytes")
	for range 10 {
		check(optimizer.Step(params, grads))
	}
	exported, err := optimizer.Export()
	check(err)
	m := exported.Tensors[0].Typed["m"]
	fmt.Println(m.Type, m.Codes[0], m.Scales[0])
	// Output:
	// 524288 bytes of float32
	// 133120 bytes
	// float8 127 0.6513216
}

// Schedule-Free AdamW on f(w) = ½(w - 1)², with noise. To evaluate or to ship the parameters
// they are made the mean of where they have been, and to go on what they were.
func ExampleOptimizer_Eval() {
	rule := torch.AdamWScheduleFree() // no schedule: parameters are averaged
	rule.LR, rule.WarmupSteps = .1, 10
	params, grads := []float32{0}, make([]float32, 1)
	optimizer, err := update.New(len(params), rule)
	check(err)

	for step := range 300 {
		noise := math.Sin(float64(step * step))
		grads[0] = params[0] - 1 + float32(noise)
		check(optimizer.Step(params, grads))
	}
	check(optimizer.Eval(params))
	fmt.Printf("evaluated at %.2f\n", params)
	check(optimizer.Train(params))
	check(optimizer.Step(params, grads))
	// Output: evaluated at [1.01]
}

// Batch, mini-batch and stochastic gradient descent differ in how many rows'
// gradients are added before a step. SetGradScale divides by their number.
func ExampleOptimizer_SetGradScale() {
	x := []float32{0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5}
	y := []float32{1, 3, 5, 7, 2, 4, 6, 8} // 2x + 1
	model, err := loss.NewLinear(loss.Squared, 1, true)
	check(err)

	for _, batch := range []int{len(y), 2, 1} {
		w, row, sum := make([]float32, 2), make([]float32, 2), make([]float32, 2)
		optimizer, err := update.New(len(w), update.SGD{Options: update.Options{LR: 0.05}})
		check(err)
		check(optimizer.SetGradScale(1 / float64(batch)))
		for range 50 {
			for first := 0; first < len(y); first += batch {
				clear(sum)
				for i := first; i < first+batch; i++ {
					_, err := model.Gradient(x[i:i+1], y[i:i+1], w, row)
					check(err)
					for j, g := range row {
						sum[j] += g
					}
				}
				check(optimizer.Step(w, sum))
			}
		}
		value, err := model.Gradient(x, y, w, row)
		check(err)
		fmt.Printf("batches of %d: %3d steps, w = %.3f, loss %.5f\n", batch, optimizer.Steps(), w, value)
	}
	// Output:
	// batches of 8:  50 steps, w = [2.015 0.965], loss 0.00036
	// batches of 2: 200 steps, w = [2.000 1.000], loss 0.00000
	// batches of 1: 400 steps, w = [2.000 1.000], loss 0.00000
}

// An embedding table of which a batch uses two rows, one of them twice.
func ExampleStepRows() {
	rule := torch.SparseAdam()
	rule.LR = 0.1
	optimizer, err := update.NewSet([]update.Tensor{{Name: "embedding", Size: 4 * 2, Columns: 2}}, rule)
	check(err)

	table := []float32{1, 1, 2, 2, 3, 3, 4, 4}
	indices := []int32{3, 0, 3}
	grads := []float32{0.5, 0, 1, -1, 0.5, 0} // of row 3, 0 and 3 again
	check(update.StepRows(optimizer, table, indices, grads))
	fmt.Printf("%.2f\n", table)
	// Output: [0.90 1.10 2.00 2.00 3.00 3.00 3.90 4.00]
}
