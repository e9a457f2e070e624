package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/eigen"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Team is the goroutines of a step, for a pass Together.
type Team struct {
	e       *Engine
	pool    *workers.Pool
	room    []float32 // of the tensor that asks for most
	product kernels.MatMul
	packing packing
	tiling  tiling
	scaling scaling
	rowing  rowing
	mapping mapping
	bases   eigen.Bases
}

// Bases makes orthonormal bases, with room for the largest slot that is a square matrix.
func (t *Team) Bases() *eigen.Bases { return &t.bases }

// Adam, Fade and Flush are the kernels of these names, of buffers of any length.
func (t *Team) Adam(table kernels.Table, p, g, m, v []float32, c *fallback.AdamScalars) {
	t.each(mapping{table: table, buffers: [4][]float32{p, g, m, v}, adam: *c, do: adam})
}

// Fade is said with Adam.
func (t *Team) Fade(table kernels.Table, x, g []float32, c *fallback.FadeScalars) {
	t.each(mapping{table: table, buffers: [4][]float32{x, g}, fade: *c, do: fade})
}

// Flush is said with Adam.
func (t *Team) Flush(table kernels.Table, x []float32, c *fallback.FlushScalars) {
	t.each(mapping{table: table, buffers: [4][]float32{x}, flush: *c, do: flush})
}

func (t *Team) each(m mapping) {
	m.e = t.e
	t.mapping = m
	n := len(m.buffers[0])
	t.e.pool.Run(&t.mapping, (n+tune.UnitLen-1)/tune.UnitLen, n, true)
	t.mapping = mapping{}
}

// mapping is the task of a kernel that takes elements in parts of any length.
type mapping struct {
	e       *Engine
	table   kernels.Table
	buffers [4][]float32
	adam    fallback.AdamScalars
	fade    fallback.FadeScalars
	flush   fallback.FlushScalars
	do      func(m *mapping, list *kernels.List, lo, hi int)
}

func (m *mapping) Do(unit, worker int) {
	lo := unit * tune.UnitLen
	m.do(m, &m.e.workers[worker].list, lo, min(lo+tune.UnitLen, len(m.buffers[0])))
}

func adam(m *mapping, list *kernels.List, lo, hi int) {
	list.Set(m.buffers[0][lo:hi], m.buffers[1][lo:hi], m.buffers[2][lo:hi], m.buffers[3][lo:hi])
	kernels.Adam(m.table, list, &m.adam)
}

func fade(m *mapping, list *kernels.List, lo, hi int) {
	list.Set(m.buffers[0][lo:hi], m.buffers[1][lo:hi])
	kernels.Fade(m.table, list, &m.fade)
}

func flush(m *mapping, list *kernels.List, lo, hi int) {
	list.Set(m.buffers[0][lo:hi])
	kernels.Flush(m.table, list, &m.flush)
}

// Multiply carries out a product, with room for as many elements as kernels.MatMulRoom says.
func (t *Team) Multiply(table kernels.Table, p kernels.MatMul, room []float32) {
	t.product = p
	t.product.Begin(table, room)
	t.packing.p, t.tiling.p = &t.product, &t.product
	size := p.C.Rows * p.C.Columns / tune.ProductsPerElement * p.A.Columns
	t.pool.Run(&t.packing, t.product.Packs(), size, true)
	t.pool.Run(&t.tiling, t.product.Tiles(), size, true)
}

// packing and tiling are the tasks of a product.
type (
	packing struct{ p *kernels.MatMul }
	tiling  struct{ p *kernels.MatMul }
)

func (t *packing) Do(unit, _ int) { t.p.Pack(unit) }
func (t *tiling) Do(unit, _ int)  { t.p.Multiply(unit) }

// Scale makes to from, each element times a factor, rounded once. Both may be one.
func (t *Team) Scale(to, from []float32, factor float64) {
	t.scaling = scaling{to, from, factor}
	t.pool.Run(&t.scaling, (len(to)+tune.UnitLen-1)/tune.UnitLen, len(to), true)
	t.scaling = scaling{}
}

// scaling is the task of Scale.
type scaling struct {
	to, from []float32
	factor   float64
}

func (s *scaling) Do(unit, _ int) {
	lo := unit * tune.UnitLen
	hi := min(lo+tune.UnitLen, len(s.to))
	to := s.to[lo:hi]
	for i, x := range s.from[lo:hi] {
		to[i] = float32(float64(x) * s.factor)
	}
}

// Dots makes of each row of two matrices, whose rows are contiguous, the sum of its products:
// in float64, one after the other, rounded once. Sizes makes sums of magnitudes.
func (t *Team) Dots(to []float32, x, y fallback.Matrix) {
	t.row(rowing{x: x, y: y, numbers: to, do: dot})
}

