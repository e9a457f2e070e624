package loss

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestLinearBubbles has workers in testing/synctest bubbles and outside, in every order.
func TestLinearBubbles(t *testing.T) {
	const columns, rows = 64, tune.LinearParallel / 64
	plain, x, y, w := linearData(t, Logistic, rows, columns, true)
	if err := plain.SetWorkers(1); err != nil {
		t.Fatal(err)
	}
	want := make([]float32, len(w))
	value, err := plain.Gradient(x, y, w, want)
	if err != nil {
		t.Fatal(err)
	}
	for order := range 8 {
		l, _, _, _ := linearData(t, Logistic, 1, columns, true)
		if err := l.SetWorkers(2); err != nil {
			t.Fatal(err)
		}
		for turn := range 4 {
			calls := func() {
				for range 3 {
					grad := make([]float32, len(w))
					v, err := l.Gradient(x, y, w, grad)
					if err != nil || v != value || !slices.Equal(grad, want) {
						t.Errorf("order %03b, turn %d: other bits, or %v", order, turn, err)
					}
				}
			}
			if order>>turn&1 == 1 {
				synctest.Test(t, func(*testing.T) { calls() })
			} else {
				calls()
			}
		}
	}
}
