package amd64

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An emitter selects the instructions of one program.
type emitter struct {
	*build.Context
	p *loop.Program
	t ISA

	registers map[loop.Reg]reg.Register
	locals    []operand.Mem
	left      map[loop.Reg]reg.GPVirtual // the elements of a part

	uses   map[loop.Reg]int // how often a register is read
	set    map[loop.Reg]int // the instruction that set a register last
	late   map[int]bool     // the instructions that are left to the one that reads them
	joined map[int]junction // of those that are one with it

	laneIndex operand.Mem               // 0, 1, ..., 7
	helpers   map[uint32]reg.VecVirtual // constants that the selection needs
	words     map[uint32]operand.Mem    // constants
	vectorsOf map[uint32]operand.Mem    // constants in every lane
	unsure    []root                    // from the multipliers, before they are tested
	labels    int
	later     []func()       // what is emitted behind the kernel
	upper     reg.VecVirtual // places of the upper halves of words, if they are stored and masks are registers
}

func newEmitter(p *loop.Program, t ISA) *emitter {
	e := &emitter{Context: build.NewContext(), p: p, t: t,
		registers: map[loop.Reg]reg.Register{}, left: map[loop.Reg]reg.GPVirtual{},
		uses: p.Uses(), set: map[loop.Reg]int{}, late: map[int]bool{}, joined: map[int]junction{}, helpers: map[uint32]reg.VecVirtual{},
		words: map[uint32]operand.Mem{}, vectorsOf: map[uint32]operand.Mem{}}
	e.ConstraintExpr("!purego,!noasm")
	if !t.machine.Masks {
		e.laneIndex = e.data("lanes", []uint32{0, 1, 2, 3, 4, 5, 6, 7})
	}
	e.Function(p.Rule.Name)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr("func(" + plain.Replace(p.Rule.Params(fmt.Sprintf("*[%d]float32", len(p.Rule.Scalars)))) + ")")
	if t.machine.Masks {
		e.findUpper(p.Rule)
	}
	for _, l := range p.Locals {
		e.locals = append(e.locals, e.AllocLocal(l.Size+l.Align))
	}
	return e
}

// plain has what avo knows in the place of named types.
var plain = strings.NewReplacer(rule.BF16.Go(), "uint16", rule.F16.Go(), "uint16")

// data puts words into a read-only symbol of the file.
func (e *emitter) data(name string, words []uint32) operand.Mem {
	m := e.StaticGlobal(name)
	e.DataAttributes(attr.RODATA | attr.NOPTR)
	for k, w := range words {
		e.AddDatum(4*k, operand.U32(w))
	}
	return m
}

// word is a constant in memory.
func (e *emitter) word(bits uint32) operand.Mem {
	if _, ok := e.words[bits]; !ok {
		e.words[bits] = e.data(fmt.Sprintf("word%08x", bits), []uint32{bits})
	}
	return e.words[bits]
}

// vectorOf is a constant in every lane, in memory.
func (e *emitter) vectorOf(bits uint32) operand.Mem {
	if _, ok := e.vectorsOf[bits]; !ok {
		words := make([]uint32, e.t.machine.Lanes)
		for k := range words {
			words[k] = bits
		}
		e.vectorsOf[bits] = e.data(fmt.Sprintf("all%08x", bits), words)
	}
	return e.vectorsOf[bits]
}

// register is that of a register of the program.
func (e *emitter) register(r loop.Reg) reg.Register {
	if v, ok := e.registers[r]; ok || r.Kind == loop.None {
		return v
	}
	var v reg.Register
	switch r.Kind {
	case loop.Address:
		v = e.GP64()
	case loop.Vector:
		v = e.t.vector(e)
	default:
		v = e.t.mask(e)
	}
	e.registers[r] = v
	return v
}

func (e *emitter) vector(r loop.Reg) reg.VecVirtual { return e.register(r).(reg.VecVirtual) }

// operand is the register, or the memory that it would have been loaded from.
func (e *emitter) operand(r loop.Reg) operand.Op {
	if k, ok := e.set[r]; ok && e.late[k] {
		return e.memory(e.p.Insts[k].Mem)
	}
	return e.register(r)
}

// memory is a place of the program.
func (e *emitter) memory(m loop.Mem) operand.Mem {
	if m.Base.Kind == loop.Frame {
		return e.locals[m.Base.N].Offset(m.Disp)
	}
	at := operand.Mem{Base: e.register(m.Base), Disp: m.Disp}
	if m.Index.Kind != loop.None {
		at.Index, at.Scale = e.register(m.Index), uint8(m.Scale)
	}
	return at
}

// label is a new label.
func (e *emitter) label(name string) string {
	e.labels++
	return fmt.Sprintf("%s%d", name, e.labels)
}

// aside emits a jump, on which the flags decide, to code behind the kernel that
// jumps back.
func (e *emitter) aside(jump func(operand.Op), emit func()) {
	out, back := e.label("aside"), e.label("back")
	jump(operand.LabelRef(out))
	e.Label(back)
	e.later = append(e.later, func() {
		e.Label(out)
		emit()
		e.JMP(operand.LabelRef(back))
	})
}

