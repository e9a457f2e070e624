// Package amd64 lowers rules to AVX2 and AVX-512 through avo.
package amd64

import (
	"fmt"
	"maps"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/tune"

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

	// signs reports whether small numbers are told faster by bits without the sign
	// bit. The others are all bits, for what is not flushed: strict arithmetic, and
	// parameters that do not decay.
	signs bool

	// constants are what the lowering of an operation has in registers.
	constants map[rule.Op][]uint32
}

// A rootFunc emits a square root of x. Where x was flushed it is 0 or at least
// 2⁻⁹⁵ in magnitude, and need not be looked at.
type rootFunc func(e *emitter, x, dst reg.VecVirtual, flushed bool)

// memory is how a body reaches its buffers: whole vectors, or a masked part.
type memory struct {
	load  func(operand.Mem, reg.VecVirtual)
	store func(reg.VecVirtual, operand.Mem)

	// only zeroes the lanes that are not part of the buffer; nil if all are.
	only func(x reg.VecVirtual) reg.VecVirtual
}

// Emit returns the assembly of r for t. The sums of reductions stay in registers
// in the main loop if there are enough, and of the scalars and constants as many
// as fit, the most used first.
func Emit(r *rule.Rule, t ISA) []byte {
	r = expand(r, t)
	var err error
	for _, sums := range []bool{true, false} {
		reduces := slices.ContainsFunc(r.Effects, func(f rule.Effect) bool { return f.Reduce })
		if sums && (!reduces || len(r.Schedule()) > tune.LongBody) {
			continue
		}
		for resident := len(r.Invariants()); resident >= 0; resident-- {
			e := newEmitter(r, t, resident, sums)
			e.kernel()
			var f *ir.File
			if f, err = e.Result(); err != nil {
				panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
			}
			if err = pass.Compile.Execute(f); err != nil || vectors(f) > t.registers {
				continue
			}
			b, err := printer.NewGoAsm(printer.Config{Name: "gen"}).Print(f)
			if err != nil {
				panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
			}
			return b
		}
	}
	panic(fmt.Errorf("amd64: %s does not fit the registers: %w", r.Name, err))
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

// An emitter builds one kernel.
type emitter struct {
	*build.Context
	r     *rule.Rule
	t     ISA
	steps []rule.Step

	index      reg.GPVirtual // of the column
	row        reg.GPVirtual
	buffers    []operand.Mem   // of the first row
	further    [][]operand.Mem // of the rows side by side
	reductions []operand.Mem
	scalars    operand.Mem
	constants  operand.Mem
	laneIndex  operand.Mem   // 0, 1, ..., 7
	folds      []operand.Mem // the lanes of each row

	resident  map[int]reg.VecVirtual   // scalars and constants in registers
	perRow    []map[int]reg.VecVirtual // the rows' own elements
	inSums    bool                     // the main loop has the reductions' lanes in registers
	sums      map[sumOf][]reg.VecVirtual
	listed    bool                      // the kernel is for a list of small tensors
	unsigned  map[int]bool              // scalars that tell small numbers by no sign bit
	helpers   map[uint32]reg.VecVirtual // constants that the lowering needs
	vectorsOf map[uint32]operand.Mem    // constants in every lane
	asides    int
	later     []func() // what is emitted behind the kernel
}

// A sumOf is an effect of a row.
type sumOf struct{ effect, row int }

func newEmitter(r *rule.Rule, t ISA, resident int, inSums bool) *emitter {
	e := &emitter{Context: build.NewContext(), r: r, t: t, steps: r.Schedule(), inSums: inSums,
		resident: map[int]reg.VecVirtual{}, helpers: map[uint32]reg.VecVirtual{}, vectorsOf: map[uint32]operand.Mem{}, unsigned: map[int]bool{}, sums: map[sumOf][]reg.VecVirtual{}}
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

	e.one()
	if e.r.IsStep() {
		e.many()
	}
}

// one emits the kernel for one call's buffers.
func (e *emitter) one() {
	e.begin(e.r.Name, e.r.Params(e.scalarsType()))
	columns := e.Load(e.Param(e.r.Buffers[e.r.First(rule.Stream)].Name).Len(), e.GP64()).(reg.GPVirtual)
	for _, b := range e.r.Buffers {
		m := operand.Mem{Base: e.Load(e.Param(b.Name).Base(), e.GP64()), Index: e.index, Scale: 4}
		e.buffers = append(e.buffers, m)
	}
	for _, d := range e.r.Reductions {
		e.reductions = append(e.reductions, operand.Mem{Base: e.Load(e.Param(d.Name), e.GP64())})
	}
	e.invariants()
	if e.r.IsMatrix() {
		e.rows(columns)
	} else {
		e.columns("", columns, 1)
	}
	e.end()
}

// many emits the kernel for a list of buffers, which reads the scalars once.
func (e *emitter) many() {
	e.begin(e.r.Name+rule.Many, e.r.ManyParams(e.scalarsType()))
	e.listed = true
	entry := operand.Mem{Base: e.Load(e.Param(rule.List).Base(), e.GP64())}
	end := e.Load(e.Param(rule.List).Len(), e.GP64())
	const header = 24 // bytes of a slice
	e.IMUL3Q(operand.I8(header), end, end)
	e.ADDQ(entry.Base, end)
	columns := e.GP64()
	for range e.r.Buffers {
		e.buffers = append(e.buffers, operand.Mem{Base: e.GP64(), Index: e.index, Scale: 4})
	}
	e.invariants()
	size := header * len(e.buffers)
	final, ahead, buffer := e.GP64(), e.GP64(), e.GP64()
	e.LEAQ(operand.Mem{Base: end, Disp: -size}, final)
	e.CMPQ(entry.Base, end)
	e.JGE(operand.LabelRef("end"))
	e.Label("entry")
	e.LEAQ(entry.Offset(tune.FetchAhead*size), ahead)
	e.CMPQ(ahead, final)
	e.CMOVQGT(final, ahead)
	for k := range e.buffers {
		e.MOVQ(operand.Mem{Base: ahead, Disp: header * k}, buffer)
		for line := range tune.FetchLines {
			e.PREFETCHT0(operand.Mem{Base: buffer, Disp: 64 * line})
		}
	}
	e.MOVQ(entry.Offset(8), columns)
	for k, b := range e.buffers {
		e.MOVQ(entry.Offset(header*k), b.Base)
	}
	e.columns("", columns, 1)
	e.ADDQ(operand.I32(size), entry.Base)
	e.CMPQ(entry.Base, end)
	e.JLT(operand.LabelRef("entry"))
	e.Label("end")
	e.end()
}

func (e *emitter) scalarsType() string { return fmt.Sprintf("*[%d]float32", len(e.r.Scalars)) }

// begin begins a function.
func (e *emitter) begin(name, params string) {
	e.Function(name)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr("func(" + params + ")")
	e.index = e.GP64()
	e.buffers, e.later, e.asides = nil, nil, 0
}

// invariants loads what stays in registers.
func (e *emitter) invariants() {
	if len(e.r.Scalars) > 0 {
		e.scalars = operand.Mem{Base: e.Load(e.Param("c"), e.GP64())}
	}
	for _, id := range e.r.Invariants() {
		if _, ok := e.resident[id]; ok {
			delete(e.resident, id)
			e.resident[id] = e.broadcast(id)
		}
	}
	for _, bits := range e.t.needs(e.r) {
		e.helpers[bits] = e.t.vector(e)
		e.VBROADCASTSS(e.constants.Offset(e.constantAt(e.constant(bits))), e.helpers[bits])
	}
}

// end ends a function.
func (e *emitter) end() {
	e.VZEROUPPER()
	e.RET()
	for _, emit := range e.later {
		emit()
	}
}

// constant is the node of a constant that expand has put into the rule.
func (e *emitter) constant(bits uint32) int {
	return slices.Index(e.r.Nodes, rule.Node{Op: rule.Const, Imm: bits})
}

// aside emits a jump, on which the flags decide, to code behind the kernel that
// jumps back.
func (e *emitter) aside(jump func(operand.Op), emit func()) {
	e.asides++
	out, back := fmt.Sprintf("aside%d", e.asides), fmt.Sprintf("back%d", e.asides)
	jump(operand.LabelRef(out))
	e.Label(back)
	e.later = append(e.later, func() {
		e.Label(out)
		emit()
		e.JMP(operand.LabelRef(back))
	})
}

// rows walks a matrix some rows side by side, then row by row.
func (e *emitter) rows(columns reg.GPVirtual) {
	first := e.r.Buffers[e.r.First(rule.PerRow)].Name
	count := e.Load(e.Param(first).Len(), e.GP64()).(reg.GPVirtual)
	e.row = e.GP64()
	for k, b := range e.r.Buffers {
		if b.Shape == rule.PerRow {
			e.buffers[k].Index = e.row
		}
	}
	e.further = [][]operand.Mem{e.buffers}
	for r := 1; r < e.t.rows; r++ {
		next := slices.Clone(e.buffers)
		for k, b := range e.r.Buffers {
			switch b.Shape {
			case rule.PerRow:
				next[k] = next[k].Offset(4 * r)
			case rule.Matrix:
				next[k].Base = e.GP64()
			}
		}
		e.further = append(e.further, next)
	}
	if slices.ContainsFunc(e.r.Effects, func(f rule.Effect) bool { return f.Kind == rule.Fold }) {
		// A vector that straddles lines of the cache is slow to come back.
		const line = 64
		local, lanes := e.AllocLocal(4*rule.Lanes*e.t.rows+line), e.GP64()
		e.LEAQ(local.Offset(line-1), lanes)
		e.ANDQ(operand.I32(-line), lanes)
		for r := range e.t.rows {
			e.folds = append(e.folds, operand.Mem{Base: lanes, Disp: 4 * rule.Lanes * r})
		}
	}
	e.XORQ(e.row, e.row)
	for _, side := range []int{e.t.rows, 1} {
		prefix := fmt.Sprintf("rows%d", side)
		last := e.GP64()
		e.MOVQ(count, last)
		e.SUBQ(operand.I32(side), last)
		e.CMPQ(e.row, last)
		e.JG(operand.LabelRef(prefix + "end"))
		e.Label(prefix)
		e.sideBySide(prefix, columns, side)
		e.ADDQ(operand.I32(side), e.row)
		e.CMPQ(e.row, last)
		e.JLE(operand.LabelRef(prefix))
		e.Label(prefix + "end")
	}
}

// sideBySide walks so many rows of a matrix in one pass over the columns.
func (e *emitter) sideBySide(prefix string, columns reg.GPVirtual, side int) {
	e.perRow = nil
	for r := range side {
		own := map[int]reg.VecVirtual{}
		for id, n := range e.r.Nodes {
			if n.Op == rule.Load && e.r.Buffers[n.X].Shape == rule.PerRow && e.r.Loads(n.X) {
				own[id] = e.t.vector(e)
				e.VBROADCASTSS(e.further[r][n.X], own[id])
			}
		}
		e.perRow = append(e.perRow, own)
	}
	for k, b := range e.r.Buffers {
		if b.Shape == rule.Matrix {
			for r := 1; r < side; r++ {
				e.LEAQ(operand.Mem{Base: e.further[r-1][k].Base, Index: columns, Scale: 4}, e.further[r][k].Base)
			}
		}
	}
	if len(e.folds) > 0 {
		zero := e.YMM()
		e.VXORPS(zero, zero, zero)
		for r := range side {
			for k := 0; k < 4*rule.Lanes; k += 32 {
				e.VMOVUPS(zero, e.folds[r].Offset(k))
			}
		}
	}
	e.columns(prefix, columns, side)
	for r := range side {
		for _, f := range e.r.Effects {
			if f.Reduce && f.Kind == rule.Fold {
				e.VMOVSS(e.folded(e.folds[r]), e.further[r][f.To])
			}
		}
	}
	for k, b := range e.r.Buffers {
		if b.Shape == rule.Matrix {
			e.LEAQ(operand.Mem{Base: e.further[side-1][k].Base, Index: columns, Scale: 4}, e.buffers[k].Base)
		}
	}
}

// folded adds the lanes of a row: j and j+16, then 8, 4, 2, 1.
func (e *emitter) folded(lanes operand.Mem) reg.VecVirtual {
	low, high := e.YMM(), e.YMM()
	e.VMOVUPS(lanes, low)
	e.VADDPS(lanes.Offset(64), low, low)
	e.VMOVUPS(lanes.Offset(32), high)
	e.VADDPS(lanes.Offset(96), high, high)
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

// columns emits the main loop, which takes several vectors at a time, one that
// takes whole vectors, and one masked vector for what is left.
func (e *emitter) columns(prefix string, n reg.GPVirtual, side int) {
	e.XORQ(e.index, e.index)
	if len(e.steps) <= tune.LongBody {
		e.loop(prefix+"main", n, e.t.wide, side)
	}
	e.loop(prefix+"loop", n, 1, side)
	left := e.GP64()
	e.MOVQ(n, left)
	e.SUBQ(e.index, left)
	e.JE(operand.LabelRef(prefix + "done"))
	e.body(e.t.tail(e, left), 1, side)
	e.Label(prefix + "done")
}

// loop emits a loop over so many whole vectors.
func (e *emitter) loop(name string, n reg.GPVirtual, vectors, side int) {
	limit, end := e.GP64(), name+"end"
	e.MOVQ(n, limit)
	e.ANDQ(operand.I32(-vectors*e.t.lanes), limit)
	e.CMPQ(e.index, limit)
	e.JGE(operand.LabelRef(end))
	if vectors > 1 {
		e.moveSums(side, func(f rule.Effect, at operand.Mem, v reg.VecVirtual) {
			if f.Kind == rule.Fold { // is 0 at the beginning of a row
				e.VXORPS(v, v, v)
				return
			}
			e.VMOVUPS(at, v)
		})
	}
	again := func(name string) {
		e.Label(name)
		if vectors > 1 && e.ask(end) {
			name += "again"
			e.Label(name)
		}
		e.body(memory{
			load:  func(m operand.Mem, v reg.VecVirtual) { e.VMOVUPS(m, v) },
			store: func(v reg.VecVirtual, m operand.Mem) { e.VMOVUPS(v, m) },
		}, vectors, side)
		e.ADDQ(operand.I32(vectors*e.t.lanes), e.index)
		e.CMPQ(e.index, limit)
		e.JLT(operand.LabelRef(name))
		clear(e.unsigned)
	}
	if vectors > 1 && len(e.sums) == 0 {
		e.shorter(name, again)
	}
	again(name)
	if vectors > 1 {
		e.moveSums(side, func(_ rule.Effect, at operand.Mem, v reg.VecVirtual) { e.VMOVUPS(v, at) })
		clear(e.sums)
	}
	e.Label(end)
}

// shorter emits the main loop for what the rule comes to where scalars have their
// usual values.
func (e *emitter) shorter(name string, again func(string)) {
	r, steps := e.r, e.steps
	list := r.Shorter()
	next := name
	for _, s := range list {
		for _, slot := range slices.Sorted(maps.Keys(s.When)) {
			e.CMPL(e.scalars.Offset(4*slot), operand.U32(s.When[slot]))
			e.JNE(operand.LabelRef(next))
		}
		next = name + s.Label()
	}
	for _, s := range slices.Backward(list) {
		e.r, e.steps = s.Rule, s.Schedule()
		again(name + s.Label())
		e.JMP(operand.LabelRef(name + "end"))
	}
	e.r, e.steps = r, steps
}

// ask emits jumps past the main loop where small numbers are told by other bits
// than it is made for, and reports whether there are some. The bits for parameters
// are another case: those that do not decay are told by all.
func (e *emitter) ask(past string) bool {
	asked := false
	if keep := e.flushing(); keep >= 0 {
		e.CMPL(e.scalars.Offset(4*e.r.Nodes[keep].X), operand.U32(flushSmall))
		e.JNE(operand.LabelRef(past))
		asked = true
	}
	for _, s := range e.steps {
		if s.IsEffect || e.r.Nodes[s.ID].Op != rule.Flush || !e.t.signs {
			continue
		}
		keep := e.r.Nodes[e.r.Nodes[s.ID].Y].X
		if e.unsigned[keep] || e.r.Scalars[keep] == "lasts" {
			continue
		}
		e.CMPL(e.scalars.Offset(4*keep), operand.I8(0))
		e.JLT(operand.LabelRef(past))
		asked, e.unsigned[keep] = true, true
	}
	return asked
}

// flushSmall is fallback.FlushSmall as bits.
const flushSmall = 0x70000000

// flushing is the scalar that must be flushSmall for the main loop's roots to be
// of flushed numbers, or -1 if there is no such root.
func (e *emitter) flushing() int {
	for _, n := range e.r.Nodes {
		if n.Op == rule.Sqrt && e.t.root != nil && e.r.Nodes[n.X].Op == rule.Flush {
			return e.r.Nodes[n.X].Y
		}
	}
	return -1
}

// moveSums moves the lanes of all reductions between memory and registers, for
// the main loop: it begins at lane 0, so that a vector has the same lanes in
// each iteration.
func (e *emitter) moveSums(side int, move func(rule.Effect, operand.Mem, reg.VecVirtual)) {
	if !e.inSums {
		return
	}
	for id, f := range e.r.Effects {
		for r := range side {
			if !f.Reduce || f.Kind != rule.Fold && r > 0 {
				continue
			}
			at, size := e.lanesAt(f, r)
			key := sumOf{id, r}
			if e.sums[key] == nil {
				for range rule.Lanes * size / (4 * e.t.lanes) {
					e.sums[key] = append(e.sums[key], e.t.vector(e))
				}
			}
			for q, v := range e.sums[key] {
				move(f, at.Offset(4*e.t.lanes*q), v)
			}
		}
	}
}

// lanesAt is where the lanes of a reduction are, and a lane's size.
func (e *emitter) lanesAt(f rule.Effect, row int) (at operand.Mem, size int) {
	switch f.Kind {
	case rule.Fold:
		return e.folds[row], 4
	case rule.MaxAbs:
		return e.reductions[f.To], 4
	}
	return e.reductions[f.To], 8
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

// body emits so many vectors' worth of the rule.
func (e *emitter) body(mem memory, vectors, side int) {
	var lane reg.GPVirtual
	if slices.ContainsFunc(e.r.Effects, func(f rule.Effect) bool { return f.Reduce }) && len(e.sums) == 0 {
		lane = e.GP64()
		e.MOVQ(e.index, lane)
		e.ANDQ(operand.I8(rule.Lanes-1), lane)
	}
	phases := [][]rule.Step{e.steps}
	if vectors > 1 && e.t.phases {
		phases = e.phases()
	}
	bodies := make([]body, vectors)
	for _, steps := range phases {
		for k := range bodies {
			b := &bodies[k]
			if b.emitter == nil {
				*b = body{emitter: e, memory: mem, vector: k, main: vectors > 1, lane: lane,
					value: map[int]reg.Register{}, stored: map[int]reg.VecVirtual{}}
			}
			for r := range side {
				b.emit(steps, r, r == side-1)
			}
		}
	}
}

// phases splits the schedule after its roots, if it has some: in the main loop the
// roots of all vectors are under way before the first of them is waited for.
func (e *emitter) phases() [][]rule.Step {
	waits := make([]bool, len(e.r.Nodes)) // for a root
	used := make([]bool, len(e.r.Nodes))  // by what does not wait
	for id, n := range e.r.Nodes {
		waits[id] = slices.ContainsFunc(n.Operands(), func(x int) bool { return waits[x] || e.r.Nodes[x].Op == rule.Sqrt })
	}
	second := func(s rule.Step) bool {
		if s.IsEffect {
			return slices.ContainsFunc(e.r.ReadsOf(s), func(x int) bool { return waits[x] })
		}
		return waits[s.ID] || !used[s.ID]
	}
	for _, s := range slices.Backward(e.steps) {
		if !s.IsEffect && e.r.Nodes[s.ID].Op == rule.Sqrt {
			used[s.ID] = true
		}
		if !second(s) {
			for _, x := range e.r.ReadsOf(s) {
				used[x] = true
			}
		}
	}
	var split [2][]rule.Step
	for _, s := range e.steps {
		k := 0
		if second(s) {
			k = 1
		}
		split[k] = append(split[k], s)
	}
	return split[:]
}

// A body is the rule for one vector of the columns.
type body struct {
	*emitter
	memory
	vector int  // in the iteration
	main   bool // in the main loop
	lane   reg.GPVirtual
	value  map[int]reg.Register   // by node
	stored map[int]reg.VecVirtual // by buffer, what the rows so far have made of it
}

// emit computes some steps for a row. What does not depend on the row is computed
// for the first; a buffer that all rows change is stored by the last.
func (b *body) emit(steps []rule.Step, row int, last bool) {
	e := b.emitter
	at := func(buffer int) operand.Mem {
		m := e.buffers[buffer]
		if e.r.Buffers[buffer].Shape == rule.Matrix {
			m = e.further[row][buffer]
		}
		return m.Offset(4 * e.t.lanes * b.vector)
	}
	get := func(id int) reg.Register {
		if v, ok := b.value[id]; ok {
			return v
		}
		if v, ok := e.resident[id]; ok {
			return v
		}
		if len(e.perRow) > 0 {
			if v, ok := e.perRow[row][id]; ok {
				return v
			}
		}
		return e.broadcast(id)
	}
	for _, s := range steps {
		if s.IsEffect {
			f := e.r.Effects[s.ID]
			x := get(f.X).(reg.VecVirtual)
			switch {
			case f.Reduce:
				b.reduce(s.ID, row, x, get(f.Y).(reg.VecVirtual))
			case last:
				b.store(x, at(f.To))
			default:
				b.stored[f.To] = x
			}
			continue
		}
		n := e.r.Nodes[s.ID]
		if row > 0 && !e.varies(s.ID) {
			continue
		}
		if n.Op == rule.Load {
			if e.r.Buffers[n.X].Shape == rule.PerRow {
				continue
			}
			if v, ok := b.stored[n.X]; ok {
				b.value[s.ID] = v
				continue
			}
			v := e.t.vector(e)
			b.load(at(n.X), v)
			b.value[s.ID] = v
			continue
		}
		var in [3]reg.Register
		for k, id := range n.Operands() {
			in[k] = get(id)
		}
		if n.Op.IsMask() && e.t.mask != nil {
			b.value[s.ID] = e.t.mask(e)
		} else {
			b.value[s.ID] = e.t.vector(e)
		}
		if n.Op == rule.Sqrt && b.main && e.t.root != nil {
			if root := e.t.root(b.vector); root != nil {
				root(e, in[0].(reg.VecVirtual), b.value[s.ID].(reg.VecVirtual), e.r.Nodes[n.X].Op == rule.Flush)
				continue
			}
		}
		e.t.lower(e, n, in[0], in[1], in[2], b.value[s.ID])
	}
}

// varies reports whether a node depends on the row.
func (e *emitter) varies(id int) bool {
	n := e.r.Nodes[id]
	if n.Op == rule.Load {
		return e.r.Buffers[n.X].Shape != rule.Stream || e.r.Stores(n.X)
	}
	return slices.ContainsFunc(n.Operands(), e.varies)
}

// reduce adds a vector to the lanes of a reduction. Lanes beyond the buffer add
// +0, which leaves any sum that began at +0 as it is.
func (b *body) reduce(id, row int, x, y reg.VecVirtual) {
	e, f := b.emitter, b.r.Effects[id]
	same := f.X == f.Y
	if b.only != nil {
		x = b.only(x)
		if f.Kind == rule.Dot && !same {
			y = b.only(y)
		}
	}
	at, size := e.lanesAt(f, row)
	at = at.Offset(size * (b.vector * e.t.lanes % rule.Lanes)) // beyond the first vector's
	at.Index, at.Scale = b.lane, uint8(size)
	// part applies change to the k-th vector of the sums that x is for.
	part := func(k int, change func(sum reg.VecVirtual)) {
		if sums := e.sums[sumOf{id, row}]; sums != nil {
			change(sums[(b.vector*size/4+k)%len(sums)])
			return
		}
		sum, at := e.t.vector(e), at.Offset(4*e.t.lanes*k)
		e.VMOVUPS(at, sum)
		change(sum)
		e.VMOVUPS(sum, at)
	}
	switch f.Kind {
	case rule.Fold:
		part(0, func(sum reg.VecVirtual) { e.VADDPS(x, sum, sum) })
	case rule.MaxAbs:
		max := e.t.vector(e)
		e.VANDPS(e.broadcast(e.constant(1<<31-1)), x, max)
		part(0, func(sum reg.VecVirtual) { e.VMAXPS(sum, max, sum) })
	case rule.Sum:
		for k, v := range e.t.widen(e, x) {
			part(k, func(sum reg.VecVirtual) { e.VADDPD(v, sum, sum) })
		}
	case rule.Dot:
		factors := e.t.widen(e, x)
		others := factors
		if !same {
			others = e.t.widen(e, y)
		}
		for k, v := range factors {
			part(k, func(sum reg.VecVirtual) { e.t.addProduct(e, v, others[k], sum) })
		}
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
