// Package yardstick has kernels to measure others by. Most have no arithmetic: the
// loads and the stores of some kernels of the library and one XOR, and so the speed
// that caches and memory allow them. Called twice, those that work in place leave
// their buffers as they were.
package yardstick

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Table is one yardstick for every pattern of loads and stores, for lists of the
// buffers of tensors as kernels take them. The buffers that a function writes come
// first; those of Update1 to Update4 but the gradient, the second one, are read too.
type Table struct {
	Flip    func(list [][]float32) // p
	Copy    func(list [][]float32) // y, x
	Join    func(list [][]float32) // z, x, y
	JoinTwo func(list [][]float32) // z, each, x, y
	Update1 func(list [][]float32) // p, g
	Update2 func(list [][]float32) // p, g, m
	Update3 func(list [][]float32) // p, g, m, v
	Update4 func(list [][]float32) // p, g, m, v, h

	// Of a matrix x with rows of len(y) elements, as many as rows has.
	Read func(y, x, rows []float32) // y is the last row
	Rows func(y, x, rows []float32) // y takes them all

	// The formulas with a root and a quotient each from the divider, and no more.
	Adam    func(list [][]float32, c *fallback.AdamScalars)    // p, g, m, v
	AdaGrad func(list [][]float32, c *fallback.AdaGradScalars) // p, g, a
}

// For is the table for an instruction set, or nil if this program has none. The
// caller knows that the CPU can run it.
func For(isa string) *Table { return tables[isa] }

// Parts calls f for parts of n elements that are short enough for one call of
// assembly.
func Parts(n int, f func(lo, hi int)) {
	for lo := 0; lo < n; lo += kernels.MaxLen {
		f(lo, min(lo+kernels.MaxLen, n))
	}
}
