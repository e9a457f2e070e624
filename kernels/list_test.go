package kernels

import (
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestShortCalls cuts lists into calls, of which none may take long: not that of a long
// tensor, of many short ones, or of very many empty ones.
func TestShortCalls(t *testing.T) {
	repeat := func(n, size int) (sizes []int) {
		for range n {
			sizes = append(sizes, size)
		}
		return sizes
	}
	for name, sizes := range map[string][]int{
		"none": nil, "one": {5}, "a long one": {5*MaxLen + 3}, "empty ones": repeat(1<<17, 0), "scalars": repeat(1<<16, 1),
		"short ones": repeat(5000, 100), "just fitting": repeat(3, MaxLen), "mixed": {0, MaxLen - 1, 1, 0, 2, 3 * MaxLen, 0, 7},
	} {
		var list [][]float32
		space := make([]float32, 6*MaxLen)
		for _, n := range sizes {
			list = append(list, space[:n], space[:n:n])
		}
		l := NewList(2, list)
		if len(sizes) == 1 {
			l.Set(list...)
		}
		total, want := 0, 0
		for _, n := range sizes {
			want += n
		}
		for _, part := range l.of(2) {
			cost := 0
			for at := 0; at < len(part); at += 2 {
				cost += max(len(part[at]), tune.TensorLen)
				total += len(part[at])
			}
			if cost > MaxLen {
				t.Errorf("%s: a call of %d tensors counts as %d elements", name, len(part)/2, cost)
			}
		}
		if total != want {
			t.Errorf("%s: calls have %d elements of %d", name, total, want)
		}
	}
}