// emit emits an instruction of the program.
func (e *emitter) emit(k int, in loop.Inst) {
	if in.Dst.Kind != loop.None {
		e.set[in.Dst] = k
	}
	e.settle(in)
	switch {
	case in.Op <= loop.Return:
		e.control(in)
	case in.Op <= loop.Fetch:
		e.address(in)
	default:
		e.lanes(k, in)
	}
}

// control emits labels and jumps.
func (e *emitter) control(in loop.Inst) {
	to := operand.LabelRef(in.Label)
	switch in.Op {
	case loop.Label:
		e.Label(in.Label)
	case loop.Jump:
		e.JMP(to)
	case loop.JumpIf:
		e.CMPQ(e.register(in.X), e.register(in.Y))
		e.jump(in.Cond, to)
	case loop.Unless:
		if in.Cond == loop.Greater {
			e.CMPL(e.memory(in.Mem), operand.I8(in.Imm))
			e.JLE(to)
		} else {
			e.CMPL(e.memory(in.Mem), operand.U32(in.Imm))
			e.JNE(to)
		}
	case loop.Return:
		e.VZEROUPPER()
		e.RET()
	}
}

func (e *emitter) jump(c loop.Cond, to operand.Op) {
	switch c {
	case loop.Equal:
		e.JE(to)
	case loop.Less:
		e.JLT(to)
	case loop.LessEqual:
		e.JLE(to)
	case loop.Greater:
		e.JG(to)
	case loop.GreaterEqual:
		e.JGE(to)
	}
}

// address emits what is done to addresses and counts.
func (e *emitter) address(in loop.Inst) {
	var x operand.Op = operand.I32(in.Imm)
	if in.X.Kind != loop.None {
		x = e.register(in.X)
	}
	switch to := e.register(in.Dst); in.Op {
	case loop.Param:
		e.parameter(in, to)
	case loop.Number:
		if in.Imm == 0 {
			e.XORQ(to, to)
		} else {
			e.MOVQ(x, to)
		}
	case loop.Copy:
		e.MOVQ(x, to)
	case loop.Word:
		e.MOVQ(e.memory(in.Mem), to)
	case loop.Locate:
		e.locate(in.Mem, to)
	case loop.Add:
		e.ADDQ(x, to)
	case loop.And:
		e.ANDQ(x, to)
	case loop.Sub:
		e.SUBQ(x, to)
	case loop.SubIf:
		e.SUBQ(x, to)
		e.jump(in.Cond, operand.LabelRef(in.Label))
	case loop.Times:
		e.IMUL3Q(x, to, to)
	case loop.Fetch:
		e.PREFETCHT0(e.memory(in.Mem))
	}
}

// parameter loads a parameter or a part of it.
func (e *emitter) parameter(in loop.Inst, to reg.Register) {
	c := e.Param(in.Label)
	switch in.Piece {
	case loop.Base:
		c = c.Base()
	case loop.Len:
		c = c.Len()
	}
	e.Load(c, to)
}

// locate emits an address; a local is moved on to where it is aligned.
func (e *emitter) locate(m loop.Mem, to reg.Register) {
	if m.Base.Kind != loop.Frame {
		e.LEAQ(e.memory(m), to)
		return
	}
	align := e.p.Locals[m.Base.N].Align
	e.LEAQ(e.memory(m).Offset(align-1), to)
	e.ANDQ(operand.I32(-align), to)
}

// lanes emits what is done to vectors.
func (e *emitter) lanes(k int, in loop.Inst) {
	if e.t.fuse != nil && e.t.fuse(e, k, in) {
		return
	}
	if e.isOperand(k) {
		e.late[k] = true
		return
	}
	switch in.Op {
	case loop.Constant:
		e.VBROADCASTSS(e.word(uint32(in.Imm)), e.register(in.Dst))
	case loop.Helper:
		e.VBROADCASTSS(e.word(uint32(in.Imm)), e.register(in.Dst))
		e.helpers[uint32(in.Imm)] = e.vector(in.Dst)
	case loop.Spread:
		e.VBROADCASTSS(e.memory(in.Mem), e.register(in.Dst))
	case loop.Zero:
		v := e.register(in.Dst)
		e.VXORPS(v, v, v)
	case loop.First:
		left := e.register(in.X).(reg.GPVirtual)
		e.left[in.Dst] = left
		e.t.first(e, left, e.register(in.Dst))
	case loop.Only:
		e.t.only(e, e.register(in.X), e.vector(in.Y), e.vector(in.Dst))
	case loop.Load:
		e.t.load[in.Type](e, e.memory(in.Mem), in.X, e.vector(in.Dst))
	case loop.Store:
		e.t.store[in.Type](e, e.vector(in.Y), in.X, e.memory(in.Mem))
	case loop.Compute:
		e.compute(k, in)
	default:
		e.sums(in)
	}
}

