package update_test

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/tensorflow"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

// An example of each rule that has none in example_test.go.

// towards is the gradient of ½‖params - target‖².
func towards(params, target []float32) []float32 {
	grads := make([]float32, len(params))
	for i := range grads {
		grads[i] = params[i] - target[i]
	}
	return grads
}

// descendTo takes steps from 0 on ½‖w - target‖².
func descendTo(rule update.Rule, steps int, target ...float32) []float32 {
	params := make([]float32, len(target))
	optimizer, err := update.New(len(params), rule)
	check(err)
	for range steps {
		check(optimizer.Step(params, towards(params, target)))
	}
	return params
}

// descend takes steps from 0 towards (1, -2, 3).
func descend(rule update.Rule, steps int) []float32 { return descendTo(rule, steps, 1, -2, 3) }

// AdaBelief steps further where gradients are what their mean has foretold.
func ExampleAdaBelief() {
	rule := optax.AdaBelief(0.1)
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// Adadelta makes its rate of how far parameters have moved, and begins slowly.
func ExampleAdadelta() {
	rule := torch.Adadelta()
	rule.LR = 10
	fmt.Printf("%.2f\n", descend(rule, 300))
	// Output: [1.00 -2.00 3.00]
}

// AdaGrad, whose steps become shorter by all the gradients so far.
func ExampleAdaGrad() {
	rule := torch.Adagrad()
	rule.LR = 1
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// AdaGrad by dual averaging makes parameters of the sum of all gradients, and zeros of those
// whose mean L1 outweighs.
func ExampleAdaGradDA() {
	rule := tensorflow.AdagradDA(1, 0.1, 0.5, 0)
	fmt.Printf("%.2f\n", descendTo(rule, 200, 1, -2, 0.01))
	// Output: [0.49 -1.47 0.00]
}

// Adam with AMSGrad, whose divisor never falls again.
func ExampleAdam() {
	rule := torch.Adam()
	rule.LR, rule.AMSGrad = 0.1, true
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// Adamax divides by the largest gradient of late, so that no step is longer than the rate.
func ExampleAdamax() {
	rule := torch.Adamax()
	rule.LR = 0.1
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// Adan looks ahead by how gradients have changed.
func ExampleAdan() {
	rule := textbook.Adan(0.1)
	fmt.Printf("%.2f\n", descend(rule, 500))
	// Output: [1.00 -2.00 3.00]
}

// AddSign takes steps of twice the gradient where its mean has the same sign, and none where it
// has not.
func ExampleAddSign() {
	rule := update.AddSign{Options: update.Options{LR: 0.1}, Beta: 0.9, Alpha: 1, SignDecay: 1}
	fmt.Printf("%.2f\n", descend(rule, 1))
	// Output: [0.20 -0.40 0.60]
}

// AdEMAMix adds a mean that remembers gradients for many steps, and lets it in slowly.
func ExampleAdEMAMix() {
	rule := optax.AdEMAMix(0.1)
	rule.Beta3, rule.WarmupAlpha, rule.WarmupBeta3 = 0.99, 1000, 1000
	fmt.Printf("%.2f\n", descend(rule, 1000))
	// Output: [1.00 -2.00 3.00]
}

// ADOPT divides a gradient by the root of those before it: the first step moves nothing.
func ExampleADOPT() {
	rule := optax.ADOPT(0.1)
	fmt.Printf("%.2f then %.2f\n", descend(rule, 1), descend(rule, 200))
	// Output: [0.00 0.00 0.00] then [1.00 -2.00 3.00]
}

// ASGD keeps the mean of the parameters from step T0 on, which is what to evaluate.
func ExampleASGD() {
	rule := torch.ASGD()
	rule.LR, rule.T0 = 0.5, 5
	optimizer, err := update.New(1, rule)
	check(err)
	w, noise := []float32{4}, []float32{1, -1}
	for step := range 101 {
		check(optimizer.Step(w, []float32{w[0] - 1 + noise[step%2]}))
	}
	mean, err := optimizer.Buffer(0, "ax")
	check(err)
	fmt.Printf("at %.2f, on average %.2f\n", w, mean)
	// Output: at [0.67], on average [1.00]
}

// D-Adapt AdamW finds its step size, too, of what gradients have in common. A growth rate keeps
// it from leaping.
func ExampleDAdaptAdamW() {
	rule := torch.DAdaptAdam()
	rule.GrowthRate = 1.5
	optimizer, err := update.New(3, rule)
	check(err)
	params, target := make([]float32, 3), []float32{1, -2, 3}
	for _, steps := range []int{1, 20, 180} {
		for range steps {
			check(optimizer.Step(params, towards(params, target)))
		}
		d, err := optimizer.Buffer(0, "d")
		check(err)
		fmt.Printf("%3d steps: d is %.2g, parameters %.2f\n", optimizer.Steps(), d[0], params)
	}
	// Output:
	// 1 steps: d is 1e-06, parameters [0.00 -0.00 0.00]
	//  21 steps: d is 0.0033, parameters [0.01 -0.01 0.01]
	// 201 steps: d is 2.2, parameters [1.00 -2.00 3.00]
}

// FTRL with L1: a parameter is exactly 0 until its gradients add up to more than that.
func ExampleFTRL() {
	rule := keras.Ftrl()
	rule.LR, rule.L1 = 1, 3
	fmt.Printf("%.2f\n", descendTo(rule, 200, 1, -2, 0.01))
	// Output: [1.00 -2.00 0.00]
}

// LAMB's steps are as long as the parameters are large, whatever the gradient: a hundredth of
// their norm.
func ExampleLAMB() {
	rule := optax.Lamb(0.01)
	optimizer, err := update.New(2, rule)
	check(err)
	params := []float32{30, 40}
	check(optimizer.Step(params, []float32{1e-3, 1e-3}))
	fmt.Printf("a step of %.2f\n", math.Hypot(float64(params[0]-30), float64(params[1]-40)))
	// Output: a step of 0.50
}

// LaProp divides gradients before it takes their mean, and so stays stable with any two betas.
func ExampleLaProp() {
	rule := textbook.LaProp(0.1)
	rule.Beta1, rule.Beta2 = 0.9, 0.5
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 2.99]
}

// LARS is momentum whose steps are as long as the parameters are large.
func ExampleLARS() {
	rule := textbook.LARS(1, 0.9)
	optimizer, err := update.New(2, rule)
	check(err)
	params := []float32{30, 40}
	check(optimizer.Step(params, []float32{6, 8}))
	fmt.Printf("a step of %.3f\n", math.Hypot(float64(params[0]-30), float64(params[1]-40)))
	// Output: a step of 0.050
}

// Lion steps along signs: every element moves by the rate.
func ExampleLion() {
	fmt.Printf("%.2f\n", descend(optax.Lion(0.1), 3))
	// Output: [0.30 -0.30 0.30]
}

// MADGRAD divides sums of gradients by the cube root of their squares.
func ExampleMADGRAD() {
	rule := optax.MADGRAD(0.1)
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// Nesterov's momentum, as torch.optim.SGD has it.
func ExampleMomentum() {
	rule := torch.Momentum(0.9)
	rule.LR, rule.Nesterov = 0.05, true
	fmt.Printf("%.2f\n", descend(rule, 100))
	// Output: [1.00 -2.00 3.00]
}

// Adam with Nesterov's momentum.
func ExampleNAdam() {
	rule := torch.NAdam()
	rule.LR = 0.1
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// NovoGrad keeps one second moment for a whole tensor.
func ExampleNovoGrad() {
	optimizer, err := update.New(3, textbook.NovoGrad(0.1))
	check(err)
	check(optimizer.Step(make([]float32, 3), []float32{2, 3, 6}))
	v, err := optimizer.Buffer(0, "v")
	check(err)
	fmt.Println(v)
	// Output: [49]
}

// PowerSign multiplies by e where gradient and mean agree.
func ExamplePowerSign() {
	rule := update.PowerSign{Options: update.Options{LR: 0.1}, Beta: 0.9, LogBase: 1, SignDecay: 1}
	fmt.Printf("%.3f\n", descend(rule, 1))
	// Output: [0.272 -0.544 0.815]
}

// Prodigy finds its step size: d grows from a millionth until it is about the distance to go.
// The rate is 1.
func ExampleProdigy() {
	optimizer, err := update.New(3, torch.Prodigy())
	check(err)
	params, target := make([]float32, 3), []float32{1, -2, 3}
	for _, steps := range []int{1, 20, 180} {
		for range steps {
			check(optimizer.Step(params, towards(params, target)))
		}
		d, err := optimizer.Buffer(0, "d")
		check(err)
		fmt.Printf("%3d steps: d is %.2g, parameters %.2f\n", optimizer.Steps(), d[0], params)
	}
	// Output:
	// 1 steps: d is 1e-06, parameters [0.00 -0.00 0.00]
	//  21 steps: d is 0.88, parameters [0.48 -2.99 1.26]
	// 201 steps: d is 0.88, parameters [1.00 -2.00 3.00]
}

// RAdam rises from a plain momentum to Adam in its first steps, without a warm-up.
func ExampleRAdam() {
	rule := torch.RAdam()
	rule.LR = 0.1
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 2.98]
}

// RMSprop, centered: it divides by the standard deviation of gradients.
func ExampleRMSprop() {
	rule := torch.RMSprop()
	rule.LR, rule.Centered = 0.01, true
	fmt.Printf("%.2f\n", descend(rule, 300))
	// Output: [1.00 -2.00 2.96]
}

// Row-wise AdaGrad keeps a number for each row of an embedding table.
func ExampleRowwiseAdaGrad() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 4 * 2, Columns: 2}}, textbook.RowwiseAdaGrad(0.1))
	check(err)
	table := []float32{1, 1, 2, 2, 3, 3, 4, 4}
	check(update.StepRows(optimizer, table, []int32{2, 0}, []float32{3, 4, 0, 1}))
	squares, err := optimizer.Buffer(0, "accumulator")
	check(err)
	fmt.Printf("%.2f, of rows %.4f\n", table, squares)
	// Output: [1.00 0.86 2.00 2.00 2.92 2.89 4.00 4.00], of rows [0.5000 0.0000 12.5000 0.0000]
}

