package amd64

import (
	"fmt"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns emits the main loop, which takes several vectors at a time, one that
// takes whole vectors, and one masked vector for what is left.
func (e *emitter) columns(prefix string, n reg.GPVirtual, side int) {
	e.XORQ(e.index, e.index)
	main := e.r
	if e.scaled != nil {
		main = e.scaled
	}
	if !main.Long() {
		r := e.r
		e.r, e.steps = main, main.Schedule()
		e.loop(prefix+"main", n, e.t.wide, side)
		e.r, e.steps = r, r.Schedule()
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
	if vectors > 1 && e.scaled != nil {
		e.ANDQ(e.runs, limit)
	} else {
		e.ANDQ(operand.I32(-vectors*e.t.lanes), limit)
	}
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
	e.Label(name)
	e.body(memory{
		load:  func(m operand.Mem, v reg.VecVirtual) { e.VMOVUPS(m, v) },
		store: func(v reg.VecVirtual, m operand.Mem) { e.VMOVUPS(v, m) },
	}, vectors, side)
	e.ADDQ(operand.I32(vectors*e.t.lanes), e.index)
	e.CMPQ(e.index, limit)
	e.JLT(operand.LabelRef(name))
	if vectors > 1 {
		e.moveSums(side, func(_ rule.Effect, at operand.Mem, v reg.VecVirtual) { e.VMOVUPS(v, at) })
		clear(e.sums)
	}
	e.Label(end)
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
		e.VBROADCASTSS(e.word(n.Imm), v)
	}
	return v
}

// word is a constant in memory.
func (e *emitter) word(bits uint32) operand.Mem {
	if _, ok := e.words[bits]; !ok {
		e.words[bits] = e.data(fmt.Sprintf("word%08x", bits), []uint32{bits})
	}
	return e.words[bits]
}
