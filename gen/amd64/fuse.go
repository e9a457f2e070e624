package amd64

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// onlyReader is the instruction behind the k-th that alone reads its result, however
// often, if nothing between them stores or jumps; -1 if there is none.
func (e *emitter) onlyReader(k int) int {
	in := e.p.Insts[k]
	if in.Op != loop.Load && in.Op != loop.Compute {
		return -1
	}
	for j, next := range e.p.Insts[k+1:] {
		reads := 0
		for _, r := range next.Reads() {
			if r == in.Dst {
				reads++
			}
		}
		switch {
		case reads > 0 && reads == e.uses[in.Dst]:
			return k + 1 + j
		case reads > 0 || next.Op <= loop.Return || next.Op == loop.Store:
			return -1
		}
	}
	return -1
}

// isOperand reports whether the k-th instruction is the load of a whole vector that its
// reader can do for itself, for an operand may be in memory.
func (e *emitter) isOperand(k int) bool {
	in, reader := e.p.Insts[k], e.onlyReader(k)
	if in.Op != loop.Load || in.Type != rule.F32 || in.X.Kind != loop.None || reader < 0 || e.uses[in.Dst] > 1 {
		return false
	}
	next := e.p.Insts[reader]
	if next.Op != loop.Compute || slices.ContainsFunc([]loop.Reg{next.X, next.Y, next.Z}, e.isLate) {
		return false
	}
	if op := next.Node.Op; op == rule.FMA || op == rule.FNMA {
		return true
	}
	return next.Y == in.Dst && inMemory(next.Node.Op) || next.X == in.Dst && commutes(next.Node.Op)
}

// inMemory reports whether Y of an operation may be in memory.
func inMemory(op rule.Op) bool {
	switch op {
	case rule.Sub, rule.Div, rule.Max, rule.Min, rule.SubInt, rule.Flush:
		return true
	}
	return op.IsMask() || commutes(op)
}

// commutes reports whether the operands of an operation may change places.
func commutes(op rule.Op) bool {
	switch op {
	case rule.Add, rule.Mul, rule.And, rule.Or, rule.Xor, rule.AddInt, rule.MulInt:
		return true
	}
	return false
}

// isFlush reports whether an instruction flushes.
func isFlush(in loop.Inst) bool { return in.Op == loop.Compute && in.Node.Op == rule.Flush }

// isFlushed reports whether the k-th instruction is the load of a whole vector that is
// for a flush alone.
func (e *emitter) isFlushed(k int) bool {
	in, reader := e.p.Insts[k], e.onlyReader(k)
	if in.Op != loop.Load || in.Type != rule.F32 || in.X.Kind != loop.None || reader < 0 || e.isSquared(reader) {
		return false
	}
	flush := e.p.Insts[reader]
	return isFlush(flush) && flush.X == in.Dst && flush.Y != in.Dst
}

// isSquared reports whether the k-th instruction is a flush that is for a square alone.
func (e *emitter) isSquared(k int) bool {
	in, reader := e.p.Insts[k], e.onlyReader(k)
	if !isFlush(in) || reader < 0 {
		return false
	}
	square := e.p.Insts[reader]
	return square.Op == loop.Compute && square.Node.Op == rule.Mul && slices.Equal(square.Reads(), []loop.Reg{in.Dst, in.Dst})
}

// isSelectedSum reports whether the k-th instruction is a sum of integers for a selection alone, of it
// or of its first term.
func (e *emitter) isSelectedSum(k int) bool {
	in, reader := e.p.Insts[k], e.onlyReader(k)
	if !isSum(in) || reader < 0 || e.late[e.set[in.Y]] || e.late[e.set[in.X]] {
		return false
	}
	selects := e.p.Insts[reader]
	return selects.Op == loop.Compute && selects.Node.Op == rule.Select && selects.Y == in.Dst && selects.Z == in.X
}

func isSum(in loop.Inst) bool { return in.Op == loop.Compute && in.Node.Op == rule.AddInt }

// isKept reports whether the k-th instruction is for a selection of it or 0 alone.
func (e *emitter) isKept(k int) bool {
	in, reader := e.p.Insts[k], e.onlyReader(k)
	if in.Op != loop.Compute || !keeps(in.Node.Op) || reader < 0 || e.readsLate(in) {
		return false
	}
	selects := e.p.Insts[reader]
	zero, ok := e.set[selects.Z]
	return selects.Op == loop.Compute && selects.Node.Op == rule.Select && selects.Y == in.Dst && ok && e.p.Insts[zero].Op == loop.Constant && e.p.Insts[zero].Imm == 0
}

// keeps reports whether an operation may leave 0 in the lanes that a mask is not for.
func keeps(op rule.Op) bool { return op == rule.Mul || op == rule.Or || op == rule.ShiftLeft }

// A junction is a conjunction of a number with a disjunction of two others, or the other way
// around, as VPTERNLOGD does it with a table: dst, whose number nothing else reads, takes the result.
type junction struct {
	dst, x, y loop.Reg
	table     uint8
}

// VPTERNLOGD's tables of dst, x and y.
const (
	dstOrAnd = 0xf8 // dst | x&y
	dstAndOr = 0xe0 // dst & (x|y)
	andOrY   = 0xea // dst&x | y
	orAndY   = 0xa8 // (dst|x) & y
)

// joins is the junction of the k-th instruction with the one that alone reads it, if they are one.
func (e *emitter) joins(k, reader int) (j junction, ok bool) {
	inner, outer := e.p.Insts[k], e.p.Insts[reader]
	first, then := dstOrAnd, andOrY
	switch {
	case inner.Op != loop.Compute || outer.Op != loop.Compute || outer.X == outer.Y:
		return junction{}, false
	case inner.Node.Op == rule.Or && outer.Node.Op == rule.And:
		first, then = dstAndOr, orAndY
	case inner.Node.Op != rule.And || outer.Node.Op != rule.Or:
		return junction{}, false
	}
	other := outer.X
	if other == inner.Dst {
		other = outer.Y
	}
	for _, j := range []junction{{other, inner.X, inner.Y, uint8(first)}, {inner.X, inner.Y, other, uint8(then)}, {inner.Y, inner.X, other, uint8(then)}} {
		if e.dies(k, j.dst) && e.p.Insts[e.set[j.dst]].Op == loop.Compute {
			return j, !e.isLate(other)
		}
	}
	return junction{}, false
}

// isJoined reports whether the k-th instruction is left to the one that alone reads it, and notes how.
func (e *emitter) isJoined(k int) bool {
	reader := e.onlyReader(k)
	if reader < 0 || e.readsLate(e.p.Insts[k]) || e.isKept(reader) {
		return false
	}
	j, ok := e.joins(k, reader)
	if ok {
		e.joined[k] = j
	}
	return ok
}

// readsLate reports whether an instruction reads what is left to it.
func (e *emitter) readsLate(in loop.Inst) bool {
	return slices.ContainsFunc(in.Reads(), e.isLate)
}
