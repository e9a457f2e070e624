package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// A typedCase is a step along gradients, with state, or with parameters of fewer bits. The
// goals are times the speed of float32, on one and two workers: what the bytes allow, less what
// arithmetic on these types takes that memory does not hide.
type typedCase struct {
	name          string
	bytes         int        // moved, of each parameter
	goals         [2]float64 // 0 is none
	bf16          bool       // gradients
	copies, split bool
	state         update.StateType // of both moments
}

var typedCases = []typedCase{
	{name: "gradients of bf16", bytes: 26, goals: [2]float64{1.05, 1.06}, bf16: true},
	{name: "gradients of bf16, a copy in bf16", bytes: 28, goals: [2]float64{.95, .97}, bf16: true, copies: true},
	{name: "parameters in two halves, gradients of bf16", bytes: 26, goals: [2]float64{1, 1}, bf16: true, split: true},
	{name: "moments and gradients of bf16", bytes: 18, goals: [2]float64{1.25, 1.5}, bf16: true, state: update.StateBF16},
	{name: "moments of 8 bits", bytes: 16, goals: [2]float64{1.2, 1.45}, state: update.StateFloat8},
	{name: "moments of 8 bits, gradients of bf16", bytes: 14, goals: [2]float64{1.2, 1.65}, bf16: true, state: update.StateFloat8},
}

// typesLen is how many parameters types takes: what no cache holds, or more where -sizes asks for it.
func (o options) typesLen(sizes []size) int {
	n := memoryLen
	if o.short {
		n = 4 << 20
	}
	for _, s := range sizes {
		if o.sizes != "" && s.n > memoryLen {
			n = max(n, s.n)
		}
	}
	return n
}

// types are steps with numbers of fewer bits beside float32, in memory. Where they win is where
// steps wait for memory.
func types(n int) []pending {
	var list []pending
	for _, c := range typedCases {
		for workers := 1; workers <= min(2, runtime.GOMAXPROCS(0)); workers++ {
			list = append(list, pending{
				Claim: Claim{Section: "Types", Case: fmt.Sprintf("%s, %s: %d bytes", adamW, c.name, c.bytes), Beside: "float32: 28",
					N: n, Workers: workers, Speedup: true, Goal: c.goals[workers-1]},
				kernel: adamW, bytes: n * stepBytes,
				pair: func() (it, other *candidate) {
					return c.candidate(n, workers), newTrainee(n, torch.AdamW(), workers).candidate()
				},
			})
		}
	}
	return list
}

// candidate is the step, on buffers that are laid out as those of float32 are.
func (c typedCase) candidate(n, workers int) *candidate {
	t := newTrainee(n, torch.AdamW(), workers)
	must(t.o.SetStateTypes(map[string]update.StateType{"m": c.state, "v": c.state}, 1))
	params, grads := [][]float32{t.params}, update.TypedList([][]float32{t.grads})
	if c.bf16 {
		g := shorts[update.BF16](n)
		kernels.NarrowBF16(kernels.Active(), g, t.grads)
		grads = update.TypedList([][]update.BF16{g})
	}
	if c.copies {
		must(t.o.SetCopies(update.TypedList([][]update.BF16{shorts[update.BF16](n)})))
	}
	if c.split {
		upper, rests := [][]update.BF16{shorts[update.BF16](n)}, [][]int16{shorts[int16](n)}
		must(update.SplitParams(upper[0], rests[0], t.params))
		return &candidate{call: func() { must(t.o.StepSplit(upper, rests, grads)) }}
	}
	return &candidate{call: func() { must(t.o.StepTyped(params, grads)) }}
}

// shorts are an even number of elements of 16 bits, in memory as update.Alloc lays it out.
func shorts[T update.BF16 | int16](n int) []T {
	x := update.Alloc(n/2, 1)[0]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(x))), n)
}
