package loop

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A body is the rule for one vector of the columns.
type body struct {
	*lowering
	part   Reg  // of the vector, if there is no more of it
	vector int  // in the iteration
	main   bool // in the main loop
	lane   Reg
	value  map[int]Reg // by node
	stored map[int]Reg // by buffer, what the rows so far have made of it
}

// body writes so many vectors' worth of the rule.
func (l *lowering) body(part Reg, vectors, side int) {
	var lane Reg
	if slices.ContainsFunc(l.r.Effects, func(f rule.Effect) bool { return f.Reduce }) && len(l.sums) == 0 {
		lane = l.set(Address, Inst{Op: Copy, X: l.index})
		l.do(Inst{Op: And, Dst: lane, Imm: rule.Lanes - 1})
	}
	phases := [][]rule.Task{l.tasks}
	if vectors > 1 && l.m.Phases {
		phases = l.phases()
	}
	var bodies []body
	for k := range vectors {
		bodies = append(bodies, body{lowering: l, part: part, vector: k, main: vectors > 1, lane: lane,
			value: map[int]Reg{}, stored: map[int]Reg{}})
	}
	for _, tasks := range phases {
		for _, b := range bodies {
			for row := range side {
				b.lower(tasks, row, row == side-1)
			}
		}
	}
}

// phases splits the schedule after its roots, if it has some: in the main loop the
// roots of all vectors are under way before the first of them is waited for.
func (l *lowering) phases() [][]rule.Task {
	waits := make([]bool, len(l.r.Nodes)) // for a root
	used := make([]bool, len(l.r.Nodes))  // by what does not wait
	for id, n := range l.r.Nodes {
		waits[id] = slices.ContainsFunc(n.Operands(), func(x int) bool { return waits[x] || l.r.Nodes[x].Op == rule.Sqrt })
	}
	second := func(t rule.Task) bool {
		if t.IsEffect {
			return slices.ContainsFunc(l.r.ReadsOf(t), func(x int) bool { return waits[x] })
		}
		return waits[t.ID] || !used[t.ID]
	}
	for _, t := range slices.Backward(l.tasks) {
		if !t.IsEffect && l.r.Nodes[t.ID].Op == rule.Sqrt {
			used[t.ID] = true
		}
		if !second(t) {
			for _, x := range l.r.ReadsOf(t) {
				used[x] = true
			}
		}
	}
	var split [2][]rule.Task
	for _, t := range l.tasks {
		k := 0
		if second(t) {
			k = 1
		}
		split[k] = append(split[k], t)
	}
	return split[:]
}

// lower writes some tasks for a row. What does not depend on the row is computed for
// the first; a buffer that all rows change is stored by the last.
func (b *body) lower(tasks []rule.Task, row int, last bool) {
	for _, t := range tasks {
		switch {
		case t.IsEffect:
			b.effect(t.ID, row, last)
		case row == 0 || b.varies(t.ID):
			b.node(t.ID, row)
		}
	}
}

// effect writes a store or a part of a reduction.
func (b *body) effect(id, row int, last bool) {
	f := b.r.Effects[id]
	switch x := b.get(f.X, row); {
	case f.Reduce:
		b.reduce(id, row, x)
	case last:
		b.store(x, f.To, row)
	default:
		b.stored[f.To] = x
	}
}

// node writes what gives a node its value.
func (b *body) node(id, row int) {
	n := b.r.Nodes[id]
	if n.Op == rule.Load {
		b.load(id, n.X, row)
		return
	}
	var in [3]Reg
	for k, x := range n.Operands() {
		in[k] = b.get(x, row)
	}
	turn := -1
	if b.main {
		turn = b.vector
	}
	b.value[id] = b.set(b.kind(n.Op), Inst{Op: Compute, Node: n, X: in[0], Y: in[1], Z: in[2], Turn: turn})
}

// load writes the load of a buffer, unless the rows before have its value.
func (b *body) load(id, buffer, row int) {
	if b.r.Buffers[buffer].Shape == rule.PerRow {
		return
	}
	if v, ok := b.stored[buffer]; ok {
		b.value[id] = v
		return
	}
	b.value[id] = b.set(Vector, Inst{Op: Load, Mem: b.at(buffer, row), Type: b.r.Buffers[buffer].Type, X: b.part})
}

