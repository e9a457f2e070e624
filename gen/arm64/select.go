package arm64

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// A line is an instruction before its registers have numbers, or a label.
type line struct {
	label  string // of this line
	jump   string // the label that it may jump to
	leaves bool   // it does not go on to the next line

	writes, reads []loop.Reg
	inPlace       bool                            // the result is best in the register of what is read and dead after it
	number        func(n numbering) []Instruction // none if there is nothing to do
}

// A selection is a program's instructions.
type selection struct {
	p         *loop.Program
	lines     []line
	temps     int
	constants []uint32 // each a vector of the kernel's
	frame     int      // bytes of the kernel's own memory
	locals    []int    // where each is in it
}

// The registers that all of a kernel may need: addresses of the constants and of the
// kernel's own memory.
var (
	constants = loop.Reg{Kind: loop.Address, N: -1}
	frame     = loop.Reg{Kind: loop.Address, N: -2}
)

// newSelection selects the instructions of a program.
func newSelection(p *loop.Program) *selection {
	s := &selection{p: p, temps: 2}
	s.begin()
	for _, in := range p.Insts {
		switch {
		case in.Op <= loop.Return:
			s.control(in)
		case in.Op <= loop.Fetch:
			s.address(in)
		default:
			s.lanes(in)
		}
	}
	return s
}

// begin selects what finds the constants and the kernel's own memory.
func (s *selection) begin() {
	for _, in := range s.p.Insts {
		if bits := uint32(in.Imm); in.Op == loop.Constant && !slices.Contains(s.constants, bits) {
			s.constants = append(s.constants, bits)
		}
	}
	if len(s.constants) > 0 {
		s.op(writes(constants), nil, "MOVD", is(Constants(s.symbol())), gp(constants))
	}
	align := 16
	for _, l := range s.p.Locals {
		s.locals = append(s.locals, s.frame)
		s.frame += (l.Size + 15) &^ 15
		align = max(align, l.Align)
	}
	if s.frame > 0 {
		s.frame += align
		s.op(writes(frame), nil, "MOVD", is(Locals(s.frame)), gp(frame))
		s.op(writes(frame), reads(frame), "ADD", imm(align-1), gp(frame), gp(frame))
		s.op(writes(frame), reads(frame), "AND", imm(-align), gp(frame), gp(frame))
	}
}

// symbol is the name of the constants, which is a file's and so has the kernel's in it.
func (s *selection) symbol() string { return "constantsOf" + s.p.Rule.Name }

// writes and reads are lists of registers.
func writes(list ...loop.Reg) []loop.Reg { return list }
func reads(list ...loop.Reg) []loop.Reg  { return list }

// temp is a register that the program does not know.
func (s *selection) temp(k loop.Kind) loop.Reg {
	s.temps++
	return loop.Reg{Kind: k, N: -s.temps}
}

// op adds an instruction.
func (s *selection) op(writes, reads []loop.Reg, name string, operands ...operand) *line {
	s.lines = append(s.lines, line{writes: writes, reads: reads, number: func(n numbering) []Instruction {
		i := Instruction{Name: name}
		for _, op := range operands {
			i.Operands = append(i.Operands, op(n))
		}
		return []Instruction{i}
	}})
	return &s.lines[len(s.lines)-1]
}

// word adds a vector instruction of registers, the destination first.
func (s *selection) word(in *inst, d loop.Reg, x ...loop.Reg) { s.shift(in, d, x) }

// shift is word for instructions with a distance.
func (s *selection) shift(in *inst, d loop.Reg, x []loop.Reg, distance ...int) {
	read := x
	if slices.Contains([]*inst{fmla, fmls, fmlad, fcvtnh2}, in) {
		read = append(reads(d), x...)
	}
	s.lines = append(s.lines, line{writes: writes(d), reads: read, number: func(n numbering) []Instruction {
		operands := []int{n[d]}
		for _, r := range x {
			operands = append(operands, n[r])
		}
		return []Instruction{in.word(append(operands, distance...)...)}
	}})
}

// choose adds a Select, which takes the register of an operand that is dead after it if
// there is one.
func (s *selection) choose(d, mask, yes, no loop.Reg) {
	s.lines = append(s.lines, line{writes: writes(d), reads: reads(mask, yes, no), inPlace: true, number: func(n numbering) []Instruction {
		to, m, x, y := n[d], n[mask], n[yes], n[no]
		switch to {
		case m:
			return []Instruction{bsl.word(to, x, y)}
		case x:
			return []Instruction{bif.word(to, y, m)}
		case y:
			return []Instruction{bit.word(to, x, m)}
		}
		return []Instruction{orr.word(to, m, m), bsl.word(to, x, y)}
	}})
}

// jumpTo adds a jump.
func (s *selection) jumpTo(name, label string) {
	l := s.op(nil, nil, name, is(Jump(label)))
	l.jump, l.leaves = label, name == "JMP"
}

