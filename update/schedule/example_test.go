package schedule_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/schedule"
	"github.com/lockstep-go/lockstep/update/torch"
)

// show prints the rates of the first steps.
func show(steps int64, s schedule.Schedule, err error) {
	check(err)
	rates := make([]string, steps)
	for t := range rates {
		rates[t] = fmt.Sprintf("%.4g", s(int64(t)))
	}
	fmt.Println(strings.Join(rates, " "))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A warm-up of 2 steps, then a cosine over 4.
func Example() {
	cosine, err := schedule.CosineDecay{LR: .1, End: .01, Exponent: 1, Steps: 4}.Schedule()
	check(err)
	rate, err := schedule.Warmup(0, 2, cosine)
	check(err)

	params, grads := []float32{1}, []float32{1}
	optimizer, err := update.New(len(params), torch.SGD())
	check(err)
	for optimizer.Steps() < 8 {
		check(optimizer.SetLR(rate(optimizer.Steps())))
		check(optimizer.Step(params, grads))
		fmt.Printf("%.3f ", optimizer.LR())
	}
	// Output: 0.000 0.050 0.100 0.087 0.055 0.023 0.010 0.010
}

func ExamplePlateau() {
	options := schedule.TorchPlateau(.1)
	options.Bad = 3 // patience 2
	plateau, err := schedule.NewPlateau(options)
	check(err)
	for _, loss := range []float64{2, 1, 1, 1, 1, 1} {
		fmt.Printf("%.2f ", plateau.Observe(loss))
	}
	// Output: 0.10 0.10 0.10 0.10 0.01 0.01
}

// PyTorch's ExponentialLR, StepLR, MultiStepLR and LinearLR of a rate of .1.
func ExampleExponential() {
	exponential, err := schedule.Exponential(.1, .5)
	show(5, exponential, err)
	step, err := schedule.Step(.1, .1, 2)
	show(5, step, err)
	milestones, err := schedule.MultiStep(.1, .1, 1, 4)
	show(5, milestones, err)
	linear, err := schedule.Linear(.1/3, .1, 4)
	show(5, linear, err)
	// Output:
	// 0.1 0.05 0.025 0.0125 0.00625
	// 0.1 0.1 0.01 0.01 0.001
	// 0.1 0.01 0.01 0.01 0.001
	// 0.03333 0.05 0.06667 0.08333 0.1
}

// Half a cosine, whole ones, and ones that begin again, each twice as long.
func ExampleCosineAnnealing() {
	decay, err := schedule.CosineDecay{LR: 1, Exponent: 1, Steps: 2}.Schedule()
	show(7, decay, err)
	annealing, err := schedule.CosineAnnealing(1, 0, 2)
	show(7, annealing, err)
	restarts, err := schedule.CosineRestarts{LR: 1, First: 2, Longer: 2, Lower: .5}.Schedule()
	show(7, restarts, err)
	// Output:
	// 1 0.5 0 0 0 0 0
	// 1 0.5 0 0.5 1 0.5 0
	// 1 0.5 0.5 0.4268 0.25 0.07322 0.25
}

// Keras' schedules: piecewise constant, an exponential in stairs, a polynomial, inverse time.
func ExampleExponentialDecay() {
	pieces, err := schedule.Piecewise([]int64{1, 3}, []float64{1, .1, .01})
	show(6, pieces, err)
	stairs, err := schedule.ExponentialDecay{LR: 1, Rate: .5, Steps: 2, Staircase: true}.Schedule()
	show(6, stairs, err)
	polynomial, err := schedule.Polynomial{LR: 1, End: .1, Power: 2, Steps: 3}.Schedule()
	show(6, polynomial, err)
	inverse, err := schedule.InverseTime{LR: 1, Rate: 1, Steps: 1}.Schedule()
	show(6, inverse, err)
	// Output:
	// 1 1 0.1 0.1 0.01 0.01
	// 1 1 0.5 0.5 0.25 0.25
	// 1 0.5 0.2 0.1 0.1 0.1
	// 1 0.5 0.3333 0.25 0.2 0.1667
}

// One cycle as in PyTorch, and as in Optax along a cosine and along lines.
func ExampleOneCycle() {
	for _, c := range []schedule.OneCycle{schedule.TorchOneCycle(1, 10), schedule.OptaxCosineOneCycle(1, 10), schedule.OptaxLinearOneCycle(1, 10)} {
		rate, err := c.Schedule()
		show(10, rate, err)
	}
	// Output:
	// 0.04 0.52 1 0.9505 0.8117 0.6113 0.3887 0.1883 0.04952 4e-06
	// 0.04 0.28 0.76 1 0.9505 0.8117 0.6113 0.3887 0.1883 0.04952
	// 0.04 0.36 0.68 1 0.808 0.616 0.424 0.232 0.04 0.02
}

// Warm-up, stable, decay, of which the last goes in a line, along a cosine or steeply at first;
// and the schedule of the first transformers.
func ExampleWSD() {
	for _, shape := range []schedule.Shape{schedule.Line, schedule.Cosine, schedule.OneMinusSqrt} {
		rate, err := schedule.WSD{Peak: 1, Warmup: 2, Stable: 2, Decay: 4, Shape: shape}.Schedule()
		show(9, rate, err)
	}
	rate, err := schedule.InverseSqrt(1, 2)
	show(9, rate, err)
	// Output:
	// 0 0.5 1 1 1 0.75 0.5 0.25 0
	// 0 0.5 1 1 1 0.8536 0.5 0.1464 0
	// 0 0.5 1 1 1 0.5 0.2929 0.134 0
	// 0 0.5 1 0.8165 0.7071 0.6325 0.5774 0.5345 0.5
}

// A warm-up, a constant rate, and from the 4th step on another schedule.
func ExampleJoin() {
	constant, err := schedule.Constant(.1)
	check(err)
	warm, err := schedule.Warmup(0, 2, constant)
	check(err)
	fall, err := schedule.Linear(.1, 0, 2)
	check(err)
	rate, err := schedule.Join([]schedule.Schedule{warm, fall}, 4)
	show(7, rate, err)
	// Output: 0 0.05 0.1 0.1 0.1 0.05 0
}

// A checkpoint of a plateau: with its state another one goes on as it would have.
func ExamplePlateau_SetState() {
	first, err := schedule.NewPlateau(schedule.KerasPlateau(.1))
	check(err)
	for range 9 {
		first.Observe(1)
	}
	var state schedule.PlateauState = first.State()

	second, err := schedule.NewPlateau(schedule.KerasPlateau(.1))
	check(err)
	check(second.SetState(state))
	fmt.Printf("%d bad, %.2f, then %.2f\n", state.Bad, second.LR(), second.Observe(1))
	fmt.Printf("%.2f\n", second.Observe(1))

	var options schedule.PlateauOptions = schedule.OptaxPlateau(.1)
	fmt.Println(options.Bad, options.Relative)
	// Output:
	// 8 bad, 0.10, then 0.10
	// 0.01
	// 10 0.0001
}
