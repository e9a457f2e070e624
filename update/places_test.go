package update_test

import (
	"testing"
	"unsafe"
)

// TestSmallState looks at where the state of tensors is that share calls: each buffer
// begins with a line of the cache, ends where it must, and overlaps no other.
func TestSmallState(t *testing.T) {
	for _, sizes := range [][]int{{1, 2, 3, 15, 16, 17, 100, 0, 4096, 5}, {7, 7}, {4096, 4097, 1}, {1, 0}} {
		o, _, _ := newSet(t, sizes, plainAdam, heavyBall)
		owner := map[uintptr]string{}
		for k, n := range sizes {
			for _, name := range slotNames(o, k) {
				b := buffer(o, k, name)
				if len(b) != n || cap(b) != n {
					t.Errorf("%v: %s of tensor %d has %d elements and room for %d", sizes, name, k, len(b), cap(b))
				}
				at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
				if n > 0 && at%64 != 0 {
					t.Errorf("%v: %s of tensor %d begins %d bytes into a line", sizes, name, k, at%64)
				}
				for i := range n {
					place := at + uintptr(4*i)
					if other, ok := owner[place]; ok {
						t.Fatalf("%v: %s of tensor %d shares element %d with %s", sizes, name, k, i, other)
					}
					owner[place] = name
				}
			}
		}
	}
}