// branches are the jumps on a comparison.
var branches = map[loop.Cond]string{loop.Equal: "BEQ", loop.Less: "BLT", loop.LessEqual: "BLE", loop.Greater: "BGT", loop.GreaterEqual: "BGE"}

// control selects labels and jumps.
func (s *selection) control(in loop.Inst) {
	switch in.Op {
	case loop.Label:
		s.lines = append(s.lines, line{label: in.Label})
	case loop.Jump:
		s.jumpTo("JMP", in.Label)
	case loop.JumpIf:
		s.op(nil, reads(in.X, in.Y), "CMP", gp(in.Y), gp(in.X))
		s.jumpTo(branches[in.Cond], in.Label)
	case loop.Unless:
		t := s.temp(loop.Address)
		m := s.place(in.Mem)
		s.op(writes(t), reads(m.Base), "MOVWU", mem(m.Base, m.Disp), gp(t))
		s.op(nil, reads(t), "CMPW", is(Bits(in.Imm)), gp(t))
		if in.Cond == loop.Greater {
			s.jumpTo("BLE", in.Label)
		} else {
			s.jumpTo("BNE", in.Label)
		}
	case loop.Return:
		s.op(nil, nil, "RET").leaves = true
	}
}

// copy adds a copy, which may come to nothing.
func (s *selection) copy(d, x loop.Reg) {
	s.lines = append(s.lines, line{writes: writes(d), reads: reads(x), inPlace: true, number: func(n numbering) []Instruction {
		if n[d] == n[x] {
			return nil
		}
		return []Instruction{{Name: "MOVD", Operands: []Operand{R(n[x]), R(n[d])}}}
	}})
}

// place is memory without an index, and not the kernel's own.
func (s *selection) place(m loop.Mem) loop.Mem {
	if m.Base.Kind == loop.Frame {
		return loop.Mem{Base: frame, Disp: s.locals[m.Base.N] + m.Disp}
	}
	if m.Index.Kind == loop.None {
		return m
	}
	t := s.temp(loop.Address)
	s.indexed(m, t)
	return loop.Mem{Base: t, Disp: m.Disp}
}

// indexed adds the index of a place to its base.
func (s *selection) indexed(m loop.Mem, to loop.Reg) {
	shift := map[int]int{1: 0, 2: 1, 4: 2, 8: 3}[m.Scale]
	s.op(writes(to), reads(m.Base, m.Index), "ADD", shifted(m.Index, shift), gp(m.Base), gp(to))
}

// address selects what is done to addresses and counts.
func (s *selection) address(in loop.Inst) {
	d := in.Dst
	switch in.Op {
	case loop.Param:
		s.op(writes(d), nil, "MOVD", is(parameter(s.p.Rule, in.Label, in.Piece)), gp(d))
	case loop.Number:
		s.op(writes(d), nil, "MOVD", imm(in.Imm), gp(d))
	case loop.Copy:
		s.copy(d, in.X)
	case loop.Word:
		m := s.place(in.Mem)
		s.op(writes(d), reads(m.Base), "MOVD", mem(m.Base, m.Disp), gp(d))
	case loop.Locate:
		s.locate(in)
	case loop.Times:
		t := s.temp(loop.Address)
		s.op(writes(t), nil, "MOVD", imm(in.Imm), gp(t))
		s.op(writes(d), reads(d, t), "MUL", gp(t), gp(d), gp(d))
	case loop.Fetch:
		m := s.place(in.Mem)
		s.op(nil, reads(m.Base), "PRFM", mem(m.Base, m.Disp), is(Hint("PLDL1KEEP")))
	default:
		s.count(in)
	}
}

// locate selects an address.
func (s *selection) locate(in loop.Inst) {
	if in.Mem.Index.Kind != loop.None && in.Mem.Disp == 0 {
		s.indexed(in.Mem, in.Dst)
		return
	}
	m := s.place(in.Mem)
	name := "ADD"
	if m.Disp < 0 {
		name, m.Disp = "SUB", -m.Disp
	}
	s.op(writes(in.Dst), reads(m.Base), name, imm(m.Disp), gp(m.Base), gp(in.Dst))
}

// count selects a sum, a difference or a conjunction.
func (s *selection) count(in loop.Inst) {
	name := map[loop.Op]string{loop.Add: "ADD", loop.And: "AND", loop.Sub: "SUB", loop.SubIf: "SUBS"}[in.Op]
	if d := in.Dst; in.X.Kind != loop.None {
		s.op(writes(d), reads(d, in.X), name, gp(in.X), gp(d), gp(d))
	} else {
		s.op(writes(d), reads(d), name, imm(in.Imm), gp(d), gp(d))
	}
	if in.Op == loop.SubIf {
		s.jumpTo(branches[in.Cond], in.Label)
	}
}

