package loss

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/kernels"
)

// TestLongPenalty adds the gradient of a penalty over buffers that are several calls long,
// each element's to its own.
func TestLongPenalty(t *testing.T) {
	const n = 2*kernels.MaxLen + 5
	w, grad := uniform(n, -3, 3, 40), make([]float32, n)
	for i := range grad {
		grad[i] = float32(i % 7)
	}
	if _, err := (Penalty{L1: .25, L2: .5}).Eval(w, grad); err != nil {
		t.Fatal(err)
	}
	for i, x := range w {
		want := float64(i%7) + .5*float64(x) + math.Copysign(.25, float64(x))
		if math.Abs(float64(grad[i])-want) > 1e-6 {
			t.Fatalf("gradient %d is %g, want %g", i, grad[i], want)
		}
	}
}
