package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestTakeRows finds each row of a list once, in order, with its places in order of
// appearance: of lists that are sorted by comparing and by counting, in one to six passes.
func TestTakeRows(t *testing.T) {
	for _, size := range []int{1, 3, 1 << 11, 1<<11 + 1, 1 << 20} {
		rule := Rule{Plan: Plan{Passes: One(kernels.SGD, func(in *StepInput) fallback.SGDScalars { return fallback.SGDScalars{Common: in.Common} })}}
		e := New([]Tensor{{Size: size, Columns: 1}}, []Rule{rule})
		rng := rand.New(rand.NewPCG(uint64(size), 0))
		for _, n := range []int{0, 1, 2, 300, 511, 512, 513, 5000} {
			indices, grads := make([]int64, n), make([]float32, n)
			want := map[int][]int{}
			for k := range indices {
				indices[k] = rng.Int64N(int64(1 + rng.IntN(size)))
				want[int(indices[k])] = append(want[int(indices[k])], k)
			}
			for _, sorted := range []bool{false, true} {
				if sorted {
					slices.Sort(indices)
				}
				if at := TakeRows(e, indices, grads); at >= 0 {
					t.Fatalf("index %d is refused", at)
				}
				before := -1
				for _, x := range e.rows.list {
					if x.index <= before {
						t.Fatalf("row %d follows %d", x.index, before)
					}
					before = x.index
					var got []int
					for _, p := range e.rows.places[x.first:][:x.places] {
						got = append(got, p.at)
					}
					if !sorted && !slices.Equal(got, want[x.index]) {
						t.Fatalf("%d rows of %d: row %d is at %v, want %v", n, size, x.index, got, want[x.index])
					}
					if !slices.IsSorted(got) || len(got) != len(want[x.index]) {
						t.Fatalf("row %d is at %v", x.index, got)
					}
				}
				if len(e.rows.list) != len(want) {
					t.Fatalf("%d rows, want %d", len(e.rows.list), len(want))
				}
				e.ForgetRows()
			}
		}
	}
}