// lanes selects what is done to vectors.
func (s *selection) lanes(in loop.Inst) {
	d := in.Dst
	switch in.Op {
	case loop.Constant:
		slot := slices.Index(s.constants, uint32(in.Imm))
		s.op(writes(d), reads(constants), "FMOVQ", mem(constants, 16*slot), fp(d))
	case loop.Spread:
		m := s.place(in.Mem)
		s.op(writes(d), reads(m.Base), "FMOVS", mem(m.Base, m.Disp), fp(d))
		s.op(writes(d), reads(d), "VDUP", lanes(d, "S[0]"), lanes(d, "S4"))
	case loop.Zero:
		s.lines = append(s.lines, line{writes: writes(d), number: func(n numbering) []Instruction {
			return []Instruction{eor.word(n[d], n[d], n[d])}
		}})
	case loop.Load, loop.Store:
		s.move(in)
	case loop.Compute:
		s.compute(in.Node, d, in.X, in.Y, in.Z)
	case loop.Widen:
		s.word([]*inst{fcvtl, fcvtl2}[in.Imm], d, in.X)
	case loop.AddWide:
		s.word(faddd, d, d, in.X)
	case loop.AddTimes:
		s.word(fmlad, d, in.X, in.Y)
	case loop.Only: // the first lane: what comes from another register clears the others
		bits := s.temp(loop.Address)
		s.op(writes(bits), reads(in.Y), "FMOVS", fp(in.Y), gp(bits))
		s.op(writes(d), reads(bits), "FMOVS", gp(bits), fp(d))
	case loop.Fold:
		s.fold(in)
	default:
		panic(fmt.Sprintf("arm64: no instruction for op %d", in.Op))
	}
}

// direct are the operations that are one instruction.
var direct = map[rule.Op]*inst{
	rule.Add: fadd, rule.Sub: fsub, rule.Mul: fmul, rule.Div: fdiv, rule.Sqrt: fsqrt,
	rule.Abs: fabs, rule.Neg: fneg, rule.Equal: fcmeq, rule.FromInt: scvtf,
	rule.And: and, rule.Or: orr, rule.Xor: eor, rule.AddInt: add, rule.SubInt: sub, rule.MulInt: mul,
	rule.ShiftLeft: shl, rule.ShiftRight: ushr, rule.ShiftArith: sshr,
}

// compute selects an operation.
func (s *selection) compute(n rule.Node, d, x, y, z loop.Reg) {
	switch n.Op {
	case rule.Less:
		s.word(fcmgt, d, y, x)
	case rule.LessEqual:
		s.word(fcmge, d, y, x)
	case rule.Max, rule.Min:
		mask, greater, less := s.temp(loop.Vector), x, y
		if n.Op == rule.Min {
			greater, less = y, x
		}
		s.word(fcmgt, mask, greater, less)
		s.choose(d, mask, x, y)
	case rule.Flush:
		keep := s.temp(loop.Vector)
		s.word(cmtst, keep, x, y)
		s.word(and, d, keep, x)
	case rule.Select:
		s.choose(d, x, y, z)
	case rule.FMA, rule.FNMA:
		s.lines = append(s.lines, line{writes: writes(d), reads: reads(z), inPlace: true, number: func(n numbering) []Instruction {
			if n[d] == n[z] {
				return nil
			}
			return []Instruction{orr.word(n[d], n[z], n[z])}
		}})
		s.word(map[rule.Op]*inst{rule.FMA: fmla, rule.FNMA: fmls}[n.Op], d, x, y)
	case rule.ShiftLeft, rule.ShiftRight, rule.ShiftArith:
		s.shift(direct[n.Op], d, reads(x), int(n.Imm))
	default:
		s.word(direct[n.Op], d, []loop.Reg{x, y, z}[:n.Op.Operands()]...)
	}
}

// fold selects the store of what joins a row's lanes.
func (s *selection) fold(in loop.Inst) {
	if in.Y.Kind != loop.None {
		s.across(in.Node, in.Y, s.temp(loop.Vector))
		to := s.place(in.Mem)
		s.op(nil, reads(in.Y, to.Base), "FMOVS", fp(in.Y), mem(to.Base, to.Disp))
		return
	}
	var v [rule.Lanes / 4]loop.Reg
	for q := range v {
		v[q] = s.temp(loop.Vector)
	}
	from := s.place(in.Lanes)
	for q := 0; q < len(v); q += 2 {
		s.op(writes(v[q], v[q+1]), reads(from.Base), "FLDPQ", mem(from.Base, from.Disp+16*q), pair(v[q], v[q+1]))
	}
	for half := len(v) / 2; half > 0; half /= 2 {
		for q := range half {
			s.compute(in.Node, v[q], v[q], v[q+half], loop.Reg{})
		}
	}
	s.across(in.Node, v[0], v[1])
	to := s.place(in.Mem)
	s.op(nil, reads(v[0], to.Base), "FMOVS", fp(v[0]), mem(to.Base, to.Disp))
}

// across joins the lanes of x in its first one.
func (s *selection) across(n rule.Node, x, room loop.Reg) {
	for _, half := range []int{8, 4} {
		s.op(writes(room), reads(x), "VEXT", imm(half), lanes(x, "B16"), lanes(x, "B16"), lanes(room, "B16"))
		s.compute(n, x, x, room, loop.Reg{})
	}
}
