package engine

import (
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestNoiseInParts has the noise of elements around the numbers that fill 32 bits at once and
// in parts, and finds none twice.
func TestNoiseInParts(t *testing.T) {
	e := New([]Tensor{{Size: 10, Rule: 0}}, []Rule{{Plan: Plan{Passes: nil}}})
	noise := &Noise{Std: func(int64) float64 { return 1 }, Seed: 5}
	e.SetNoise(noise)
	if math.MaxInt == math.MaxInt32 {
		t.Skip("no tensor has so many elements")
	}
	const around = 3 * tune.BlockLen
	far := uint64(1<<32 - tune.BlockLen - 7)
	lo := int(far)
	whole, parts := make([]float32, around), make([]float32, around)
	e.addNoise(e.workers[0], noise, &e.tensors[0], lo, whole)
	for at := 0; at < around; at += 100 {
		end := min(at+100, around)
		e.addNoise(e.workers[0], noise, &e.tensors[0], lo+at, parts[at:end])
	}
	if !slices.Equal(whole, parts) {
		t.Error("parts have other noise")
	}
	first := make([]float32, around)
	e.addNoise(e.workers[0], noise, &e.tensors[0], 0, first)
	seen := map[float32]bool{}
	for _, x := range append(first, whole...) {
		if seen[x] && math.Abs(float64(x)) > 1 {
			t.Errorf("%g is there twice", x)
		}
		seen[x] = true
	}
}