// Sizes is said with Dots.
func (t *Team) Sizes(to []float32, x fallback.Matrix) { t.row(rowing{x: x, numbers: to, do: size}) }

// ScaleRows multiplies each row by a number, ScaleColumns each column, and ScaleBoth both of a
// square matrix: a symmetric one remains so. Each element is rounded once.
func (t *Team) ScaleRows(x fallback.Matrix, by []float32) {
	t.row(rowing{x: x, numbers: by, do: scaleRow})
}

// ScaleColumns is said with ScaleRows.
func (t *Team) ScaleColumns(x fallback.Matrix, by []float32) {
	t.row(rowing{x: x, numbers: by, do: scaleColumns})
}

// ScaleBoth is said with ScaleRows.
func (t *Team) ScaleBoth(x fallback.Matrix, by []float32) {
	t.row(rowing{x: x, numbers: by, do: scaleBoth})
}

// row has rows done, each by one goroutine.
func (t *Team) row(r rowing) {
	t.rowing = r
	t.rowing.rows = rowsOf(tune.UnitLen, max(1, r.x.Columns)) / max(1, r.x.Columns)
	t.pool.Run(&t.rowing, (r.x.Rows+t.rowing.rows-1)/t.rowing.rows, r.x.Rows*r.x.Columns, true)
	t.rowing = rowing{}
}

// rowing is the task of what does something with each row.
type rowing struct {
	x, y    fallback.Matrix
	numbers []float32 // of rows or columns
	do      func(r *rowing, i int)
	rows    int // of a unit
}

func (r *rowing) Do(unit, _ int) {
	for i := unit * r.rows; i < min((unit+1)*r.rows, r.x.Rows); i++ {
		r.do(r, i)
	}
}

// at is a row of a matrix.
func at(m *fallback.Matrix, i int) []float32 { return m.Data[i*m.RowStride:][:m.Columns] }

func dot(r *rowing, i int) {
	sum, x := 0.0, at(&r.x, i)
	for j, y := range at(&r.y, i) {
		sum += float64(float64(x[j]) * float64(y))
	}
	r.numbers[i] = float32(sum)
}

func size(r *rowing, i int) {
	sum := 0.0
	for _, x := range at(&r.x, i) {
		sum += math.Abs(float64(x))
	}
	r.numbers[i] = float32(sum)
}

func scaleRow(r *rowing, i int) {
	x := at(&r.x, i)
	for j := range x {
		x[j] *= r.numbers[i]
	}
}

func scaleColumns(r *rowing, i int) {
	x := at(&r.x, i)
	for j, by := range r.numbers[:len(x)] {
		x[j] *= by
	}
}

func scaleBoth(r *rowing, i int) {
	x := at(&r.x, i)
	for j, by := range r.numbers[:len(x)] {
		x[j] = float32(float64(x[j]) * (float64(by) * float64(r.numbers[i])))
	}
}

// growRoom makes room for the tensor that asks for most.
func (e *Engine) growRoom() {
	most, side := 0, 0
	for k := range e.tensors {
		t := &e.tensors[k]
		for _, p := range e.groups[t.Rule].passes {
			if p.room != nil && t.Size > 0 {
				n := e.groups[t.Rule].side(t.Tensor)
				most, side = max(most, p.room(e.table, t.rows(), t.columns(), n)), max(side, n)
			}
		}
	}
	e.team.bases.Grow(side)
	if len(e.team.room) < most {
		e.team.room = Alloc(most, 1)[0]
	}
}

// together runs passes Together of this number. Most steps have none, and do not look at
// thousands of tensors for them.
func (e *Engine) together(k int) {
	if !e.hasTogether(k) {
		return
	}
	for j := range e.tensors {
		t := &e.tensors[j]
		g := &e.groups[t.Rule]
		if k >= len(g.passes) || g.passes[k].walk != together || t.Size == 0 || !e.runs(j, &g.passes[k]) {
			continue
		}
		w := e.workers[0]
		w.matrix.Params, w.matrix.Grads, w.matrix.ColumnSums = nil, nil, nil
		w.matrix.Room, w.matrix.Team = e.team.room, &e.team
		w.setMatrix(g, t, 0, t.Size)
		g.call(t, k).run(e.table, &w.list, &w.matrix, &w.sums)
		w.Forget()
		e.team.product = kernels.MatMul{}
	}
}

func (e *Engine) hasTogether(k int) bool {
	for j := range e.groups {
		if p := e.groups[j].passes; k < len(p) && p[k].walk == together {
			return true
		}
	}
	return false
}
