//go:build (amd64 || arm64) && !purego && !noasm

package kernels

import "unsafe"

// An access is what a kernel does with memory.
type access uint8

const (
	reads access = 1 << iota
	writes
)

// touch tells the sanitizer of a build that a kernel reads or writes the elements of all
// buffers of a list, of which it sees nothing in assembly. Buffers count as no longer
// than the first of their tensor.
func touch(list [][]float32, does ...access) {
	for at := 0; at < len(list); at += len(does) {
		n := len(list[at])
		for k, d := range does {
			touchRange(unsafe.Pointer(unsafe.SliceData(list[at+k])), 4*n, d)
		}
	}
}

// touchLanes does so of the lanes of a sum.
func touchLanes[T any](p *T) { touchRange(unsafe.Pointer(p), int(unsafe.Sizeof(*p)), reads|writes) }

func touchRange(p unsafe.Pointer, n int, does access) {
	if n == 0 {
		return
	}
	if does&reads != 0 {
		tellRead(p, n)
	}
	if does&writes != 0 {
		tellWrite(p, n)
	}
}
