package main

import (
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func trained(t *testing.T, goroutines, steps int) *training {
	t.Helper()
	x, err := newTraining(data.Load("breast_cancer"), goroutines)
	must(t, err)
	for range steps {
		must(t, x.step())
	}
	return x
}

// TestGoroutines has the same bits for any number of them, and learns.
func TestGoroutines(t *testing.T) {
	want := trained(t, 1, 200)
	accuracy, err := want.accuracy()
	must(t, err)
	if accuracy < .95 || !(want.loss < .1) {
		t.Errorf("accuracy %.3f, loss %.3f", accuracy, want.loss)
	}
	for _, n := range []int{2, 3, 8, 13} {
		if got := trained(t, n, 200); !slices.Equal(got.weights, want.weights) || got.loss != want.loss {
			t.Errorf("%d goroutines come to other weights, or the loss %g, want %g", n, got.loss, want.loss)
		}
	}
}

// TestMean takes the first step with one gradient of all rows.
func TestMean(t *testing.T) {
	x := trained(t, 2, 0)
	rule := torch.AdamW()
	rule.LR = .02
	o, err := update.New(len(x.weights), rule)
	must(t, err)
	w, g := make([]float32, len(x.weights)), make([]float32, len(x.weights))
	loss, err := x.models[0].Gradient(x.data.X[:shards*rows*x.data.Columns], x.data.Y[:shards*rows], w, g)
	must(t, err)
	must(t, o.Step(w, g))
	must(t, x.step())
	for i, p := range x.weights {
		if d := p - w[i]; d > 1e-6 || d < -1e-6 {
			t.Errorf("weight %d is %g, with the gradient of all rows %g", i, p, w[i])
		}
	}
	m, err := x.optimizer.Buffer(0, "m")
	must(t, err)
	for i, y := range m {
		if d := y - .1*g[i]; d > 1e-6 || d < -1e-6 {
			t.Errorf("the mean of gradients %d is %g, want a tenth of %g", i, y, g[i])
		}
	}
	if d := x.loss - loss; d > 1e-6 || d < -1e-6 {
		t.Errorf("the loss is %g, of all rows %g", x.loss, loss)
	}
}

// TestRefused asks for no goroutine, or no step.
func TestRefused(t *testing.T) {
	if run(0, 1) == nil || run(1, 0) == nil {
		t.Error("it ran")
	}
	must(t, run(2, 1))
}