// Row-wise Adam has half of Adam's state: the mean of squares is a number for each row.
func ExampleRowwiseAdam() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 4 * 2, Columns: 2}}, textbook.RowwiseAdam(0.1))
	check(err)
	table := []float32{1, 1, 2, 2, 3, 3, 4, 4}
	check(update.StepRows(optimizer, table, []int32{2, 0}, []float32{3, 4, 0, 1}))
	squares, err := optimizer.Buffer(0, "v")
	check(err)
	fmt.Printf("%.2f, of rows %.4f\n", table, squares)
	// Output: [1.00 0.86 2.00 2.00 2.92 2.89 4.00 4.00], of rows [0.0005 0.0000 0.0125 0.0000]
}

// Row-wise LAMB has the state of row-wise Adam, and steps of a tenth of a row's length.
func ExampleRowwiseLAMB() {
	optimizer, err := update.NewSet([]update.Tensor{{Size: 4 * 2, Columns: 2}}, textbook.RowwiseLAMB(0.1))
	check(err)
	table := []float32{1, 1, 2, 2, 3, 3, 4, 4}
	check(update.StepRows(optimizer, table, []int32{2, 0}, []float32{3, 4, 0, 1}))
	squares, err := optimizer.Buffer(0, "v")
	check(err)
	fmt.Printf("%.2f, of rows %.4f\n", table, squares)
	// Output: [1.00 0.86 2.00 2.00 2.75 2.66 4.00 4.00], of rows [0.0005 0.0000 0.0125 0.0000]
}

