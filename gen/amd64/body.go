package amd64

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// body emits so many vectors' worth of the rule.
func (e *emitter) body(mem memory, vectors, side int) {
	var lane reg.GPVirtual
	if slices.ContainsFunc(e.r.Effects, func(f rule.Effect) bool { return f.Reduce }) && len(e.sums) == 0 {
		lane = e.GP64()
		e.MOVQ(e.index, lane)
		e.ANDQ(operand.I8(rule.Lanes-1), lane)
	}
	phases := [][]rule.Task{e.steps}
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
func (e *emitter) phases() [][]rule.Task {
	waits := make([]bool, len(e.r.Nodes)) // for a root
	used := make([]bool, len(e.r.Nodes))  // by what does not wait
	for id, n := range e.r.Nodes {
		waits[id] = slices.ContainsFunc(n.Operands(), func(x int) bool { return waits[x] || e.r.Nodes[x].Op == rule.Sqrt })
	}
	second := func(s rule.Task) bool {
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
	var split [2][]rule.Task
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
func (b *body) emit(steps []rule.Task, row int, last bool) {
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
		if m, ok := e.spilled[id]; ok {
			v := e.t.vector(e)
			e.VMOVUPS(m, v)
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
		return e.uniform(id)
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
			if e.t.fuse != nil && b.only == nil && e.flushedLoad(s.ID) {
				continue
			}
			v := e.t.vector(e)
			b.load(at(n.X), v)
			b.value[s.ID] = v
			continue
		}
		if e.t.fuse != nil {
			if n.Op == rule.Flush && e.squaredOnly(s.ID) {
				continue
			}
			if v := e.t.fuse(b, s.ID, get, at); v != nil {
				b.value[s.ID] = v
				continue
			}
		}
		var in [3]reg.Register
		for k, id := range n.Operands() {
			in[k] = get(id)
		}
		b.value[s.ID] = e.result(n.Op)
		if n.Op == rule.Sqrt && b.main && e.t.root != nil {
			if root := e.t.root(b.vector); root != nil {
				root(e, in[0].(reg.VecVirtual), b.value[s.ID].(reg.VecVirtual))
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

// uses counts the uses of a node, and tells the node of the last one.
func (e *emitter) uses(id int) (n, by int) {
	by = -1
	for _, t := range e.steps {
		for _, x := range e.r.ReadsOf(t) {
			if x == id {
				n, by = n+1, t.ID
				if t.IsEffect {
					by = -1
				}
			}
		}
	}
	return n, by
}

// flushedLoad reports whether a load is for one flush alone.
func (e *emitter) flushedLoad(id int) bool {
	n, by := e.uses(id)
	return n == 1 && by >= 0 && e.r.Nodes[by].Op == rule.Flush && e.r.Nodes[by].X == id
}

// squaredOnly reports whether a flush is for one square alone.
func (e *emitter) squaredOnly(id int) bool {
	n, by := e.uses(id)
	return n == 2 && by >= 0 && e.r.Nodes[by] == rule.Node{Op: rule.Mul, X: id, Y: id}
}
