package loss

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A grid is how rows are cut into cells, which kernels take side by side: a row is one, or a
// long row several, of which the last may be shorter.
type grid struct {
	columns int // of a row
	wide    int // columns of a cell but the last
	group   int // rows that are done together
}

func newGrid(columns int) grid {
	if columns > tune.RowBlock {
		return grid{columns, tune.RowPiece, 1}
	}
	return grid{columns, columns, max(1, min(tune.RowGroup, tune.RowBlock/max(1, columns)))}
}

// cells is how many cells a row has.
func (g grid) cells() int { return (g.columns + g.wide - 1) / max(1, g.wide) }

// A block is the cells that go through kernels together.
type block struct {
	cell, cells int // the first of them, and how many
	columns     int // of each
	at          int // the first column
}

// elements is how many elements a block has.
func (b block) elements() int { return b.cells * b.columns }

// first is the first block of some rows.
func (g grid) first(rows int) block {
	if g.columns > g.wide {
		return block{cells: tune.RowBlock / tune.RowPiece, columns: g.wide}
	}
	return block{cells: rows, columns: g.columns}
}

// next is the block behind one. There is none behind a group of rows, nor at a row's end.
func (g grid) next(b block) (block, bool) {
	b.cell, b.at = b.cell+b.cells, b.at+b.elements()
	left := g.columns - b.at
	switch {
	case g.columns <= g.wide || left <= 0:
		return block{}, false
	case left < g.wide:
		b.cells, b.columns = 1, left
	default:
		b.cells = min(b.cells, left/g.wide)
	}
	return b, true
}

// A rowRoom is what a worker needs for a group of rows.
type rowRoom struct {
	// Of each cell: its largest element, the sum of its exponentials and what these lack of
	// the row's; the weight of its targets and what they cost; the gradient's numbers.
	most, sum, factor []float32
	weight, cost      []float32
	a, b, d           []float32

	// Of each row: its largest element; the sum of its exponentials, less 1, and the
	// logarithm of that and 1; its label's logit, later gradient, and cell; and if the label
	// is the largest of the cell the sum of the others there, else -1. Where the loss is focal
	// and of all classes the largest is in the label's place, and this is its class.
	top, over, log, at []float32
	cell, class        []int
	rest               []float64

	ones     []float32 // as many as a cell has columns
	unwanted []float32 // a block of exponentials
	parts    []float32 // what some losses want besides: see newRoom of CrossEntropy
	list     kernels.List
	lanes    [fallback.Lanes]float64
	targets  fallback.RowTargetsScalars
	huber    fallback.HuberScalars
	focal    fallback.FocalScalars
}

func newRowRoom(g grid) *rowRoom { return makeRoom(max(g.group, g.cells()), g.group, g.wide) }

func makeRoom(cells, rows, wide int) *rowRoom {
	of := func(n int) []float32 { return make([]float32, n) }
	r := &rowRoom{
		most: of(cells), sum: of(cells), factor: of(cells), weight: of(cells), cost: of(cells),
		a: of(cells), b: of(cells), d: of(cells),
		top: of(rows), over: of(rows), log: of(rows), at: of(rows),
		cell: make([]int, rows), class: make([]int, rows), rest: make([]float64, rows),
		ones: of(wide), unwanted: of(max(wide, tune.RowBlock)),
	}
	for i := range r.ones {
		r.ones[i] = 1
	}
	return r
}

// largest stores the largest element of each cell of a block.
func (r *rowRoom) largest(k kernels.Table, b block, x []float32) {
	kernels.RowMax(k, r.most[b.cell:][:b.cells], x, r.ones[:b.columns])
}

// exps stores the exponentials of each cell, and their sums.
func (r *rowRoom) exps(k kernels.Table, b block, e, x []float32) {
	kernels.RowExp(k, e, x, r.most[b.cell:][:b.cells], r.sum[b.cell:][:b.cells], r.ones[:b.columns])
}

// join finds the largest element of a row of so many cells, from one on, and the sum of all
// exponentials below it. A row whose cells are of one size has no factors.
func (r *rowRoom) join(k kernels.Table, first, cells int) (most, sum float64) {
	if cells == 1 {
		r.factor[first] = 1
		return float64(r.most[first]), float64(r.sum[first])
	}
	top := r.most[first]
	for _, m := range r.most[first+1:][:cells-1] {
		if m > top {
			top = m
		}
	}
	factor := r.factor[first:][:cells]
	for j := range factor {
		factor[j] = r.most[first+j] - top
	}
	r.list.Set(r.a[first:][:cells], factor)
	kernels.Exp(k, &r.list)
	for j := range factor {
		factor[j] = r.a[first+j]
		sum += float64(float64(factor[j]) * float64(r.sum[first+j]))
	}
	return float64(top), sum
}

// logs stores the logarithms of 1 and what so many rows have over it.
func (r *rowRoom) logs(k kernels.Table, rows int) {
	r.list.Set(r.log[:rows], r.over[:rows])
	kernels.Log1p(k, &r.list)
}

// without is the sum of a cell's exponentials but one, which is left as 0.
func (r *rowRoom) without(k kernels.Table, e []float32, i int) float64 {
	e[i] = 0
	clear(r.lanes[:])
	r.list.Set(e)
	kernels.Sum(k, &r.list, &r.lanes)
	return fallback.Total(&r.lanes)
}

// exact reports whether the j-th row's label is its largest element, and the only one.
func (r *rowRoom) exact(j int) bool { return r.rest[j] >= 0 && r.factor[r.cell[j]] == 1 }

// restOf is the sum of a row's exponentials without the label's.
func (r *rowRoom) restOf(j, first, cells int) float64 {
	sum := r.rest[j]
	for c := first; c < first+cells; c++ {
		if c != r.cell[j] {
			sum += float64(float64(r.factor[c]) * float64(r.sum[c]))
		}
	}
	return sum
}

// scales sets the gradient's numbers of a row: a is without the cells' factors.
func (r *rowRoom) scales(first, cells int, a float64, b, d float32) {
	for c := first; c < first+cells; c++ {
		r.a[c], r.b[c], r.d[c] = float32(a*float64(r.factor[c])), b, d
	}
}

// forget keeps nothing alive that is the caller's.
func (r *rowRoom) forget() { r.list.Forget() }
