// Package amd64 lowers rules to AVX2 and AVX-512 through avo.
package amd64

import (
	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An ISA is everything in which the two vector widths differ.
type ISA struct {
	machine   loop.Machine
	registers int
	vector    func(*emitter) reg.VecVirtual
	mask      func(*emitter) reg.Register // of a comparison, or of the first lanes
	lower     func(e *emitter, n rule.Node, x reg.Register, y operand.Op, z, dst reg.Register)

	// first masks so many lanes, and only zeroes those that the mask is not for.
	first func(e *emitter, left reg.GPVirtual, part reg.Register)
	only  func(e *emitter, part reg.Register, x, dst reg.VecVirtual)

	// load and store move a vector, or the part of one, by the elements' type.
	load  [types]func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual)
	store [types]func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem)

	// widen makes a half of a vector one of float64.
	widen func(e *emitter, x reg.VecVirtual, half int, dst reg.VecVirtual)

	// addProduct adds x·y to a vector of float64 sums. The product of two numbers
	// that were float32 is exact, so that an FMA rounds as a sum does.
	addProduct func(e *emitter, x, y, sum reg.VecVirtual)

	// root is the square root without the divider for vector k of the main loop,
	// or nil if that vector takes the divider.
	root func(k int) rootFunc

	// fuse emits instruction k together with those whose results only it reads, where
	// that takes fewer, and reports whether there is no more to do for it.
	fuse func(e *emitter, k int, in loop.Inst) bool
}

// types is how many types elements have in memory.
const types = rule.F16 + 1

// A rootFunc emits a square root of x.
type rootFunc func(e *emitter, x, dst reg.VecVirtual)

// lower emits the operations that both widths spell alike.
func lower(e *emitter, n rule.Node, x reg.Register, y operand.Op, dst reg.Register) {
	switch n.Op {
	case rule.Add:
		e.VADDPS(y, x, dst)
	case rule.Sub:
		e.VSUBPS(y, x, dst)
	case rule.Mul:
		e.VMULPS(y, x, dst)
	case rule.Div:
		e.VDIVPS(y, x, dst)
	case rule.Sqrt:
		e.VSQRTPS(x, dst)
	case rule.Max:
		e.VMAXPS(y, x, dst)
	case rule.Min:
		e.VMINPS(y, x, dst)
	case rule.And:
		e.VANDPS(y, x, dst)
	case rule.Or:
		e.VORPS(y, x, dst)
	case rule.Xor:
		e.VXORPS(y, x, dst)
	case rule.AddInt:
		e.VPADDD(y, x, dst)
	case rule.SubInt:
		e.VPSUBD(y, x, dst)
	case rule.MulInt:
		e.VPMULLD(y, x, dst)
	case rule.ShiftLeft:
		e.VPSLLD(operand.U8(n.Imm), x, dst)
	case rule.ShiftRight:
		e.VPSRLD(operand.U8(n.Imm), x, dst)
	case rule.ShiftArith:
		e.VPSRAD(operand.U8(n.Imm), x, dst)
	case rule.FromInt:
		e.VCVTDQ2PS(x, dst)
	default:
		panic("amd64: no instruction for " + n.Op.String())
	}
}

// predicate is the comparison's immediate, false for NaN.
func predicate(op rule.Op) operand.U8 {
	switch op {
	case rule.Less:
		return 0x11
	case rule.LessEqual:
		return 0x12
	}
	return 0x00
}
