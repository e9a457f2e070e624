package engine

import (
	"runtime"
	"testing"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestAlloc looks at where buffers are: whole, apart, on lines and staggered.
func TestAlloc(t *testing.T) {
	for _, n := range []int{1, 15, 16, 1000, 1023, 1024, 1025, 5000, 1 << 20, 1<<20 + 7} {
		list := Alloc(n, 4)
		if len(list) != 4 {
			t.Fatalf("%d buffers of %d elements", len(list), n)
		}
		places := map[uintptr]bool{}
		for k, b := range list {
			if len(b) != n || cap(b) != n {
				t.Errorf("a buffer of %d elements has %d and room for %d", n, len(b), cap(b))
			}
			at := buffers.Address(b)
			if at%tune.Line != 0 {
				t.Errorf("%d elements begin %d bytes into a line", n, at%tune.Line)
			}
			places[at%tune.Page] = true
			for j, other := range list[:k] {
				if buffers.Overlap(b, other) {
					t.Errorf("buffers %d and %d of %d elements overlap", j, k, n)
				}
			}
			for i, x := range b {
				if x != 0 {
					t.Fatalf("element %d of %d is %g", i, n, x)
				}
				b[i] = float32(k)
			}
		}
		if 4*n >= tune.Page && len(places) != 4 {
			t.Errorf("buffers of %d elements begin at %d places of a page", n, len(places))
		}
		runtime.GC() // one buffer keeps them all
		for i, x := range list[3] {
			if x != 3 {
				t.Fatalf("element %d of %d has become %g", i, n, x)
			}
		}
	}
	if list := Alloc(0, 2); len(list) != 2 || len(list[0]) != 0 {
		t.Errorf("buffers of no elements are %v", list)
	}
}
