// Package amd64 lowers rules to AVX2 and AVX-512 through avo.
package amd64

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

// An ISA is everything in which the two vector widths differ.
type ISA struct {
	lanes     int
	registers int
	vector    func(*emitter) reg.VecVirtual
	tail      func(e *emitter, left reg.GPVirtual) memory
	lower     func(e *emitter, n rule.Node, x, y, z, dst reg.Register)
	mask      func(*emitter) reg.Register

	// widen splits a vector into float64 vectors, in order.
	widen func(e *emitter, x reg.VecVirtual) []reg.VecVirtual
}

// memory is how a body reaches its buffers: whole vectors, or a masked part.
type memory struct {
	load  func(operand.Mem, reg.VecVirtual)
	store func(reg.VecVirtual, operand.Mem)

	// only zeroes the lanes that are not part of the buffer; nil if all are.
	only func(x reg.VecVirtual) reg.VecVirtual
}

// Emit returns the assembly of r for t. As many scalars and constants as the
// register file holds stay in registers, the most used first.
func Emit(r *rule.Rule, t ISA) []byte {
	r = expand(r)
	var f *ir.File
	var err error
	for resident := len(r.Invariants()); resident >= 0; resident-- {
		e := newEmitter(r, t, resident)
		e.kernel()
		if f, err = e.Result(); err != nil {
			break
		}
		if err = pass.Compile.Execute(f); err == nil && vectors(f) <= t.registers {
			break
		}
	}
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
	}
	b, err := printer.NewGoAsm(printer.Config{Name: "gen"}).Print(f)
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
	}
	return b
}

// vectors is how many vector registers the file uses. avo knows no limit of 16.
func vectors(f *ir.File) int {
	n := 0
	for _, fn := range f.Functions() {
		for _, i := range fn.Instructions() {
			for _, r := range i.Registers() {
				if p := reg.ToPhysical(r); p != nil && r.Kind() == reg.KindVector {
					n = max(n, int(p.PhysicalIndex())+1)
				}
			}
		}
	}
	return n
}

// expand replaces the operations that x86 does with a constant.
func expand(r *rule.Rule) *rule.Rule {
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
	for _, e := range r.Effects {
		if e.Reduce && e.Kind == rule.MaxAbs {
			constant(1<<31 - 1)
		}
	}
	return &c
}

// An emitter builds one kernel.
type emitter struct {
	*build.Context
	r *rule.Rule
	t ISA

	index      reg.GPVirtual // of the column
	row        reg.GPVirtual
	buffers    []operand.Mem
	reductions []operand.Mem
	scalars    operand.Mem
	constants  operand.Mem
	laneIndex  operand.Mem // 0, 1, ..., 7
	fold       operand.Mem // the lanes of a row

	resident map[int]reg.VecVirtual // scalars and constants in registers
	perRow   map[int]reg.VecVirtual // the row's own elements
}

func newEmitter(r *rule.Rule, t ISA, resident int) *emitter {
	e := &emitter{Context: build.NewContext(), r: r, t: t,
		resident: map[int]reg.VecVirtual{}, perRow: map[int]reg.VecVirtual{}}
	e.ConstraintExpr("!purego,!noasm")
	for _, id := range r.Invariants()[:resident] {
		e.resident[id] = nil
	}
	return e
}

// data puts words into a read-only symbol of the file.
func (e *emitter) data(name string, words []uint32) operand.Mem {
	m := e.StaticGlobal(name)
	e.DataAttributes(attr.RODATA | attr.NOPTR)
	for k, w := range words {
		e.AddDatum(4*k, operand.U32(w))
	}
	return m
}

// constantAt is the offset of a constant node in the symbol of constants.
func (e *emitter) constantAt(id int) int {
	at := 0
	for _, n := range e.r.Nodes[:id] {
		if n.Op == rule.Const {
			at += 4
		}
	}
	return at
}

