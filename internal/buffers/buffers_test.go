package buffers

import (
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestClear clears all of a slice and nothing beside it.
func TestClear(t *testing.T) {
	for _, n := range []int{0, 1, tune.MaxLen - 1, tune.MaxLen, tune.MaxLen + 1, 3*tune.MaxLen + 5} {
		x := slices.Repeat([]float32{1}, n+2)
		Clear(x[1 : n+1])
		if x[0] != 1 || x[n+1] != 1 || slices.ContainsFunc(x[1:n+1], func(x float32) bool { return x != 0 }) {
			t.Errorf("%d elements are not those that were cleared", n)
		}
	}
}

// TestCopy copies as many as there are and have room, and nothing beside them.
func TestCopy(t *testing.T) {
	for _, n := range []int{0, 1, tune.MaxLen, tune.MaxLen + 1, 3*tune.MaxLen + 5} {
		for _, more := range [][2]int{{0, 0}, {7, 0}, {0, 7}, {2 * tune.MaxLen, 0}, {0, 2 * tune.MaxLen}} {
			to, from := make([]float32, n+more[0]), make([]float32, n+more[1])
			for i := range from {
				from[i] = float32(i + 1)
			}
			Copy(to, from)
			for i, x := range to {
				if want := float32(i + 1); i < n && x != want || i >= n && x != 0 {
					t.Fatalf("%d elements, %v more: element %d is %g", n, more, i, x)
				}
			}
		}
	}
}
