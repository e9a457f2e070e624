package loop

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/tune"
)

const header = 24 // bytes of a slice

// list lowers the kernel of a list of tensors, which asks once which of its two loops
// it takes.
func (l *lowering) list(c choice) {
	entry := Mem{Base: l.set(Address, Inst{Op: Param, Label: rule.List, Piece: Base})}
	end := l.set(Address, Inst{Op: Param, Label: rule.List, Piece: Len})
	l.do(Inst{Op: Times, Dst: end, Imm: header})
	l.do(Inst{Op: Add, Dst: end, X: entry.Base})
	for k := range l.Rule.Buffers {
		l.buffers = append(l.buffers, l.buffer(k, l.new(Address)))
	}
	l.walked = [][]Mem{l.buffers}
	l.do(Inst{Op: JumpIf, X: entry.Base, Cond: GreaterEqual, Y: end, Label: "end"})
	l.parts(c, func(prefix string) { l.tensors(prefix, entry, end) })
	l.label("end")
}

// tensor lowers the kernel of one tensor, whose buffers are parameters.
func (l *lowering) tensor(c choice) {
	columns := l.set(Address, Inst{Op: Param, Label: l.Rule.Buffers[0].Name, Piece: Len})
	for k, b := range l.Rule.Buffers {
		base := l.set(Address, Inst{Op: Param, Label: b.Name, Piece: Base})
		l.buffers = append(l.buffers, l.buffer(k, base))
	}
	l.walked = [][]Mem{l.buffers}
	l.parts(c, func(prefix string) { l.columns(prefix, columns, 1) })
	l.label("end")
}

// parts writes the loops of a kernel, of which it asks once which it takes.
func (l *lowering) parts(c choice, loops func(prefix string)) {
	if c.usual != nil {
		l.unless(l.Rule.Usual, "general")
		l.use(l.Rule.Specialize(l.Rule.Usual), *c.usual)
		l.invariants()
		loops("usual")
		l.do(Inst{Op: Jump, Label: "end"})
		l.label("general")
	}
	if c.general != nil {
		l.use(l.Rule, *c.general)
		l.askScaled()
		l.invariants()
		loops("")
	}
}

// unless writes jumps where assumptions do not hold.
func (l *lowering) unless(assumed []rule.Assumption, label string) {
	for _, a := range assumed {
		in := Inst{Op: Unless, Mem: l.scalars.plus(4 * a.Scalar), Label: label}
		if a.Cond == rule.IsPositive {
			in.Cond = Greater
		} else {
			in.Imm = int64(a.Bits)
		}
		l.do(in)
	}
}

// askScaled asks whether the main part of the general loop may run: it is for scalars
// that are usual but for the gradient's factor.
func (l *lowering) askScaled() {
	assumed := l.Rule.Scaled()
	if assumed == nil {
		return
	}
	l.scaled = l.m.expand(l.Rule.Specialize(assumed))
	no, yes := int64(0), -int64(max(l.m.Wide, l.wide())*l.m.Lanes)
	if l.m.Steps {
		no, yes = never, int64(l.wide()*l.m.Lanes)
	}
	l.runs = l.set(Address, Inst{Op: Number, Imm: no})
	l.unless(assumed, "asked")
	l.do(Inst{Op: Number, Dst: l.runs, Imm: yes})
	l.label("asked")
}

// tensors writes the loop over the tensors of a list.
func (l *lowering) tensors(prefix string, entry Mem, end Reg) {
	size := header * len(l.buffers)
	columns := l.new(Address)
	final := l.set(Address, Inst{Op: Locate, Mem: Mem{Base: end, Disp: -size}})
	l.label(prefix + "entry")
	l.fetchAhead(prefix, entry, final)
	l.do(Inst{Op: Word, Dst: columns, Mem: entry.plus(8)})
	for k, b := range l.buffers {
		l.do(Inst{Op: Word, Dst: b.Base, Mem: entry.plus(header * k)})
	}
	l.columns(prefix, columns, 1)
	l.do(Inst{Op: Add, Dst: entry.Base, Imm: int64(size)})
	l.do(Inst{Op: JumpIf, X: entry.Base, Cond: Less, Y: end, Label: prefix + "entry"})
}

// fetchAhead writes the prefetch of the buffers of a tensor some tensors ahead: the
// processor, which looks for long streams, finds none in small ones. Long rules wait
// for themselves.
func (l *lowering) fetchAhead(prefix string, entry Mem, final Reg) {
	if l.main().Long() {
		return
	}
	ahead := l.set(Address, Inst{Op: Locate, Mem: entry.plus(tune.FetchAhead * header * len(l.buffers))})
	l.do(Inst{Op: JumpIf, X: ahead, Cond: Greater, Y: final, Label: prefix + "near"})
	buffer := l.new(Address)
	for k := range l.buffers {
		l.do(Inst{Op: Word, Dst: buffer, Mem: Mem{Base: ahead, Disp: header * k}})
		for line := range tune.FetchLines {
			l.do(Inst{Op: Fetch, Mem: Mem{Base: buffer, Disp: 64 * line}})
		}
	}
	l.label(prefix + "near")
}

// main is the rule that the main loop is for.
func (l *lowering) main() *rule.Rule {
	if l.scaled != nil {
		return l.scaled
	}
	return l.r
}

// invariants puts so many of the invariants into registers, and what else was computed
// into memory. Masks have registers of their own.
func (l *lowering) invariants() {
	l.resident, l.spilled = map[int]Reg{}, map[int]Mem{}
	for k, id := range l.wanted() {
		op := l.r.Nodes[id].Op
		switch {
		case k < l.plan.resident || op.IsMask() && l.m.Masks:
			l.resident[id] = l.uniform(id)
		case op != rule.Const && (op != rule.Scalar || l.m.Whole):
			v := l.uniform(id)
			m := l.local(l.vector(), 0)
			l.do(Inst{Op: Store, Y: v, Mem: m})
			l.spilled[id] = m
		}
	}
	for _, bits := range l.m.helpers(l.r) {
		l.do(Inst{Op: Helper, Dst: l.new(Vector), Imm: int64(bits)})
	}
}

// wanted lists the invariants, those of the main loop first.
func (l *lowering) wanted() []int {
	list := l.main().Invariants()
	for _, id := range l.r.Invariants() {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

// uniform computes a node that is the same in every lane.
func (l *lowering) uniform(id int) Reg {
	n := l.r.Nodes[id]
	switch n.Op {
	case rule.Scalar:
		return l.set(Vector, Inst{Op: Spread, Mem: l.scalars.plus(4 * n.X)})
	case rule.Const:
		return l.constant(n.Imm)
	}
	var in [3]Reg
	for k, x := range n.Operands() {
		if v, ok := l.resident[x]; ok {
			in[k] = v
		} else {
			in[k] = l.uniform(x)
		}
	}
	return l.compute(n, in[0], in[1], in[2])
}

// constant is a constant in every lane.
func (l *lowering) constant(bits uint32) Reg {
	return l.set(Vector, Inst{Op: Constant, Imm: int64(bits)})
}

// compute is an operation on vectors, outside of the main loop.
func (l *lowering) compute(n rule.Node, x, y, z Reg) Reg {
	return l.set(l.kind(n.Op), Inst{Op: Compute, Node: n, X: x, Y: y, Z: z, Turn: -1})
}

// kind is what an operation gives.
func (l *lowering) kind(op rule.Op) Kind {
	if op.IsMask() && l.m.Masks {
		return Mask
	}
	return Vector
}