// compute emits an operation on float32, or on their bits.
func (e *emitter) compute(k int, in loop.Inst) {
	if in.Node.Op == rule.FMA || in.Node.Op == rule.FNMA {
		e.fused(k, in)
		return
	}
	if e.late[e.set[in.X]] {
		in.X, in.Y = in.Y, in.X
	}
	x, y, z, to := e.register(in.X), e.operand(in.Y), e.register(in.Z), e.register(in.Dst)
	if in.Node.Op == rule.Sqrt && in.Turn >= 0 && e.t.root != nil {
		if root := e.t.root(in.Turn); root != nil {
			root(e, x.(reg.VecVirtual), to.(reg.VecVirtual))
			return
		}
	}
	e.t.lower(e, in.Node, x, y, z, to)
}

// fused emits a product with a sum, which is left in the register of an operand: of one
// that nothing reads any more, if there is one.
func (e *emitter) fused(k int, in loop.Inst) {
	product, plus, plusProduct := e.VFMADD132PS, e.VFMADD213PS, e.VFMADD231PS
	if in.Node.Op == rule.FNMA {
		product, plus, plusProduct = e.VFNMADD132PS, e.VFNMADD213PS, e.VFNMADD231PS
	}
	if e.isLate(in.X) || !e.dies(k, in.X) && e.dies(k, in.Y) && !e.isLate(in.Y) {
		in.X, in.Y = in.Y, in.X
	}
	y, z := e.operand(in.Y), e.operand(in.Z)
	switch {
	case e.dies(k, in.X) && e.isLate(in.Y):
		e.registers[in.Dst] = e.register(in.X)
		product(y, z, e.register(in.X))
	case e.dies(k, in.X):
		e.registers[in.Dst] = e.register(in.X)
		plus(z, y, e.register(in.X))
	case e.dies(k, in.Z) && !e.isLate(in.Z):
		e.registers[in.Dst] = e.register(in.Z)
		plusProduct(y, e.register(in.X), e.register(in.Z))
	default:
		to := e.register(in.Dst)
		e.VMOVUPS(z, to)
		plusProduct(y, e.register(in.X), to)
	}
}

// dies reports whether instruction k alone reads a register, which was set in the same run
// of the code.
func (e *emitter) dies(k int, r loop.Reg) bool {
	at, ok := e.set[r]
	return ok && e.uses[r] == 1 && !slices.ContainsFunc(e.p.Insts[at:k], func(in loop.Inst) bool { return in.Op <= loop.Return })
}

// isLate reports whether a register is left to the instruction that reads it.
func (e *emitter) isLate(r loop.Reg) bool { k, ok := e.set[r]; return ok && e.late[k] }

// sums emits what is done for reductions.
func (e *emitter) sums(in loop.Inst) {
	switch in.Op {
	case loop.Widen:
		e.t.widen(e, e.vector(in.X), int(in.Imm), e.vector(in.Dst))
	case loop.AddWide:
		sum := e.register(in.Dst)
		e.VADDPD(e.register(in.X), sum, sum)
	case loop.AddTimes:
		e.t.addProduct(e, e.vector(in.X), e.vector(in.Y), e.vector(in.Dst))
	case loop.Fold:
		if in.Y.Kind != loop.None {
			e.VMOVSS(e.largest(e.vector(in.Y)), e.memory(in.Mem))
			return
		}
		e.VMOVSS(e.folded(in.Node.Op, e.memory(in.Lanes)), e.memory(in.Mem))
	}
}

// largest is the largest lane.
func (e *emitter) largest(v reg.VecVirtual) reg.VecVirtual {
	x, y := e.XMM(), e.XMM()
	if e.t.machine.Masks {
		half := e.YMM()
		e.VEXTRACTF64X4(operand.U8(1), v, half)
		e.VMAXPS(v.AsY(), half, half)
		e.VEXTRACTF32X4(operand.U8(1), half, x)
		e.VMAXPS(half.AsX(), x, x)
	} else {
		e.VEXTRACTF128(operand.U8(1), v, x)
		e.VMAXPS(v.AsX(), x, x)
	}
	e.VMOVHLPS(x, x, y)
	e.VMAXPS(x, y, y)
	e.VMOVSHDUP(y, x)
	e.VMAXSS(x, y, y)
	return y
}

// folded joins the lanes of a row: j and j+16, then 8, 4, 2, 1.
func (e *emitter) folded(op rule.Op, lanes operand.Mem) reg.VecVirtual {
	join, last := e.VADDPS, e.VADDSS
	if op == rule.Max {
		join, last = e.VMAXPS, e.VMAXSS
	}
	low, high := e.YMM(), e.YMM()
	e.VMOVUPS(lanes, low)
	join(lanes.Offset(64), low, low)
	e.VMOVUPS(lanes.Offset(32), high)
	join(lanes.Offset(96), high, high)
	join(high, low, low)
	x, y := e.XMM(), e.XMM()
	e.VEXTRACTF128(operand.U8(1), low, x)
	join(x, low.AsX(), x)
	e.VMOVHLPS(x, x, y)
	join(y, x, x)
	e.VMOVSHDUP(x, y)
	last(y, x, x)
	return x
}
