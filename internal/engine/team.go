package engine

import (
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Team is the goroutines of a step, for a pass Together.
type Team struct {
	pool    *workers.Pool
	room    []float32 // of the tensor that asks for most
	product kernels.MatMul
	packing packing
	tiling  tiling
	scaling scaling
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

// growRoom makes room for the tensor that asks for most.
func (e *Engine) growRoom() {
	most := 0
	for k := range e.tensors {
		t := &e.tensors[k]
		for _, p := range e.groups[t.Rule].passes {
			if p.room != nil && t.Size > 0 {
				most = max(most, p.room(e.table, t.rows(), t.columns()))
			}
		}
	}
	if len(e.team.room) < most {
		e.team.room = Alloc(most, 1)[0]
	}
}

// together runs passes Together of this number.
func (e *Engine) together(k int) {
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
