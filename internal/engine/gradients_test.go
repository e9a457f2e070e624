package engine

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestGradients adds up and counts in gradients of all kinds of tensors.
func TestGradients(t *testing.T) {
	tensors := tensorsOf(tune.ApartLen)
	rng := rand.New(rand.NewPCG(5, 6))
	var grads [][]float32
	want := 0.
	for _, x := range tensors {
		g := uniform(x.Size, rng)
		grads = append(grads, g)
		want += squares(doubles(g))
	}
	one := 0.
	for _, workers := range []int{1, 2, 7} {
		e := New(tensors, []Rule{adafactor(Options{}), scheduleFree(Options{})})
		e.SetWorkers(workers)
		sum := e.SumSquares(grads)
		if one == 0 {
			one = sum
		}
		if math.Abs(sum/want-1) > 1e-12 || sum != one {
			t.Errorf("the sum of squares is %g, want %g, and with one worker %g", sum, want, one)
		}
		kept := []float32{grads[4][17], grads[9][3], grads[11][5]}
		grads[4][17], grads[9][3], grads[11][5] = 0x1p70, 0x1p70, float32(math.NaN()) // of rules 0, 1 and 1
		if n, tensor := e.CountBeyond(grads, 1); n != 2 || tensor != 4 {
			t.Errorf("%d gradients are beyond the limits, the first in tensor %d, want 2 and 4", n, tensor)
		}
		grads[4][17] = kept[0]
		if n, tensor := e.CountBeyond(grads, 0x1p60); n != 2 || tensor != 9 {
			t.Errorf("%d scaled gradients are beyond the limits, the first in tensor %d, want 2 and 9", n, tensor)
		}
		grads[9][3], grads[11][5] = kept[1], kept[2]
	}
}

// TestForgetWaits has a part that is being taken while all are forgotten.
func TestForgetWaits(t *testing.T) {
	var turns, forgotten atomic.Int64
	wait := meeting{want: 1}
	e := New([]Tensor{{Size: 5}}, []Rule{{Plan: Plan{Passes: One(wait.run, wait.begin)}}})
	o := &e.observing
	w, _, _ := o.enter(e, 0, piece{0, kernels.TypedOf(make([]float32, 5))})
	var running sync.WaitGroup
	running.Go(func() {
		e.ForgetObserved()
		forgotten.Store(turns.Load())
	})
	for turns.Load() < 1000 {
		turns.Add(1)
		runtime.Gosched()
	}
	turns.Add(1)
	o.leave(w)
	running.Wait()
	if forgotten.Load() != 1001 || e.Observed() {
		t.Errorf("forgotten in turn %d, want the last one", forgotten.Load())
	}
}
