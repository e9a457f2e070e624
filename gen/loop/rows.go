package loop

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// matrix lowers the kernel of a matrix.
func (l *lowering) matrix(c choice) {
	columns := l.set(Address, Inst{Op: Param, Label: l.Rule.Buffers[l.Rule.First(rule.Stream)].Name, Piece: Len})
	for k, b := range l.Rule.Buffers {
		var base Reg
		if b.Shape != rule.PerRow || !c.anew() {
			base = l.base(k)
		}
		l.buffers = append(l.buffers, l.buffer(k, base))
	}
	l.parts(c, func(prefix string) { l.rows(prefix, columns) })
	if c.usual != nil {
		l.label("end")
	}
}

// base is where a buffer begins.
func (l *lowering) base(buffer int) Reg {
	return l.set(Address, Inst{Op: Param, Label: l.Rule.Buffers[buffer].Name, Piece: Base})
}

// ofRow is where a row's element is of a buffer that has one for each.
func (l *lowering) ofRow(buffer, row int) Mem {
	m := l.further[row][buffer]
	if l.plan.anew {
		m.Base = l.base(buffer)
	}
	return m
}

// rows walks a matrix some rows side by side, then row by row.
func (l *lowering) rows(part string, columns Reg) {
	count := l.set(Address, Inst{Op: Param, Label: l.r.Buffers[l.r.First(rule.PerRow)].Name, Piece: Len})
	l.row = l.new(Address)
	l.sides()
	if len(l.folded()) > 0 {
		l.foldLanes()
	}
	l.do(Inst{Op: Number, Dst: l.row})
	for _, side := range slices.Compact([]int{l.plan.rows, 1}) {
		prefix := fmt.Sprintf("%srows%d", part, side)
		last := l.set(Address, Inst{Op: Copy, X: count})
		l.do(Inst{Op: Sub, Dst: last, Imm: int64(side)})
		l.do(Inst{Op: JumpIf, X: l.row, Cond: Greater, Y: last, Label: prefix + "end"})
		l.label(prefix)
		l.sideBySide(prefix, columns, side)
		l.do(Inst{Op: Add, Dst: l.row, Imm: int64(side)})
		l.do(Inst{Op: JumpIf, X: l.row, Cond: LessEqual, Y: last, Label: prefix})
		l.label(prefix + "end")
	}
}

// sides sets where the buffers are of the rows side by side.
func (l *lowering) sides() {
	for k, b := range l.r.Buffers {
		if b.Shape == rule.PerRow {
			l.buffers[k].Index, l.buffers[k].Scale = l.row, b.Type.Bytes()
		}
	}
	l.further = [][]Mem{l.buffers}
	for row := 1; row < l.plan.rows; row++ {
		next := slices.Clone(l.buffers)
		for k, b := range l.r.Buffers {
			switch b.Shape {
			case rule.PerRow:
				next[k] = next[k].plus(b.Type.Bytes() * row)
			case rule.Matrix:
				next[k].Base = l.new(Address)
			}
		}
		l.further = append(l.further, next)
	}
	l.walked = l.further
}

// foldLanes makes room for the lanes of each row. A vector that straddles lines of the
// cache is slow to come back.
func (l *lowering) foldLanes() {
	n := len(l.folded())
	lanes := l.set(Address, Inst{Op: Locate, Mem: l.local(4*rule.Lanes*l.plan.rows*n, 64)})
	for k := range l.plan.rows * n {
		l.folds = append(l.folds, Mem{Base: lanes, Disp: 4 * rule.Lanes * k})
	}
}

// sideBySide walks so many rows of a matrix in one pass over the columns.
func (l *lowering) sideBySide(prefix string, columns Reg, side int) {
	l.perRow = nil
	for row := range side {
		l.perRow = append(l.perRow, l.own(row))
	}
	for row := 1; row < side; row++ {
		l.nextRow(columns, l.further[row-1], l.further[row])
	}
	l.clearFolds(side)
	l.columns(prefix, columns, side)
	for row := range side {
		for id, f := range l.r.Effects {
			switch {
			case f.Reduce && f.Kind == rule.FoldMost:
				l.do(Inst{Op: Fold, Node: rule.Node{Op: f.Kind.Joins()}, Y: l.most[sumOf{id, row}], Mem: l.ofRow(f.To, row)})
			case f.Reduce && f.Kind.Folds():
				l.do(Inst{Op: Fold, Node: rule.Node{Op: f.Kind.Joins()}, Lanes: l.lanesOf(f, row), Mem: l.ofRow(f.To, row)})
			}
		}
	}
	l.nextRow(columns, l.further[side-1], l.buffers)
}

// own loads the elements of a row's own.
func (l *lowering) own(row int) map[int]Reg {
	own := map[int]Reg{}
	for id, n := range l.r.Nodes {
		if n.Op == rule.Load && l.r.Buffers[n.X].Shape == rule.PerRow && l.r.Loads(n.X) {
			own[id] = l.set(Vector, Inst{Op: Spread, Mem: l.ofRow(n.X, row)})
		}
	}
	return own
}

// nextRow sets the addresses of a row behind those of another.
func (l *lowering) nextRow(columns Reg, row, next []Mem) {
	for k, b := range l.r.Buffers {
		if b.Shape == rule.Matrix {
			l.do(Inst{Op: Locate, Dst: next[k].Base, Mem: Mem{Base: row[k].Base, Index: columns, Scale: b.Type.Bytes()}})
		}
	}
}

// folded are the rule's reductions of one row whose lanes are those of package rule.
func (l *lowering) folded() []rule.Effect {
	var list []rule.Effect
	for _, f := range l.r.Effects {
		if f.Reduce && f.Kind.Folds() && f.Kind != rule.FoldMost {
			list = append(list, f)
		}
	}
	return list
}

// lanesOf is where the lanes of one of them are.
func (l *lowering) lanesOf(f rule.Effect, row int) Mem {
	n := slices.IndexFunc(l.folded(), func(g rule.Effect) bool { return g.To == f.To })
	return l.folds[n*l.plan.rows+row]
}

// starts is what such lanes begin with.
func (l *lowering) starts(k rule.Kind) Reg {
	if bits := k.Start(); bits != 0 {
		return l.constant(bits)
	}
	return l.set(Vector, Inst{Op: Zero})
}

// clearFolds makes what they begin with of the lanes of rows.
func (l *lowering) clearFolds(side int) {
	for id, f := range l.r.Effects {
		for row := 0; row < side && f.Reduce && f.Kind == rule.FoldMost; row++ {
			l.most[sumOf{id, row}] = l.starts(f.Kind)
		}
	}
	if len(l.folds) == 0 {
		return
	}
	for _, f := range l.folded() {
		start := slices.Repeat([]Reg{l.starts(f.Kind)}, rule.Lanes/l.m.Lanes)
		for row := range side {
			l.stores(l.lanesOf(f, row), start)
		}
	}
}