// Rprop has a step of each element, which grows while the gradient keeps its sign: no size of a
// gradient matters.
func ExampleRprop() {
	rule := torch.Rprop()
	rule.LR = 0.1
	fmt.Printf("%.2f\n", descend(rule, 3))
	// Output: [0.36 -0.36 0.36]
}

// Schedule-Free AdamW averages parameters instead of lowering the rate. Eval makes them the
// mean.
func ExampleScheduleFreeAdamW() {
	rule := torch.AdamWScheduleFree()
	rule.LR = 0.1
	optimizer, err := update.New(3, rule)
	check(err)
	params, target := make([]float32, 3), []float32{1, -2, 3}
	for range 500 {
		check(optimizer.Step(params, towards(params, target)))
	}
	check(optimizer.Eval(params))
	fmt.Printf("%.2f\n", params)
	// Output: [1.00 -2.00 3.01]
}

// Schedule-Free RAdam needs neither a schedule nor a warm-up.
func ExampleScheduleFreeRAdam() {
	rule := torch.RAdamScheduleFree()
	rule.LR = 0.1
	optimizer, err := update.New(3, rule)
	check(err)
	params, target := make([]float32, 3), []float32{1, -2, 3}
	for range 500 {
		check(optimizer.Step(params, towards(params, target)))
	}
	check(optimizer.Eval(params))
	fmt.Printf("%.2f\n", params)
	// Output: [1.00 -1.98 3.18]
}

