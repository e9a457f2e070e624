// Package amd64 lowers rules to AVX2 and AVX-512 through avo.
package amd64

import (
	"maps"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An ISA is everything in which the two vector widths differ.
type ISA struct {
	lanes     int
	registers int
	wide      int  // vectors in an iteration of the main loop
	rows      int  // of a matrix that are walked side by side
	phases    bool // there are registers enough to begin the roots of all vectors first
	vector    func(*emitter) reg.VecVirtual
	tail      func(e *emitter, left reg.GPVirtual) memory
	lower     func(e *emitter, n rule.Node, x, y, z, dst reg.Register)
	mask      func(*emitter) reg.Register

	// widen splits a vector into float64 vectors, in order.
	widen func(e *emitter, x reg.VecVirtual) []reg.VecVirtual

	// addProduct adds x·y to a vector of float64 sums. The product of two numbers
	// that were float32 is exact, so that an FMA rounds as a sum does.
	addProduct func(e *emitter, x, y, sum reg.VecVirtual)

	// root is the square root without the divider for vector k of the main loop,
	// or nil if that vector takes the divider.
	root func(k int) rootFunc

	// fuse emits a node together with what it is made of, where that takes fewer
	// instructions, or returns nil. A flush that is squared, and a load that is flushed,
	// are left to it.
	fuse func(b *body, id int, get func(id int) reg.Register, at func(buffer int) operand.Mem) reg.Register

	// constants are what the lowering of an operation has in registers.
	constants map[rule.Op][]uint32
}

// A rootFunc emits a square root of x.
type rootFunc func(e *emitter, x, dst reg.VecVirtual)

// memory is how a body reaches its buffers: whole vectors, or a masked part.
type memory struct {
	load  func(operand.Mem, reg.VecVirtual)
	store func(reg.VecVirtual, operand.Mem)

	// only zeroes the lanes that are not part of the buffer; nil if all are.
	only func(x reg.VecVirtual) reg.VecVirtual
}

// expand replaces the operations that x86 does with a constant, and adds the
// constants that the lowering of others needs.
func expand(r *rule.Rule, t ISA) *rule.Rule {
	c := *r
	c.Nodes = slices.Clone(r.Nodes)
	constant := func(bits uint32) int {
		n := rule.Node{Op: rule.Const, Imm: bits}
		id := slices.Index(c.Nodes, n)
		if id < 0 {
			id = len(c.Nodes)
			c.Nodes = append(c.Nodes, n)
		}
		return id
	}
	for id, n := range r.Nodes {
		switch n.Op {
		case rule.Abs:
			c.Nodes[id] = rule.Node{Op: rule.And, X: n.X, Y: constant(1<<31 - 1)}
		case rule.Neg:
			c.Nodes[id] = rule.Node{Op: rule.Xor, X: n.X, Y: constant(1 << 31)}
		}
	}
	for _, bits := range t.needs(r) {
		constant(bits)
	}
	for _, e := range r.Effects {
		if e.Reduce && e.Kind == rule.MaxAbs {
			constant(1<<31 - 1)
		}
	}
	return &c
}

// needs are the constants that the lowering of a rule has in registers.
func (t ISA) needs(r *rule.Rule) []uint32 {
	var list []uint32
	for _, op := range slices.Sorted(maps.Keys(t.constants)) {
		if r.Has(op) {
			list = append(list, t.constants[op]...)
		}
	}
	return list
}

// lower emits the operations that both widths spell alike.
func lower(e *emitter, n rule.Node, x, y, dst reg.Register) {
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