// store writes the store to a buffer.
func (b *body) store(x Reg, buffer, row int) {
	b.do(Inst{Op: Store, Y: x, Mem: b.at(buffer, row), Type: b.r.Buffers[buffer].Type, X: b.part})
}

// at is where a vector of a buffer is.
func (b *body) at(buffer, row int) Mem {
	m := b.buffers[buffer]
	if b.r.Buffers[buffer].Shape == rule.Matrix {
		m = b.further[row][buffer]
	}
	return m.plus(m.Scale * b.m.Lanes * b.vector)
}

// get is the value of a node, which if it is an invariant without a register comes from
// memory.
func (b *body) get(id, row int) Reg {
	if v, ok := b.value[id]; ok {
		return v
	}
	if m, ok := b.spilled[id]; ok {
		return b.set(Vector, Inst{Op: Load, Mem: m})
	}
	if v, ok := b.resident[id]; ok {
		return v
	}
	if len(b.perRow) > 0 {
		if v, ok := b.perRow[row][id]; ok {
			return v
		}
	}
	return b.uniform(id)
}

// varies reports whether a node depends on the row.
func (l *lowering) varies(id int) bool {
	n := l.r.Nodes[id]
	if n.Op == rule.Load {
		return l.r.Buffers[n.X].Shape != rule.Stream || l.r.Stores(n.X)
	}
	return slices.ContainsFunc(n.Operands(), l.varies)
}

// reduce adds a vector to the lanes of a reduction. Lanes beyond the buffer add +0,
// which leaves any sum that began at +0 as it is.
func (b *body) reduce(id, row int, x Reg) {
	f := b.r.Effects[id]
	x = b.only(x)
	switch f.Kind {
	case rule.Fold:
		b.change(id, row, 0, func(sum Reg) { b.into(rule.Add, sum, sum, x) })
	case rule.MaxAbs:
		most := b.magnitude(x)
		b.change(id, row, 0, func(sum Reg) { b.into(rule.Max, sum, most, sum) })
	case rule.Sum:
		for k, v := range b.widen(x) {
			b.change(id, row, k, func(sum Reg) { b.do(Inst{Op: AddWide, Dst: sum, X: v}) })
		}
	case rule.Dot:
		factors := b.widen(x)
		others := factors
		if f.X != f.Y {
			others = b.widen(b.only(b.get(f.Y, row)))
		}
		for k, v := range factors {
			b.change(id, row, k, func(sum Reg) { b.do(Inst{Op: AddTimes, Dst: sum, X: v, Y: others[k]}) })
		}
	}
}

// only is x with +0 in the lanes beyond the buffer.
func (b *body) only(x Reg) Reg {
	if b.part.Kind == None {
		return x
	}
	return b.set(Vector, Inst{Op: Only, X: b.part, Y: x})
}

// magnitude is x without its sign.
func (b *body) magnitude(x Reg) Reg {
	if b.m.Signs {
		return b.compute(rule.Node{Op: rule.And}, b.constant(magnitude), x, Reg{})
	}
	return b.compute(rule.Node{Op: rule.Abs}, x, Reg{}, Reg{})
}

// into writes an operation to a register that is there.
func (b *body) into(op rule.Op, to, x, y Reg) {
	b.do(Inst{Op: Compute, Node: rule.Node{Op: op}, Dst: to, X: x, Y: y, Turn: -1})
}

// widen is a vector as two of float64, in order.
func (b *body) widen(x Reg) []Reg {
	low := b.set(Vector, Inst{Op: Widen, X: x})
	return []Reg{low, b.set(Vector, Inst{Op: Widen, X: x, Imm: 1})}
}

// change applies f to the k-th vector of the sums that the body's vector is for.
func (b *body) change(id, row, k int, f func(sum Reg)) {
	at, size := b.lanesAt(b.r.Effects[id], row)
	if sums := b.sums[sumOf{id, row}]; sums != nil {
		f(sums[(b.vector*size/4+k)%len(sums)])
		return
	}
	at = at.plus(size*(b.vector*b.m.Lanes%rule.Lanes) + b.m.Lanes*4*k) // beyond the first vector's
	at.Index, at.Scale = b.lane, size
	sum := b.set(Vector, Inst{Op: Load, Mem: at})
	f(sum)
	b.do(Inst{Op: Store, Y: sum, Mem: at})
}
