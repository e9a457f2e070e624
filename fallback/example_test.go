package fallback_test

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
)

// The first step of Adam, by hand: from state that is 0, a gradient of 0.5 makes
//
//	m = (1-β₁)·0.5 = 0.05, v = (1-β₂)·0.5² = 0.00025
//
// and the parameter moves by the learning rate against the sign of its gradient,
// however large that is: m/√v, corrected for the start, is ±1.
func ExampleAdam() {
	const lr, beta1, beta2, eps = 0.1, 0.9, 0.999, 1e-8
	root := math.Sqrt(1 - beta2)
	step := fallback.AdamScalars{
		Common:  fallback.Common{Scale: 1},
		Weight1: fallback.Weight(beta1),
		Beta2:   beta2,
		Root2:   float32(root),
		Eps:     float32(eps * root),
		Step:    float32(lr * root / (1 - beta1)),
	}
	p, g := []float32{1, 1, 1}, []float32{0.5, -8, 0}
	m, v := make([]float32, 3), make([]float32, 3)
	fallback.Adam(p, g, m, v, &step)
	fmt.Printf("p %.4f\nm %.4f\nv %.5f\n", p, m, v)
	// Output:
	// p [0.9000 1.1000 1.0000]
	// m [0.0500 -0.8000 0.0000]
	// v [0.00025 0.06400 0.00000]
}

// A sum goes to 32 lanes, element i to lane i mod 32, and lanes are added in
// pairs half of them apart. So the sum is the same in every width of vector, but
// not that of a loop, which here loses a 1 beside 1e16.
func ExampleTotal() {
	x := make([]float32, 40)
	x[0], x[1], x[32], x[33] = 1e16, 1, -1e16, 1
	var lanes [fallback.Lanes]float64
	fallback.Sum(x, &lanes)
	fmt.Println("lanes", lanes[:3])
	fmt.Println("total", fallback.Total(&lanes))

	loop := 0.0
	for _, v := range x {
		loop += float64(v)
	}
	fmt.Println("loop", loop)
	// Output:
	// lanes [0 2 0]
	// total 2
	// loop 1
}

// The losses of a kernel are added to lanes too; the gradient is the slope times
// a scalar, which is where the mean's divisor goes.
func ExampleMSE() {
	pred, target := []float32{1, 2, 4, 1}, []float32{1, 1, 1, 1}
	grad, each := make([]float32, 4), make([]float32, 4)
	var lanes [fallback.Lanes]float64
	fallback.MSE(grad, each, pred, target, &fallback.MSEScalars{Scale: 1. / 4}, &lanes)
	fmt.Println(fallback.Total(&lanes)/4, grad, each)
	// Output: 2.5 [0 0.5 1.5 0] [0 1 9 0]
}

// A matrix is row-major: Dots multiplies its rows by a vector, RankOne adds them
// up, each times its number. Together they are the gradient of a linear model.
func ExampleDots() {
	x := []float32{
		1, 2, 3,
		4, 5, 6,
	}
	z := make([]float32, 2)
	fallback.Dots(z, x, []float32{1, 0, -1})
	g := make([]float32, 3)
	fallback.RankOne(g, x, z)
	fmt.Println(z, g)
	// Output: [-2 -2] [-10 -14 -18]
}
