// Command busy calls a kernel for a second, to be looked at by profilers.
package main

import (
	"time"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

//go:noinline
func underProfile(x []float32) {
	var lanes [fallback.Lanes]float64
	list := kernels.NewList(1, [][]float32{x})
	for start := time.Now(); time.Since(start) < time.Second; {
		kernels.SumSquares(kernels.Active(), list, &lanes)
	}
}

func main() { underProfile(make([]float32, kernels.MaxLen)) }
