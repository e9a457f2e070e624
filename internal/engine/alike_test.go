package engine

import (
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestAlike counts calls: small tensors that are left out together share them afterwards,
// with the scalars of their own count, and only the unit of one that was left out alone
// takes its tensors one by one.
func TestAlike(t *testing.T) {
	const size, first, second = 64, tune.UnitLen / 64, 40 // tensors of two units
	var calls int
	var numbers []int64
	plan := Plan{Passes: One(func(_ kernels.Table, _ *kernels.List, step *int64) {
		calls++
		numbers = append(numbers, *step)
	}, func(in *StepInput) int64 { return in.T })}
	tensors, params, grads := make([]Tensor, first+second), make([][]float32, first+second), make([][]float32, first+second)
	for k := range tensors {
		tensors[k].Size = size
		params[k], grads[k] = make([]float32, size), make([]float32, size)
	}
	e := New(tensors, []Rule{{Plan: plan}})
	e.SetWorkers(1)
	step := func(left func(k int) bool) (int, []int64) {
		list := make([][]float32, len(grads))
		for k := range list {
			if !left(k) {
				list[k] = grads[k]
			}
		}
		calls, numbers = 0, nil
		e.Place(params, list, e.Steps() == 0)
		e.Begin(1, list)
		e.Run(params, list)
		return calls, numbers
	}
	none := func(int) bool { return false }
	if n, _ := step(none); n != 2 {
		t.Errorf("%d calls for two units", n)
	}
	if n, _ := step(func(k int) bool { return k >= first }); n != 1 {
		t.Errorf("%d calls for one unit", n)
	}
	if n, at := step(none); n != 2 || at[0] != 3 || at[1] != 2 {
		t.Errorf("%d calls for two units of two counts, with the steps %v", n, at)
	}
	if n, _ := step(func(k int) bool { return k == 3 }); n != first-1+1 {
		t.Errorf("%d calls where one of %d is left out", n, first)
	}
	if n, at := step(none); n != first+1 || at[0] != 5 || at[3] != 4 || at[first] != 4 {
		t.Errorf("%d calls where one of %d has another count, with the steps %v", n, first, at)
	}
	e.SetSteps(7)
	if n, at := step(none); n != 2 || at[1] != 8 {
		t.Errorf("%d calls with one count again, with the steps %v", n, at)
	}
}
