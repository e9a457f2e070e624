package kernels_test

import (
	"fmt"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A framework with its own optimizers calls a bare kernel with the scalars of a
// step.
func ExampleMomentum() {
	params := []float32{1, 2, 3}
	grads := []float32{1, 1, 1}
	buffer := make([]float32, 3)
	step := fallback.MomentumScalars{Common: fallback.Common{Scale: 1}, Beta: .5, Input: 1, Step: .25}

	list := kernels.NewList(3, [][]float32{params, grads, buffer})
	kernels.Momentum(kernels.Active(), list, &step)
	kernels.Momentum(kernels.Active(), list, &step)
	fmt.Println(params, buffer)
	// Output: [0.375 1.375 2.375] [1.5 1.5 1.5]
}

// A sum has 32 lanes, which Total adds in a fixed order.
func ExampleSumSquares() {
	var lanes [fallback.Lanes]float64
	list := kernels.NewList(1, [][]float32{{1, 2}, {3, 4}})
	kernels.SumSquares(kernels.Active(), list, &lanes)
	fmt.Println(fallback.Total(&lanes))
	// Output: 30
}
