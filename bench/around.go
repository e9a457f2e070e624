package main

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// around are steps with all that training does beside the rule, where memory is crossed once,
// beside the same as kernels one after the other, each through all of memory. The bytes of a
// parameter are 4 for each buffer that is read or written:
//
//	                          one after the other    in the step
//	unscale                   8                      -
//	norm                      4                      4
//	clip                      8                      -
//	AdamW                     28                     28
//	average                   12                     8
//	zero                      4                      4
//
// Goals are what the bytes allow, less a tenth.
func around(*Machine, bool) []pending {
	const n = memoryLen
	claim := func(name, beside string, streams int, goal float64, pair func() (it, other *candidate)) pending {
		return pending{
			Claim:  Claim{Section: "Around the step", Case: adamW + ", " + name, Beside: beside, N: n, Workers: 1, Speedup: true, Goal: goal},
			kernel: adamW, bytes: 4 * n * streams, pair: pair,
		}
	}
	const apart = "a pass for each"
	return []pending{
		claim("unscaled, clipped to a norm, averaged, gradients zeroed: 44 bytes", apart+": 64", 5, .9*64/44, func() (it, other *candidate) {
			t := aroundTrainee(n)
			must(t.o.SetMaxNorm(1))
			return t.candidate(), separately(n, true)
		}),
		claim("unscaled, clipped by value, averaged, gradients zeroed: 40 bytes", apart+": 60", 5, .9*60/40, func() (it, other *candidate) {
			t := aroundTrainee(n)
			must(t.o.SetMaxValue(.1))
			return t.candidate(), separately(n, false)
		}),
		claim("averaged, gradients zeroed: 40 bytes", "without: 28", 5, .9*28/40, func() (it, other *candidate) {
			return aroundTrainee(n).candidate(), newTrainee(n, torch.AdamW(), 1).candidate()
		}),
		claim("the sum of 4 shards: 40 bytes", "added up before: 64", 7, .9*64/40, func() (it, other *candidate) {
			return sharded(n, 4), added(n, 4)
		}),
	}
}

// aroundTrainee unscales, averages and zeroes.
func aroundTrainee(n int) *trainee {
	t := newTrainee(n, torch.AdamW(), 1)
	must(t.o.SetGradScale(1. / 1024))
	must(t.o.SetAverage(update.TorchEMA(.999)))
	must(t.o.SetZeroGrads(true))
	return t
}

// separately is a kernel after the other, each over all of memory. Clipping by value takes
// as many bytes as by a factor.
func separately(n int, norm bool) *candidate {
	t := newTrainee(n, torch.AdamW(), 1)
	average := update.Alloc(n, 1)[0]
	table := kernels.Active()
	grads, both := kernels.NewList(1, [][]float32{t.grads}), kernels.NewList(2, [][]float32{average, t.params})
	factor, mean := fallback.ShrinkScalars{Shrink: 1. / 1024}, fallback.AverageScalars{Weight: 1e-3}
	return &candidate{call: func() {
		kernels.Shrink(table, grads, &factor) // unscales
		clip := fallback.ShrinkScalars{Shrink: 1}
		if norm {
			var squares [fallback.Lanes]float64
			kernels.SumSquares(table, grads, &squares)
			clip.Shrink = float32(1 / max(1, math.Sqrt(fallback.Total(&squares))))
		}
		kernels.Shrink(table, grads, &clip)
		t.step()
		kernels.Average(table, both, &mean)
		clear(t.grads)
	}}
}

// shardsOf are gradients of so many goroutines.
func shardsOf(t *trainee, shards int) [][][]float32 {
	list := [][][]float32{{t.grads}}
	for range shards - 1 {
		x := update.Alloc(len(t.grads), 1)[0]
		fill(x)
		list = append(list, [][]float32{x})
	}
	return list
}

// sharded has the sum in the step, added before it.
func sharded(n, shards int) *candidate {
	t := newTrainee(n, torch.AdamW(), 1)
	list, params := shardsOf(t, shards), [][]float32{t.params}
	return &candidate{call: func() { must(t.o.StepShards(params, list)) }}
}

func added(n, shards int) *candidate {
	t := newTrainee(n, torch.AdamW(), 1)
	var sums []*kernels.List
	for _, s := range shardsOf(t, shards)[1:] {
		sums = append(sums, kernels.NewList(2, [][]float32{t.grads, s[0]}))
	}
	return &candidate{call: func() {
		for _, list := range sums {
			kernels.Accumulate(kernels.Active(), list, &sumC)
		}
		t.step()
	}}
}
