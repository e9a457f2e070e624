package arm64

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// body prints the schedule for one move of each buffer, the elements from first
// on of a stage.
func (k *kernel) body(s stage, first int) {
	for at, step := range k.steps {
		if !step.IsEffect && slices.Contains(k.invariants, step.ID) {
			continue
		}
		reads := k.ReadsOf(step)
		v := make([]int, len(reads))
		for i, id := range reads {
			if _, ok := k.reg[id]; !ok {
				k.reg[id] = k.take()
				k.fetch(id)
			}
			v[i] = k.reg[id]
		}
		switch {
		case !step.IsEffect:
			k.compute(at, step.ID, v, s)
			continue
		case k.Effects[step.ID].Reduce:
			k.reduce(step.ID, v, s, first)
		default:
			suffix, element := k.element(at, k.Effects[step.ID].To, s)
			k.op("%s F%d, %s", s.move+suffix, v[0], element)
		}
		k.release(at)
	}
	if len(k.lanes) > 0 && s.elements != rule.Lanes {
		k.op("ADD $%d, R%d, R%d", s.bytes/4, lane, lane)
		k.op("AND $%d, R%d, R%d", rule.Lanes-1, lane, lane)
	}
}

// element is the operand of a move, which steps on to the next element when it
// is the last of this one.
func (k *kernel) element(at, buffer int, s stage) (suffix, operand string) {
	if k.walked[buffer] == at {
		return ".P", fmt.Sprintf("%d(R%d)", s.bytes, pointer(buffer))
	}
	return "", fmt.Sprintf("(R%d)", pointer(buffer))
}

// fetch prints the load of an invariant.
func (k *kernel) fetch(id int) {
	n, v := k.Nodes[id], k.reg[id]
	switch n.Op {
	case rule.Const:
		k.op("FMOVQ %d(R%d), F%d", 16*slices.Index(k.slots, id), constants, v)
		return
	case rule.Scalar:
		k.op("FMOVS %d(R%d), F%d", 4*n.X, scalars, v)
	case rule.Load:
		k.op("FMOVS (R%d), F%d", pointer(n.X), v)
	}
	k.op("VDUP V%d.S[0], V%d.S4", v, v)
}

// direct are the operations that are one instruction.
var direct = map[rule.Op]*inst{
	rule.Add: fadd, rule.Sub: fsub, rule.Mul: fmul, rule.Div: fdiv, rule.Sqrt: fsqrt,
	rule.Abs: fabs, rule.Neg: fneg, rule.Equal: fcmeq, rule.FromInt: scvtf,
	rule.And: and, rule.Or: orr, rule.Xor: eor, rule.AddInt: add, rule.SubInt: sub,
	rule.ShiftLeft: shl, rule.ShiftRight: ushr, rule.ShiftArith: sshr,
}

// compute prints node id, whose operands are in v.
func (k *kernel) compute(at, id int, v []int, s stage) {
	n := k.Nodes[id]
	var d int
	switch {
	case n.Op == rule.Select && k.last[n.X] == at:
		d = v[0]
		delete(k.reg, n.X)
		k.release(at)
	case n.Op == rule.Select, n.Op == rule.Max, n.Op == rule.Min, n.Op == rule.Flush:
		// These write their result before they have read all operands.
		d = k.take()
		k.release(at)
	default:
		k.release(at)
		d = k.take()
	}
	k.reg[id] = d
	switch n.Op {
	case rule.Load:
		suffix, element := k.element(at, n.X, s)
		k.op("%s %s, F%d", s.move+suffix, element, d)
	case rule.Less:
		k.word(fcmgt, d, v[1], v[0])
	case rule.LessEqual:
		k.word(fcmge, d, v[1], v[0])
	case rule.Max:
		k.word(fcmgt, d, v[0], v[1])
		k.word(bsl, d, v[0], v[1])
	case rule.Min:
		k.word(fcmgt, d, v[1], v[0])
		k.word(bsl, d, v[0], v[1])
	case rule.Select:
		if d != v[0] {
			k.word(orr, d, v[0], v[0])
		}
		k.word(bsl, d, v[1], v[2])
	case rule.Flush:
		k.word(cmtst, d, v[0], v[1])
		k.word(and, d, d, v[0])
	case rule.ShiftLeft, rule.ShiftRight, rule.ShiftArith:
		k.word(direct[n.Op], d, v[0], int(n.Imm))
	default:
		k.word(direct[n.Op], append([]int{d}, v...)...)
	}
}
