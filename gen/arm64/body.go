package arm64

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// body prints the schedule for one move of each buffer, the elements from first
// on of a stage. What does not depend on the row is done for the first; a buffer
// that all rows change is stored for the last.
func (k *kernel) body(s stage, first int) {
	for row := range k.rows {
		for at, step := range k.steps {
			switch {
			case step.IsEffect && !k.Effects[step.ID].Reduce:
				k.store(moment{at, row, 0}, s, first)
			case step.IsEffect:
				for vector := range k.vectors {
					k.reduce(moment{at, row, vector}, s, first)
				}
			case k.fixed[step.ID]:
			case row > 0 && !k.varies[step.ID]:
				for vector := range k.vectors {
					k.release(moment{at, row, vector})
				}
			case k.Nodes[step.ID].Op == rule.Load:
				k.load(step.ID, row, s, first)
			default:
				for vector := range k.vectors {
					k.compute(moment{at, row, vector})
				}
			}
		}
	}
	if len(k.lanes) > 0 && s.elements != rule.Lanes {
		k.op("ADD $%d, R%d, R%d", s.elements, lane, lane)
		k.op("AND $%d, R%d, R%d", rule.Lanes-1, lane, lane)
	}
}

// element is the operand of a move of the elements from first on. The first move
// of an iteration steps the pointer on by all of it, so that the others need not:
// each step is one more operation in the core.
func (k *kernel) element(pointer, size int, s stage, first int) (suffix, operand string) {
	if !k.stepped[pointer] {
		k.stepped[pointer] = true
		return ".P", fmt.Sprintf("%d(R%d)", s.elements*size, pointer)
	}
	return "", fmt.Sprintf("%d(R%d)", size*(first-s.elements), pointer)
}

// load prints the load of a node, unless an earlier row has left it in registers.
func (k *kernel) load(id, row int, s stage, first int) {
	if _, ok := k.reg[value{id, row, 0}]; ok {
		return
	}
	var vs []int
	for vector := range k.vectors {
		v := k.take()
		k.reg[value{id, row, vector}] = v
		vs = append(vs, v)
	}
	buffer := k.Nodes[id].X
	t := k.Buffers[buffer].Type
	suffix, element := k.element(k.pointerTo(buffer, row), size[t], s, first)
	if t == rule.BF16 {
		k.loadHalves(vs, s, suffix, element)
		return
	}
	if len(vs) == 2 {
		k.op("FLDPQ%s %s, (F%d, F%d)", suffix, element, vs[0], vs[1])
	} else {
		k.op("%s %s, F%d", s.move+suffix, element, vs[0])
	}
}

// store prints the store of an effect, or leaves the values to the next row.
func (k *kernel) store(m moment, s stage, first int) {
	e := k.Effects[k.steps[m.step].ID]
	if m.row < k.rows-1 && k.Buffers[e.To].Shape == rule.Stream {
		k.hand(e, m)
		return
	}
	var vs []int
	for vector := range k.vectors {
		vs = append(vs, k.get(e.X, m.row, vector))
	}
	t := k.Buffers[e.To].Type
	suffix, element := k.element(k.pointerTo(e.To, m.row), size[t], s, first)
	if t == rule.BF16 {
		k.storeHalves(vs, s, suffix, element)
	} else if len(vs) == 2 {
		k.op("FSTPQ%s (F%d, F%d), %s", suffix, vs[0], vs[1], element)
	} else {
		k.op("%s F%d, %s", s.move+suffix, vs[0], element)
	}
	for m.vector = range k.vectors {
		k.release(m)
	}
}

// size is an element's in memory.
var size = map[rule.Type]int{rule.F32: 4, rule.BF16: 2}

// loadHalves prints the load of a move of elements of 16 bits.
func (k *kernel) loadHalves(vs []int, s stage, suffix, element string) {
	switch {
	case s.bytes == 4: // one element
		k.op("MOVHU%s %s, R%d", suffix, element, address)
		k.op("LSL $16, R%d, R%d", address, address)
		k.op("FMOVS R%d, F%d", address, vs[0])
	case len(vs) == 2:
		k.op("FMOVQ%s %s, F%d", suffix, element, vs[0])
		k.word(shll2, vs[1], vs[0])
		k.word(shll, vs[0], vs[0])
	default:
		k.op("FMOVD%s %s, F%d", suffix, element, vs[0])
		k.word(shll, vs[0], vs[0])
	}
}

// storeHalves prints the store of one.
func (k *kernel) storeHalves(vs []int, s stage, suffix, element string) {
	if s.bytes == 4 {
		k.op("FMOVS F%d, R%d", vs[0], address)
		k.op("LSR $16, R%d, R%d", address, address)
		k.op("MOVH%s R%d, %s", suffix, address, element)
		return
	}
	v, move := k.take(), "FMOVD"
	k.word(uzp2, v, vs[0], vs[len(vs)-1])
	if len(vs) == 2 {
		move = "FMOVQ"
	}
	k.op("%s%s F%d, %s", move, suffix, v, element)
	k.give(v)
}

