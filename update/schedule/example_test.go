package schedule_test

import (
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/schedule"
	"github.com/lockstep-go/lockstep/update/torch"
)

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