// Schedule-Free SGD.
func ExampleScheduleFreeSGD() {
	rule := torch.SGDScheduleFree()
	rule.LR = 0.5
	optimizer, err := update.New(3, rule)
	check(err)
	params, target := make([]float32, 3), []float32{1, -2, 3}
	for range 500 {
		check(optimizer.Step(params, towards(params, target)))
	}
	check(optimizer.Eval(params))
	fmt.Printf("%.2f\n", params)
	// Output: [1.00 -2.00 3.00]
}

// Plain gradient descent: each step is a tenth of the way to the target.
func ExampleSGD() {
	rule := textbook.SGD(0.1)
	fmt.Printf("%.2f\n", descend(rule, 50))
	// Output: [0.99 -1.99 2.98]
}

// SignSGD looks at nothing but the gradient's sign.
func ExampleSignSGD() {
	rule := update.SignSGD{Options: update.Options{LR: 0.5}}
	fmt.Printf("%.2f\n", descend(rule, 3))
	// Output: [1.00 -1.50 1.50]
}

// The momentum of SimplifiedAdEMAMix is a sum of gradients: the rate is as much smaller.
func ExampleSimplifiedAdEMAMix() {
	rule := optax.SimplifiedAdEMAMix(0.01)
	rule.Beta1 = 0.9
	fmt.Printf("%.2f\n", descend(rule, 500))
	// Output: [1.00 -2.00 3.00]
}

// Sophia divides by an estimate of the Hessian's diagonal, here by what it is: however steep it
// is, the step is half of the way.
func ExampleSophia() {
	rule := optax.Sophia(0.5)
	rule.WeightDecay, rule.Gamma, rule.Beta1, rule.Beta2 = 0, 1, 0, 0
	optimizer, err := update.New(2, rule)
	check(err)
	steepness, params := []float32{100, 0.5}, []float32{1, 1}
	check(optimizer.UpdateHessian([][]float32{steepness}))
	check(optimizer.Step(params, []float32{steepness[0] * params[0], steepness[1] * params[1]}))
	fmt.Printf("%.2f\n", params)
	// Output: [0.50 0.50]
}

// StableAdamW takes shorter steps where gradients are larger than their mean has been.
func ExampleStableAdamW() {
	rule := textbook.StableAdamW(0.1)
	rule.WeightDecay = 0
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}

// Yogi, whose mean of squares falls as slowly as it rises.
func ExampleYogi() {
	rule := optax.Yogi(0.1)
	fmt.Printf("%.2f\n", descend(rule, 200))
	// Output: [1.00 -2.00 3.00]
}
