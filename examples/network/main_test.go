package main

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLearns trains once, with steps that are skipped on the way.
func TestLearns(t *testing.T) {
	x, err := train(300, 0, "")
	must(t, err)
	if x.optimizer.Skipped() == 0 || x.optimizer.Steps()+x.optimizer.Skipped() != 300 {
		t.Errorf("%d steps, %d skipped", x.optimizer.Steps(), x.optimizer.Skipped())
	}
	before := slices.Concat(x.params...)
	plain := x.accuracy()
	averaged, err := x.averaged()
	must(t, err)
	if plain < .88 || averaged < .88 || x.optimizer.Averages() != x.optimizer.Steps() {
		t.Errorf("accuracy %.3f, averaged %.3f, of %d steps", plain, averaged, x.optimizer.Averages())
	}
	if !slices.Equal(before, slices.Concat(x.params...)) {
		t.Error("after an evaluation the weights are others")
	}
}

// TestResumes goes on from checkpoints before and after steps that are skipped.
func TestResumes(t *testing.T) {
	const windows = 160
	whole, err := train(windows, 0, "")
	must(t, err)
	for _, saved := range []int{1, 60, 130} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		_, err := train(windows, saved, path)
		must(t, err)
		x, err := resume(windows, path)
		must(t, err)
		if x.hash() != whole.hash() {
			t.Errorf("from window %d on: %s, want %s", saved, x.hash(), whole.hash())
		}
	}
	if _, err := resume(windows, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("it goes on from no checkpoint")
	}
}

// TestGroups decays weights, and leaves biases where they are.
func TestGroups(t *testing.T) {
	x, err := begin(100)
	must(t, err)
	for _, p := range x.params {
		p[3] = 1
	}
	must(t, x.optimizer.StepSet(x.params, x.grads))
	for k, p := range x.params {
		if decays := p[3] < 1; decays != (tensors[k].Columns > 0) {
			t.Errorf("%s goes from 1 to %g without a gradient", tensors[k].Name, p[3])
		}
	}
}

// TestWindow takes the step of the last window of an epoch, which has 28 rows: one gradient of
// all of them is as long as the mean of its micro-batches.
func TestWindow(t *testing.T) {
	x, err := begin(100)
	must(t, err)
	x.gradient(1472, 1500)
	squares := 0.
	for _, g := range x.grads {
		squares += update.SumSquares(g)
	}
	want := math.Sqrt(squares) / x.scaler.Scale()
	x.window = 23
	must(t, x.step())
	if got := x.optimizer.GradNorm(); math.Abs(got-want) > 1e-3*want {
		t.Errorf("the mean gradient has the norm %g, want %g", got, want)
	}
}

// TestHalf has the largest float16, the smallest, ties and what is too large.
func TestHalf(t *testing.T) {
	inf := float32(math.Inf(1))
	for x, want := range map[float32]float32{
		0: 0, 1: 1, 2049: 2048, 2051: 2052, -2051: -2052, 65504: 65504, 65519: 65504, 65520: inf, -1e9: -inf, inf: inf,
		0x1p-24: 0x1p-24, 0x1p-25: 0, 0x1.8p-24: 0x1p-23, 0x1.001p-14: 0x1p-14,
	} {
		if got := half(x); got != want {
			t.Errorf("%g becomes %g, want %g", x, got, want)
		}
	}
}

// TestFew asks for fewer windows than there are parts of a run.
func TestFew(t *testing.T) {
	if run(9) == nil {
		t.Error("it ran")
	}
	must(t, run(10))
}
