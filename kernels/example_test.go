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

// A product of matrices has room for its operands as the kernels read them.
func ExampleMatMul() {
	table := kernels.Active()
	p := kernels.MatMul{
		C: fallback.RowMajor(2, 2, make([]float32, 4)),
		A: fallback.RowMajor(2, 3, []float32{1, 2, 3, 4, 5, 6}),
		B: fallback.RowMajor(2, 3, []float32{1, 0, 1, 0, 1, 0}).T(),
	}
	p.Alpha = 1
	p.Run(table, make([]float32, kernels.MatMulRoom(table, 2, 2, 3)))
	fmt.Println(p.C.Data)
	// Output: [4 2 10 5]
}

// A sum has 32 lanes, which Total adds in a fixed order.
func ExampleSumSquares() {
	var lanes [fallback.Lanes]float64
	list := kernels.NewList(1, [][]float32{{1, 2}, {3, 4}})
	kernels.SumSquares(kernels.Active(), list, &lanes)
	fmt.Println(fallback.Total(&lanes))
	// Output: 30
}
