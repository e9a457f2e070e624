//go:build (amd64 || arm64) && !purego && !noasm

package kernels

import (
	"unsafe"

	"github.com/lockstep-go/lockstep/fallback"
)

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

// touchBuffer does so of a buffer that is a parameter of its own.
func touchBuffer[T any](x []T, does access) {
	var element T
	touchRange(unsafe.Pointer(unsafe.SliceData(x)), len(x)*int(unsafe.Sizeof(element)), does)
}

// touchLanes does so of the lanes of a sum.
func touchLanes[T any](p *T) { touchRange(unsafe.Pointer(p), int(unsafe.Sizeof(*p)), reads|writes) }

// touchTile does so of what the kernel of matrix products reads and writes.
func touchTile(shape tileShape, n int, a, b, c []float32, rowsOfC int, d []float32, rowsOfD int, s *fallback.MatMulScalars) {
	touchRange(unsafe.Pointer(unsafe.SliceData(a)), 4*n*shape.rows, reads)
	touchRange(unsafe.Pointer(unsafe.SliceData(b)), 4*n*shape.columns, reads)
	for i := range shape.rows {
		if s.Beta != 0 {
			touchRange(unsafe.Pointer(&d[i*rowsOfD]), 4*shape.columns, reads)
		}
		touchRange(unsafe.Pointer(&c[i*rowsOfC]), 4*shape.columns, writes)
	}
}

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
