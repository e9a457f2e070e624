package update_test

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"log"
	"sync"

	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
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