// hand hands what a row stores to the next one, which would load it.
func (k *kernel) hand(e rule.Effect, m moment) {
	for m.vector = range k.vectors {
		from := k.value(e.X, m.row, m.vector)
		for id, n := range k.Nodes {
			if n == (rule.Node{Op: rule.Load, X: e.To}) && k.last[id] >= 0 {
				if !k.dies(from, m) {
					panic("arm64: " + k.Name + " needs what it stores to " + k.Buffers[e.To].Name)
				}
				k.reg[value{id, m.row + 1, m.vector}] = k.reg[from]
				delete(k.reg, from)
			}
		}
		k.release(m)
	}
}

// get is the register of a value, fetched if it is an invariant that is not in
// one.
func (k *kernel) get(id, row, vector int) int {
	v := k.value(id, row, vector)
	if _, ok := k.reg[v]; !ok {
		if !k.fixed[id] {
			panic("arm64: " + k.Name + " reads what is dead")
		}
		k.reg[v] = k.take()
		k.fetch(v)
	}
	return k.reg[v]
}

// fetch prints the load of an invariant, or its computation from others.
func (k *kernel) fetch(v value) {
	n, register := k.Nodes[v.node], k.reg[v]
	switch n.Op {
	case rule.Const:
		k.op("FMOVQ %d(R%d), F%d", 16*slices.Index(k.slots, v.node), constants, register)
		return
	case rule.Scalar:
		k.op("FMOVS %d(R%d), F%d", 4*n.X, scalars, register)
	case rule.Load:
		k.op("FMOVS %d(R%d), F%d", 4*v.row, pointer(n.X), register)
	default:
		var operands []int
		for _, x := range n.Operands() {
			operands = append(operands, k.get(x, v.row, v.vector))
		}
		k.apply(n, register, operands)
		return
	}
	k.op("VDUP V%d.S[0], V%d.S4", register, register)
}

// direct are the operations that are one instruction.
var direct = map[rule.Op]*inst{
	rule.Add: fadd, rule.Sub: fsub, rule.Mul: fmul, rule.Div: fdiv, rule.Sqrt: fsqrt,
	rule.Abs: fabs, rule.Neg: fneg, rule.Equal: fcmeq, rule.FromInt: scvtf,
	rule.And: and, rule.Or: orr, rule.Xor: eor, rule.AddInt: add, rule.SubInt: sub,
	rule.ShiftLeft: shl, rule.ShiftRight: ushr, rule.ShiftArith: sshr,
}

// compute prints a node.
func (k *kernel) compute(m moment) {
	id := k.steps[m.step].ID
	n := k.Nodes[id]
	var v []int
	for _, x := range n.Operands() {
		v = append(v, k.get(x, m.row, m.vector))
	}
	var d int
	switch n.Op {
	case rule.Select:
		k.choose(id, v, m)
		return
	case rule.Max, rule.Min, rule.Flush:
		// These write their result before they have read all operands.
		d = k.take()
		k.release(m)
	default:
		k.release(m)
		d = k.take()
	}
	k.reg[k.value(id, m.row, m.vector)] = d
	k.apply(n, d, v)
}

// apply prints an operation on registers.
func (k *kernel) apply(n rule.Node, d int, v []int) {
	switch n.Op {
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
	case rule.Flush:
		k.word(cmtst, d, v[0], v[1])
		k.word(and, d, d, v[0])
	case rule.ShiftLeft, rule.ShiftRight, rule.ShiftArith:
		k.word(direct[n.Op], d, v[0], int(n.Imm))
	default:
		k.word(direct[n.Op], append([]int{d}, v...)...)
	}
}

// choose prints a Select in the register of an operand that is dead after it,
// if there is one.
func (k *kernel) choose(id int, v []int, m moment) {
	var d int
	for at, x := range append(k.Nodes[id].Operands(), -1) {
		if x < 0 {
			d = k.take()
			k.word(orr, d, v[0], v[0])
			k.word(bsl, d, v[1], v[2])
			break
		}
		if from := k.value(x, m.row, m.vector); k.fixed[x] || !k.dies(from, m) {
			continue
		}
		d = v[at]
		delete(k.reg, k.value(x, m.row, m.vector))
		switch at {
		case 0:
			k.word(bsl, d, v[1], v[2])
		case 1:
			k.word(bif, d, v[2], v[0])
		case 2:
			k.word(bit, d, v[1], v[0])
		}
		break
	}
	k.release(m)
	k.reg[k.value(id, m.row, m.vector)] = d
}
