package kernels_test

import (
	"fmt"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A framework with its own optimizers calls a bare kernel with the scalars of a
// step.
func ExampleTable_Momentum() {
	params := []float32{1, 2, 3}
	grads := []float32{1, 1, 1}
	buffer := make([]float32, 3)
	step := fallback.MomentumScalars{Beta: .5, Input: 1, Decay: 1, Step: .25, Keep: fallback.FlushSmall, Lasts: fallback.KeepAll, Counts: fallback.KeepAll}

	k := kernels.Active()
	k.Momentum(params, grads, buffer, &step)
	k.Momentum(params, grads, buffer, &step)
	fmt.Println(params, buffer)
	// Output: [0.375 1.375 2.375] [1.5 1.5 1.5]
}

// A sum has 32 lanes, which Total adds in a fixed order.
func ExampleTable_SumSquares() {
	var lanes [fallback.Lanes]float64
	kernels.Active().SumSquares([]float32{1, 2, 3, 4}, &lanes)
	fmt.Println(fallback.Total(&lanes))
	// Output: 30
}
