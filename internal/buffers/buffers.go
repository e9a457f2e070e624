// Package buffers tells where slices lie in memory.
package buffers

import "unsafe"

// Address is where the elements of s begin.
func Address(s []float32) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }

// Overlap reports whether x and y share an element.
func Overlap(x, y []float32) bool {
	return len(x) > 0 && len(y) > 0 &&
		Address(x) < Address(y)+4*uintptr(len(y)) && Address(y) < Address(x)+4*uintptr(len(x))
}
