// Package yardstick has kernels to measure others by. Most have no arithmetic: the
// loads and the stores of some kernels of the library and one XOR, and so the speed
// that caches and memory allow them. Called twice, those that work in place leave
// their buffers as they were.
package yardstick

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Table is one yardstick for every pattern of loads and stores. The buffers
// that a function writes come first; those of Update1 to Update4 but the
// gradient, the second one, are read too.
type Table struct {
	Flip    func(p []float32)
	Copy    func(y, x []float32)
	Join    func(z, x, y []float32)
	JoinTwo func(z, each, x, y []float32)
	Update1 func(p, g []float32)
	Update2 func(p, g, m []float32)
	Update3 func(p, g, m, v []float32)
	Update4 func(p, g, m, v, h []float32)

	// Of a matrix x with rows of len(y) elements, as many as rows has.
	Read func(y, x, rows []float32) // y is the last row
	Rows func(y, x, rows []float32) // y takes them all

	// The formulas with a root and a quotient each from the divider, and no more.
	Adam    func(p, g, m, v []float32, c *fallback.AdamScalars)
	AdaGrad func(p, g, a []float32, c *fallback.AdaGradScalars)
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
