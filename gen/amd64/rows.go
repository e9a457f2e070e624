package amd64

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// matrix emits the kernel of a matrix.
func (e *emitter) matrix(c choice) {
	e.use(e.whole)
	columns := e.Load(e.Param(e.r.Buffers[e.r.First(rule.Stream)].Name).Len(), e.GP64()).(reg.GPVirtual)
	for _, b := range e.r.Buffers {
		m := operand.Mem{Base: e.Load(e.Param(b.Name).Base(), e.GP64()), Index: e.index, Scale: 4}
		e.buffers = append(e.buffers, m)
	}
	e.invariants(c.general)
	e.rows(columns)
	e.end()
}

// rows walks a matrix some rows side by side, then row by row.
func (e *emitter) rows(columns reg.GPVirtual) {
	first := e.r.Buffers[e.r.First(rule.PerRow)].Name
	count := e.Load(e.Param(first).Len(), e.GP64()).(reg.GPVirtual)
	e.row = e.GP64()
	for k, b := range e.r.Buffers {
		if b.Shape == rule.PerRow {
			e.buffers[k].Index = e.row
		}
	}
	e.further = [][]operand.Mem{e.buffers}
	for r := 1; r < e.t.rows; r++ {
		next := slices.Clone(e.buffers)
		for k, b := range e.r.Buffers {
			switch b.Shape {
			case rule.PerRow:
				next[k] = next[k].Offset(4 * r)
			case rule.Matrix:
				next[k].Base = e.GP64()
			}
		}
		e.further = append(e.further, next)
	}
	if slices.ContainsFunc(e.r.Effects, func(f rule.Effect) bool { return f.Kind == rule.Fold }) {
		// A vector that straddles lines of the cache is slow to come back.
		const line = 64
		local, lanes := e.AllocLocal(4*rule.Lanes*e.t.rows+line), e.GP64()
		e.LEAQ(local.Offset(line-1), lanes)
		e.ANDQ(operand.I32(-line), lanes)
		for r := range e.t.rows {
			e.folds = append(e.folds, operand.Mem{Base: lanes, Disp: 4 * rule.Lanes * r})
		}
	}
	e.XORQ(e.row, e.row)
	for _, side := range []int{e.t.rows, 1} {
		prefix := fmt.Sprintf("rows%d", side)
		last := e.GP64()
		e.MOVQ(count, last)
		e.SUBQ(operand.I32(side), last)
		e.CMPQ(e.row, last)
		e.JG(operand.LabelRef(prefix + "end"))
		e.Label(prefix)
		e.sideBySide(prefix, columns, side)
		e.ADDQ(operand.I32(side), e.row)
		e.CMPQ(e.row, last)
		e.JLE(operand.LabelRef(prefix))
		e.Label(prefix + "end")
	}
}

// sideBySide walks so many rows of a matrix in one pass over the columns.
func (e *emitter) sideBySide(prefix string, columns reg.GPVirtual, side int) {
	e.perRow = nil
	for r := range side {
		own := map[int]reg.VecVirtual{}
		for id, n := range e.r.Nodes {
			if n.Op == rule.Load && e.r.Buffers[n.X].Shape == rule.PerRow && e.r.Loads(n.X) {
				own[id] = e.t.vector(e)
				e.VBROADCASTSS(e.further[r][n.X], own[id])
			}
		}
		e.perRow = append(e.perRow, own)
	}
	for k, b := range e.r.Buffers {
		if b.Shape == rule.Matrix {
			for r := 1; r < side; r++ {
				e.LEAQ(operand.Mem{Base: e.further[r-1][k].Base, Index: columns, Scale: 4}, e.further[r][k].Base)
			}
		}
	}
	if len(e.folds) > 0 {
		zero := e.YMM()
		e.VXORPS(zero, zero, zero)
		for r := range side {
			for k := 0; k < 4*rule.Lanes; k += 32 {
				e.VMOVUPS(zero, e.folds[r].Offset(k))
			}
		}
	}
	e.columns(prefix, columns, side)
	for r := range side {
		for _, f := range e.r.Effects {
			if f.Reduce && f.Kind == rule.Fold {
				e.VMOVSS(e.folded(e.folds[r]), e.further[r][f.To])
			}
		}
	}
	for k, b := range e.r.Buffers {
		if b.Shape == rule.Matrix {
			e.LEAQ(operand.Mem{Base: e.further[side-1][k].Base, Index: columns, Scale: 4}, e.buffers[k].Base)
		}
	}
}

// folded adds the lanes of a row: j and j+16, then 8, 4, 2, 1.
func (e *emitter) folded(lanes operand.Mem) reg.VecVirtual {
	low, high := e.YMM(), e.YMM()
	e.VMOVUPS(lanes, low)
	e.VADDPS(lanes.Offset(64), low, low)
	e.VMOVUPS(lanes.Offset(32), high)
	e.VADDPS(lanes.Offset(96), high, high)
	e.VADDPS(high, low, low)
	x, y := e.XMM(), e.XMM()
	e.VEXTRACTF128(operand.U8(1), low, x)
	e.VADDPS(x, low.AsX(), x)
	e.VMOVHLPS(x, x, y)
	e.VADDPS(y, x, x)
	e.VMOVSHDUP(x, y)
	e.VADDSS(y, x, x)
	return x
}
