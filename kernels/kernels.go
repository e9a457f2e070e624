// Package kernels chooses one table of kernels for this CPU. It has no
// arithmetic of its own: what a kernel computes is said by the function of the
// same name in package fallback, and every table gives the same bits as it.
//
// Each kernel is a function of a table, a list of buffers, and its scalars. A program
// links the kernels that it calls and no others.
//
// LOCKSTEP_ISA=avx512 (avx512newton, avx2, avx2newton, neon, go) forces a table, and Use
// chooses one from within. GODEBUG=cpu.avx2=off and the like take tables away. Both
// variables are read once, when the program begins. A name that is unknown or cannot run
// here does not stop the program, which may be another's: a line on standard error says
// so, as Go does of GODEBUG, Info repeats it, Check returns it, and the best table runs.
package kernels

import (
	"fmt"

	"github.com/lockstep-go/lockstep/internal/tune"
)

//go:generate go -C ../gen run .
//go:generate go -C ../gen run ./vectors
//go:generate go -C ../gen run ./optimizers

// MaxLen is the most elements that one call of assembly is given. Assembly
// cannot be preempted, and longer calls would hold up the garbage collector: 64
// Ki elements take some tens of microseconds.
const MaxLen = tune.MaxLen

// A Table is the kernels of one instruction set. The zero value is the reference in
// Go. A kernel that is called with a table that Available does not list crashes.
type Table uint8

// ISA names the instruction set: avx512, avx2, neon, a variant of one, or go for the
// reference.
func (t Table) ISA() string {
	if int(t) >= len(names) {
		return fmt.Sprintf("Table(%d)", uint8(t))
	}
	return names[t]
}

func (t Table) String() string { return t.ISA() }

// Bits is the width of a register of the table's instruction set, 0 of the reference.
func (t Table) Bits() int {
	switch t {
	case avx512Table, avx512newtonTable:
		return 512
	case avx2Table, avx2newtonTable:
		return 256
	case neonTable:
		return 128
	}
	return 0
}

// A Shape says how a kernel walks a buffer.
type Shape uint8

const (
	Stream Shape = iota // one element after the other: of a tensor, or of a row
	Matrix              // rows × columns, row-major
	PerRow              // one element for each row
)

// An Element says what a buffer's elements are.
type Element uint8

const (
	Float32  Element = iota
	Bfloat16         // BF16
	Float16          // F16
)

func (e Element) String() string {
	return [...]string{Float32: "float32", Bfloat16: "bfloat16", Float16: "float16"}[e]
}

// Bytes is the size of an element.
func (e Element) Bytes() int {
	if e == Float32 {
		return 4
	}
	return 2
}

// A Buffer is a parameter of a kernel.
type Buffer struct {
	Name  string
	Shape Shape
	Type  Element
}

// A Kernel is a kernel by its name, for tests and benchmarks of all.
type Kernel struct {
	Name    string
	Buffers []Buffer // in the order of a list, or of the parameters if one is a matrix or not of float32

	Func      any // the function of this name: the safe call
	Reference any // of this name in package fallback

	// Bare is the kernel of a table without checks and not split: its list is bare
	// slices, and assembly trusts their lengths.
	Bare func(t Table) any
}

// rowsPerCall is how many rows of a matrix of so many elements a call takes: at most
// MaxLen elements, or one row where rows side by side are slow.
func rowsPerCall(elements, columns int) int {
	switch {
	case columns > MaxLen:
		panic(fmt.Sprintf("kernels: a row of %d elements, want at most %d", columns, MaxLen))
	case tune.RowsApart(elements, columns):
		return 1
	}
	return MaxLen / max(1, columns)
}
