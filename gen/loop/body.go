package loop

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A body is the rule for some vectors of the columns, side by side.
type body struct {
	*lowering
	span
	first, side int           // of the vectors of the span, and how many
	lane        Reg           // of the sums, if they are in memory and not all lanes
	value       map[int][]Reg // by node, of each vector
	fetched     map[int]Reg   // by node, of what is fetched for one task
	stored      map[int][]Reg // by buffer, what the rows so far have made of it
	stepped     map[Reg]bool  // the pointers that are an iteration ahead
}

// body writes the rule for a span.
func (l *lowering) body(s span, rows int) {
	lane := l.lanes(s)
	phases := [][]rule.Task{l.tasks}
	if s.isMain() && l.m.Phases {
		phases = l.phases()
	}
	var bodies []body
	stepped := map[Reg]bool{}
	for first := 0; first < s.vectors; first += l.plan.vectors {
		bodies = append(bodies, body{lowering: l, span: s, first: first, side: min(s.vectors, l.plan.vectors), lane: lane,
			value: map[int][]Reg{}, stored: map[int][]Reg{}, stepped: stepped})
	}
	for _, tasks := range phases {
		for _, b := range bodies {
			for row := range rows {
				b.lower(tasks, row, row == rows-1)
			}
		}
	}
	if l.m.Steps && lane.Kind != None {
		l.do(Inst{Op: Add, Dst: lane, Imm: int64(l.elements(s))})
		l.do(Inst{Op: And, Dst: lane, Imm: rule.Lanes - 1})
	}
}

// lanes is the first lane of the sums that are in memory, if there are some.
func (l *lowering) lanes(s span) Reg {
	switch {
	case !reduces(l.r) || len(l.sums) > 0:
		return Reg{}
	case !l.m.Steps:
		lane := l.set(Address, Inst{Op: Copy, X: l.index})
		l.do(Inst{Op: And, Dst: lane, Imm: rule.Lanes - 1})
		return lane
	case s.isMain() && l.overAll(s.vectors):
		return Reg{}
	}
	return l.lane
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
// the first; a stream, which all rows change, is stored by the last.
func (b *body) lower(tasks []rule.Task, row int, last bool) {
	for _, t := range tasks {
		b.fetched = map[int]Reg{}
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
	var list []Reg
	for k := range b.side {
		list = append(list, b.get(f.X, row, k))
	}
	switch {
	case f.Reduce:
		b.reduce(id, row, list)
	case last || b.r.Buffers[f.To].Shape == rule.Matrix: // of which each row has elements of its own
		b.store(list, f.To, row)
	default:
		b.stored[f.To] = list
	}
}

// node writes what gives a node its values.
func (b *body) node(id, row int) {
	n := b.r.Nodes[id]
	if n.Op == rule.Load {
		b.load(id, n.X, row)
		return
	}
	var list []Reg
	for k := range b.side {
		var in [3]Reg
		for j, x := range n.Operands() {
			in[j] = b.get(x, row, k)
		}
		turn := -1
		if b.isMain() {
			turn = b.first + k
		}
		list = append(list, b.set(b.kind(n.Op), Inst{Op: Compute, Node: n, X: in[0], Y: in[1], Z: in[2], Turn: turn}))
	}
	b.value[id] = list
}

// load writes the load of a buffer, unless the rows before have its value.
func (b *body) load(id, buffer, row int) {
	if b.r.Buffers[buffer].Shape == rule.PerRow {
		return
	}
	if list, ok := b.stored[buffer]; ok {
		b.value[id] = list
		return
	}
	in := b.move(Load, buffer, row)
	in.Dst = b.new(Vector)
	b.value[id] = []Reg{in.Dst}
	if b.side > 1 {
		in.Dst2 = b.new(Vector)
		b.value[id] = append(b.value[id], in.Dst2)
	}
	b.do(in)
}

// store writes the store to a buffer.
func (b *body) store(list []Reg, buffer, row int) {
	in := b.move(Store, buffer, row)
	in.Y = list[0]
	if b.side > 1 {
		in.Z = list[1]
	}
	b.do(in)
}

// move is a load or store of a buffer. The first of an iteration that steps the pointer
// on steps by all of it, so that the others need not.
func (b *body) move(op Op, buffer, row int) Inst {
	in := Inst{Op: op, Mem: b.walked[row][buffer], Type: b.r.Buffers[buffer].Type, X: b.part}
	size := in.Type.Bytes()
	if b.single {
		in.Bytes = size
	}
	iteration, base := size*b.elements(b.span), in.Mem.Base
	switch {
	case !b.m.Steps:
		in.Mem = in.Mem.plus(size * b.m.Lanes * b.first)
	case b.stepped[base]:
		in.Mem = in.Mem.plus(size*b.m.Lanes*b.first - iteration)
	default:
		in.Step, b.stepped[base] = iteration, true
	}
	return in
}

// get is the value of a node for the k-th vector, which if it is an invariant without a
// register comes from memory, once for all of them.
func (b *body) get(id, row, k int) Reg {
	if list, ok := b.value[id]; ok {
		return list[k]
	}
	if v, ok := b.resident[id]; ok {
		return v
	}
	if len(b.perRow) > 0 {
		if v, ok := b.perRow[row][id]; ok {
			return v
		}
	}
	if _, ok := b.fetched[id]; !ok {
		b.fetched[id] = b.fetch(id)
	}
	return b.fetched[id]
}

// fetch writes what brings an invariant into a register.
func (b *body) fetch(id int) Reg {
	if m, ok := b.spilled[id]; ok {
		return b.set(Vector, Inst{Op: Load, Mem: m})
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