func (e *emitter) kernel() {
	var words []uint32
	for _, n := range e.r.Nodes {
		if n.Op == rule.Const {
			words = append(words, n.Imm)
		}
	}
	if len(words) > 0 {
		e.constants = e.data("constants", words)
	}
	if e.t.mask == nil {
		e.laneIndex = e.data("lanes", []uint32{0, 1, 2, 3, 4, 5, 6, 7})
	}

	e.Function(e.r.Name)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr("func(" + e.r.Params(fmt.Sprintf("*[%d]float32", len(e.r.Scalars))) + ")")

	columns := e.Load(e.Param(e.r.Buffers[e.r.First(rule.Stream)].Name).Len(), e.GP64()).(reg.GPVirtual)
	e.index = e.GP64()
	for _, b := range e.r.Buffers {
		m := operand.Mem{Base: e.Load(e.Param(b.Name).Base(), e.GP64()), Index: e.index, Scale: 4}
		e.buffers = append(e.buffers, m)
	}
	for _, d := range e.r.Reductions {
		e.reductions = append(e.reductions, operand.Mem{Base: e.Load(e.Param(d.Name), e.GP64())})
	}
	if len(e.r.Scalars) > 0 {
		e.scalars = operand.Mem{Base: e.Load(e.Param("c"), e.GP64())}
	}
	for _, id := range e.r.Invariants() {
		if _, ok := e.resident[id]; ok {
			e.resident[id] = e.broadcast(id)
		}
	}

	if e.r.IsMatrix() {
		e.rows(columns)
	} else {
		e.columns(columns)
	}
	e.VZEROUPPER()
	e.RET()
}

// rows walks a matrix row by row.
func (e *emitter) rows(columns reg.GPVirtual) {
	first := e.r.Buffers[e.r.First(rule.PerRow)].Name
	count := e.Load(e.Param(first).Len(), e.GP64())
	e.row = e.GP64()
	for k, b := range e.r.Buffers {
		if b.Shape == rule.PerRow {
			e.buffers[k].Index = e.row
		}
	}
	folds := slices.ContainsFunc(e.r.Effects, func(f rule.Effect) bool { return f.Kind == rule.Fold })
	if folds {
		e.fold = e.AllocLocal(4 * rule.Lanes)
	}

	e.XORQ(e.row, e.row)
	e.Label("row")
	e.CMPQ(e.row, count)
	e.JGE(operand.LabelRef("end"))
	for id, n := range e.r.Nodes {
		if n.Op == rule.Load && e.r.Buffers[n.X].Shape == rule.PerRow && e.r.Loads(n.X) {
			e.perRow[id] = e.t.vector(e)
			e.VBROADCASTSS(e.buffers[n.X], e.perRow[id])
		}
	}
	if folds {
		zero := e.YMM()
		e.VXORPS(zero, zero, zero)
		for k := 0; k < 4*rule.Lanes; k += 32 {
			e.VMOVUPS(zero, e.fold.Offset(k))
		}
	}
	e.columns(columns)
	for _, f := range e.r.Effects {
		if f.Reduce && f.Kind == rule.Fold {
			e.VMOVSS(e.folded(), e.buffers[f.To])
		}
	}
	for k, b := range e.r.Buffers {
		if b.Shape == rule.Matrix {
			base := e.buffers[k].Base
			e.LEAQ(operand.Mem{Base: base, Index: columns, Scale: 4}, base)
		}
	}
	e.INCQ(e.row)
	e.JMP(operand.LabelRef("row"))
	e.Label("end")
}

// folded adds the lanes of a row: j and j+16, then 8, 4, 2, 1.
func (e *emitter) folded() reg.VecVirtual {
	low, high := e.YMM(), e.YMM()
	e.VMOVUPS(e.fold, low)
	e.VADDPS(e.fold.Offset(64), low, low)
	e.VMOVUPS(e.fold.Offset(32), high)
	e.VADDPS(e.fold.Offset(96), high, high)
	e.VADDPS(high, low, low)
	x, y := e.XMM(), e.XMM()
	e.VEXTRACTF128(operand.U8(1), low, x)
	e.VADDPS(x, low.AsX(), x)
	e.VMOVHLPS(x, x, y)
	e.VADDPS(y, x, x)
	e.VMOVSHDUP(x, y)
	e.VADDSS(y, x, x)
	return x
}

