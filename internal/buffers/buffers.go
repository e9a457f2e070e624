// Package buffers tells where slices lie in memory, and clears and copies long ones.
package buffers

import (
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// Address is where the elements of s begin.
func Address(s []float32) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }

// Overlap reports whether x and y share an element.
func Overlap(x, y []float32) bool {
	return len(x) > 0 && len(y) > 0 &&
		Address(x) < Address(y)+4*uintptr(len(y)) && Address(y) < Address(x)+4*uintptr(len(x))
}

// Clear makes x zeros, in parts: the scheduler stops a goroutine where a function
// begins, and nowhere within the assembly of clear.
func Clear[T number](x []T) {
	for len(x) > tune.MaxLen {
		clearPart(x[:tune.MaxLen])
		x = x[tune.MaxLen:]
	}
	clearPart(x)
}

//go:noinline
func clearPart[T number](x []T) { clear(x) }

type number interface{ float32 | float64 | ~uint16 }

// Copy copies as many elements of from to to as both have, in parts for the same reason.
func Copy(to, from []float32) {
	for len(to) > tune.MaxLen && len(from) > tune.MaxLen {
		copyPart(to[:tune.MaxLen], from[:tune.MaxLen])
		to, from = to[tune.MaxLen:], from[tune.MaxLen:]
	}
	copyPart(to, from[:min(len(to), len(from))])
}

//go:noinline
func copyPart(to, from []float32) { copy(to, from) }
