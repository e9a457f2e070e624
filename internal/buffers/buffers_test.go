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