// columns emits whole vectors, then one masked vector for what is left.
func (e *emitter) columns(n reg.GPVirtual) {
	lanes := e.t.lanes
	limit, left := e.GP64(), e.GP64()
	e.MOVQ(n, limit)
	e.ANDQ(operand.I32(-lanes), limit)
	e.XORQ(e.index, e.index)
	e.CMPQ(e.index, limit)
	e.JGE(operand.LabelRef("tail"))
	e.Label("loop")
	e.body(memory{
		load:  func(m operand.Mem, v reg.VecVirtual) { e.VMOVUPS(m, v) },
		store: func(v reg.VecVirtual, m operand.Mem) { e.VMOVUPS(v, m) },
	})
	e.ADDQ(operand.U32(lanes), e.index)
	e.CMPQ(e.index, limit)
	e.JLT(operand.LabelRef("loop"))
	e.Label("tail")
	e.MOVQ(n, left)
	e.SUBQ(e.index, left)
	e.JE(operand.LabelRef("done"))
	e.body(e.t.tail(e, left))
	e.Label("done")
}

// broadcast puts a scalar or a constant into every lane of a new register.
func (e *emitter) broadcast(id int) reg.VecVirtual {
	v := e.t.vector(e)
	if n := e.r.Nodes[id]; n.Op == rule.Scalar {
		e.VBROADCASTSS(e.scalars.Offset(4*n.X), v)
	} else {
		e.VBROADCASTSS(e.constants.Offset(e.constantAt(id)), v)
	}
	return v
}

// body emits one vector's worth of the rule.
func (e *emitter) body(mem memory) {
	value := map[int]reg.Register{}
	get := func(id int) reg.Register {
		if v, ok := value[id]; ok {
			return v
		}
		if v, ok := e.resident[id]; ok {
			return v
		}
		if v, ok := e.perRow[id]; ok {
			return v
		}
		return e.broadcast(id)
	}
	var lane reg.GPVirtual
	if slices.ContainsFunc(e.r.Effects, func(f rule.Effect) bool { return f.Reduce }) {
		lane = e.GP64()
		e.MOVQ(e.index, lane)
		e.ANDQ(operand.I8(rule.Lanes-1), lane)
	}
	for _, s := range e.r.Schedule() {
		if s.IsEffect {
			f := e.r.Effects[s.ID]
			x := get(f.X).(reg.VecVirtual)
			if !f.Reduce {
				mem.store(x, e.buffers[f.To])
				continue
			}
			e.reduce(f, x, get(f.Y).(reg.VecVirtual), lane, mem.only)
			continue
		}
		n := e.r.Nodes[s.ID]
		if n.Op == rule.Load {
			if _, ok := e.perRow[s.ID]; !ok {
				v := e.t.vector(e)
				mem.load(e.buffers[n.X], v)
				value[s.ID] = v
			}
			continue
		}
		var in [3]reg.Register
		for k, id := range n.Operands() {
			in[k] = get(id)
		}
		if n.Op.IsMask() && e.t.mask != nil {
			value[s.ID] = e.t.mask(e)
		} else {
			value[s.ID] = e.t.vector(e)
		}
		e.t.lower(e, n, in[0], in[1], in[2], value[s.ID])
	}
}

// reduce adds a vector to the lanes of a reduction. Lanes beyond the buffer add
// +0, which leaves any sum that began at +0 as it is.
func (e *emitter) reduce(f rule.Effect, x, y reg.VecVirtual, lane reg.GPVirtual, only func(reg.VecVirtual) reg.VecVirtual) {
	same := f.X == f.Y
	if only != nil {
		x = only(x)
		if f.Kind == rule.Dot && !same {
			y = only(y)
		}
	}
	if f.Kind == rule.Fold {
		at := e.fold
		at.Index, at.Scale = lane, 4
		sum := e.t.vector(e)
		e.VADDPS(at, x, sum)
		e.VMOVUPS(sum, at)
		return
	}
	at := e.reductions[f.To]
	at.Index = lane
	if f.Kind == rule.MaxAbs {
		at.Scale = 4
		max := e.t.vector(e)
		abs := slices.Index(e.r.Nodes, rule.Node{Op: rule.Const, Imm: 1<<31 - 1})
		e.VANDPS(e.broadcast(abs), x, max)
		e.VMAXPS(at, max, max)
		e.VMOVUPS(max, at)
		return
	}
	at.Scale = 8
	parts := e.t.widen(e, x)
	if f.Kind == rule.Dot {
		factors := parts
		if !same {
			factors = e.t.widen(e, y)
		}
		for k, part := range parts {
			e.VMULPD(factors[k], part, part)
		}
	}
	for k, part := range parts {
		at := at.Offset(4 * k * e.t.lanes)
		e.VADDPD(at, part, part)
		e.VMOVUPD(part, at)
	}
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
