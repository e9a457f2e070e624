package amd64

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/tune"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const header = 24 // bytes of a slice

// list emits the kernel of a list of tensors, which asks once which of its two loops
// it takes.
func (e *emitter) list(c choice) {
	entry := operand.Mem{Base: e.Load(e.Param(rule.List).Base(), e.GP64())}
	end := e.Load(e.Param(rule.List).Len(), e.GP64())
	e.IMUL3Q(operand.I8(header), end, end)
	e.ADDQ(entry.Base, end)
	for range e.whole.Buffers {
		e.buffers = append(e.buffers, operand.Mem{Base: e.GP64(), Index: e.index, Scale: 4})
	}
	e.CMPQ(entry.Base, end)
	e.JGE(operand.LabelRef("end"))
	if c.usual != absent {
		e.unless(e.whole.Usual, "general")
		e.use(e.whole.Specialize(e.whole.Usual))
		e.invariants(c.usual)
		e.tensors("usual", entry, end)
		e.JMP(operand.LabelRef("end"))
		e.Label("general")
	}
	if c.general != absent {
		e.use(e.whole)
		e.askScaled()
		e.invariants(c.general)
		e.tensors("", entry, end)
	} else if c.usual != absent { // tried alone
		e.use(e.whole)
	}
	e.Label("end")
	e.end()
}

// unless emits jumps where assumptions do not hold.
func (e *emitter) unless(assumed []rule.Assumption, label string) {
	for _, a := range assumed {
		at := e.scalars.Offset(4 * a.Scalar)
		if a.Cond == rule.IsBits {
			e.CMPL(at, operand.U32(a.Bits))
			e.JNE(operand.LabelRef(label))
		} else {
			e.CMPL(at, operand.I8(0))
			e.JLE(operand.LabelRef(label))
		}
	}
}

// askScaled asks whether the main part of the general loop may run: it is for scalars
// that are usual but for the gradient's factor.
func (e *emitter) askScaled() {
	assumed := e.whole.Scaled()
	if assumed == nil {
		return
	}
	e.scaled = expand(e.whole.Specialize(assumed), e.t)
	e.runs = e.GP64()
	e.XORQ(e.runs, e.runs)
	e.unless(assumed, "asked")
	e.MOVQ(operand.I32(-e.t.wide*e.t.lanes), e.runs)
	e.Label("asked")
}

// tensors emits the loop over the tensors of a list.
func (e *emitter) tensors(prefix string, entry operand.Mem, end reg.Register) {
	columns, final := e.GP64(), e.GP64()
	size := header * len(e.buffers)
	e.LEAQ(operand.Mem{Base: end, Disp: -size}, final)
	e.Label(prefix + "entry")
	e.fetchAhead(prefix, entry, final)
	e.MOVQ(entry.Offset(8), columns)
	for k, b := range e.buffers {
		e.MOVQ(entry.Offset(header*k), b.Base)
	}
	e.columns(prefix, columns, 1)
	e.ADDQ(operand.I32(size), entry.Base)
	e.CMPQ(entry.Base, end)
	e.JLT(operand.LabelRef(prefix + "entry"))
}

// fetchAhead emits the prefetch of the buffers of a tensor some tensors ahead: the
// processor, which looks for long streams, finds none in small ones. Long rules wait
// for themselves.
func (e *emitter) fetchAhead(prefix string, entry operand.Mem, final reg.Register) {
	if e.whole.Long() {
		return
	}
	ahead, buffer := e.GP64(), e.GP64()
	e.LEAQ(entry.Offset(tune.FetchAhead*header*len(e.buffers)), ahead)
	e.CMPQ(ahead, final)
	e.JG(operand.LabelRef(prefix + "near"))
	for k := range e.buffers {
		e.MOVQ(operand.Mem{Base: ahead, Disp: header * k}, buffer)
		for line := range tune.FetchLines {
			e.PREFETCHT0(operand.Mem{Base: buffer, Disp: 64 * line})
		}
	}
	e.Label(prefix + "near")
}

// invariants puts so many of the invariants into registers, and what else was computed
// on the stack. Masks have registers of their own.
func (e *emitter) invariants(resident int) {
	clear(e.resident)
	clear(e.spilled)
	clear(e.helpers)
	for k, id := range e.wanted() {
		op := e.r.Nodes[id].Op
		switch {
		case k < resident || op.IsMask() && e.t.mask != nil:
			e.resident[id] = e.uniform(id)
		case op != rule.Scalar && op != rule.Const:
			m := e.AllocLocal(4 * e.t.lanes)
			e.VMOVUPS(e.uniform(id), m)
			e.spilled[id] = m
		}
	}
	for _, bits := range e.t.needs(e.r) {
		e.helpers[bits] = e.t.vector(e)
		e.VBROADCASTSS(e.word(bits), e.helpers[bits])
	}
}

// wanted lists the invariants, those of the main loop first.
func (e *emitter) wanted() []int {
	list := e.r.Invariants()
	if e.scaled == nil {
		return list
	}
	first := e.scaled.Invariants()
	for _, id := range list {
		if !slices.Contains(first, id) {
			first = append(first, id)
		}
	}
	return first
}

// uniform computes a node that is the same in every lane.
func (e *emitter) uniform(id int) reg.Register {
	n := e.r.Nodes[id]
	if n.Op == rule.Scalar || n.Op == rule.Const {
		return e.broadcast(id)
	}
	var in [3]reg.Register
	for k, x := range n.Operands() {
		if v, ok := e.resident[x]; ok {
			in[k] = v
		} else {
			in[k] = e.uniform(x)
		}
	}
	v := e.result(n.Op)
	e.t.lower(e, n, in[0], in[1], in[2], v)
	return v
}

// result is a new register for what an operation gives.
func (e *emitter) result(op rule.Op) reg.Register {
	if op.IsMask() && e.t.mask != nil {
		return e.t.mask(e)
	}
	return e.t.vector(e)
}
