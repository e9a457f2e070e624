package loss

import (
	"fmt"
	"math"
	"sync"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// CosineEmbedding has pairs of rows point the same way, or apart: with c = x·y/√((‖x‖² +
// Eps)(‖y‖² + Eps)) the loss is 1 - c of the label 1, and max(0, c - Margin) of -1. It is
// cosine_embedding_loss of PyTorch, whose Eps is 1e-12, and with labels of 1 and an Eps of 0
// cosine_distance of Optax.
//
// Products and squares are added up in float32, which overflows beyond norms of 1.8e19, so that
// the loss is right to some 1e-7 and not to units of what is left of 1. Without Eps a row of zeros
// has no direction: its loss and gradient are NaN.
type CosineEmbedding struct {
	Reduction Reduction // Mean, Sum, None or BatchMean, which is Mean
	Margin    float64   // from -1 to 1
	Eps       float64   // at least 0
	Workers
}

// Pairs are the buffers of a call: of X, Y and their gradients rows × columns, row-major, of the
// others one number for each row.
type Pairs struct {
	X, Y         []float32
	Labels       []float32 // 1 or -1; nil stands for 1 each
	Weights      []float32 // factors of the rows' losses, finite and at least 0; nil stands for 1 each. No mean is divided by them
	GradX, GradY []float32 // receive the gradients, apart from all others; nil if they are not wanted
	Each         []float32 // receives the rows' losses, apart from all others; may be nil unless the reduction is None
	Scale        *float64  // factor of the gradients: see Weight. Nil stands for 1
}

// Eval returns the loss of so many pairs, of which it stores the gradients, those of Sum if the
// reduction is None, whose result is the sum. A pair of the weight 0 counts for nothing, even NaN.
func (l CosineEmbedding) Eval(rows int, b Pairs) (float64, error) {
	columns, err := columnsOf(b.X, rows)
	if err == nil {
		err = l.check(rows, &b)
	}
	if err != nil {
		return 0, err
	}
	limit, err := l.Workers.limit()
	if err != nil {
		return 0, err
	}
	divisor, scale := l.Reduction.over(rows, float64(rows)), 1.0
	if b.Scale != nil {
		scale = *b.Scale
	}
	c := pairCalls.Get().(*pairCall)
	defer c.end()
	c.CosineEmbedding, c.b, c.scale = l, b, scale/divisor
	units := c.begin(rows, columns, limit)
	c.pool.Run(c, units, len(b.X), false)
	total := 0.0
	for _, s := range c.sums[:units] {
		total += s
	}
	return total / divisor, nil
}

func (l CosineEmbedding) check(rows int, b *Pairs) error {
	switch {
	case l.Reduction > BatchMean:
		return &ArgError{"Reduction", l.Reduction, "Mean, Sum, None or BatchMean"}
	case !(l.Margin >= -1 && l.Margin <= 1):
		return &ArgError{"Margin", l.Margin, "a number from -1 to 1"}
	case l.Reduction == None && b.Each == nil && rows > 0:
		return &ArgError{"Each", "nil", "a buffer for the losses"}
	}
	if err := checkCoefficient("Eps", l.Eps); err != nil {
		return err
	}
	names := [...]string{"Each", "GradX", "GradY", "X", "Y", "Labels", "Weights"}
	all := [...][]float32{b.Each, b.GradX, b.GradY, b.X, b.Y, b.Labels, b.Weights}
	for k, x := range all {
		n := rows
		if k > 0 && k < 5 {
			n = len(b.X)
		}
		if len(x) != n && (x != nil || k == 4) { // Y is not optional
			return &ArgError{"len(" + names[k] + ")", len(x), fmt.Sprintf("%d", n)}
		}
	}
	for k, out := range all[:3] {
		for j := k + 1; j < len(all); j++ {
			if buffers.Overlap(out, all[j]) {
				return &ArgError{names[k], fmt.Sprintf("%d elements at %p", len(out), out), "a buffer apart from " + names[j]}
			}
		}
	}
	for i, w := range b.Weights {
		if err := checkWeight("Weights", i, w); err != nil {
			return err
		}
	}
	for i, y := range b.Labels {
		if y != 1 && y != -1 {
			return &ArgError{fmt.Sprintf("Labels[%d]", i), y, "1 or -1"}
		}
	}
	return nil
}

// A pairCall is a call at work, kept for the next one.
type pairCall struct {
	rowCrew
	CosineEmbedding
	b     Pairs
	scale float64
	sums  [tune.RowParts]float64
}

var pairCalls = sync.Pool{New: func() any { return &pairCall{rowCrew: newRowCrew()} }}

// end keeps nothing alive that is the caller's.
func (c *pairCall) end() {
	c.b = Pairs{}
	c.crew.end()
	pairCalls.Put(c)
}

// Do is the rows of a unit.
func (c *pairCall) Do(unit, worker int) {
	r, fresh := c.room(worker)
	if fresh {
		r.targets = fallback.RowTargetsScalars{Keep: 1}
		buffers.Clear(r.most)
	}
	sum := 0.0
	for row := unit * c.unit; row < c.endOf(unit); row++ {
		sum += c.eval(r, row)
	}
	c.sums[unit] = sum
}

func (c *pairCall) of(x []float32, row int) []float32 { return x[row*c.columns:][:c.columns] }

// eval is the loss of a pair, and its gradients.
func (c *pairCall) eval(r *rowRoom, row int) float64 {
	weight := 1.0
	if c.b.Weights != nil {
		weight = float64(c.b.Weights[row])
	}
	x, y := c.of(c.b.X, row), c.of(c.b.Y, row)
	loss, slope, cosine, product, xx, yy := 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
	if weight != 0 {
		xx, yy = c.dot(r, x, x)+c.Eps, c.dot(r, y, y)+c.Eps
		product = math.Sqrt(xx * yy)
		cosine = c.dot(r, x, y) / product
		loss, slope = 1-cosine, -1
		if c.b.Labels != nil && c.b.Labels[row] < 0 {
			loss, slope = cosine-c.Margin, 1
			if loss <= 0 {
				loss, slope = 0, 0
			}
		}
		loss = float64(loss * weight)
		slope *= c.scale * weight
	}
	if c.b.Each != nil {
		c.b.Each[row] = float32(loss)
	}
	if c.b.GradX != nil {
		c.grad(r, c.of(c.b.GradX, row), x, y, slope, cosine/xx, product)
	}
	if c.b.GradY != nil {
		c.grad(r, c.of(c.b.GradY, row), y, x, slope, cosine/yy, product)
	}
	return loss
}

// pieces calls do with ranges of cells, and the columns of each.
func (c *pairCall) pieces(do func(lo, cells, columns int)) {
	wide := c.g.wide
	full := c.columns / wide
	do(0, full, wide)
	if rest := c.columns - full*wide; rest > 0 {
		do(full, 1, rest)
	}
}

// dot is the product of two rows.
func (c *pairCall) dot(r *rowRoom, x, y []float32) float64 {
	c.pieces(func(lo, cells, columns int) {
		from, to := lo*c.g.wide, lo*c.g.wide+cells*columns
		kernels.RowTargets(c.k, r.weight[lo:][:cells], r.cost[lo:][:cells], x[from:to], y[from:to], r.most[lo:][:cells], r.ones[:columns], &r.targets)
	})
	sum := 0.0
	for _, x := range r.cost[:c.g.cells()] {
		sum -= float64(x)
	}
	return sum
}

// grad stores slope·(y/product - x·turn).
func (c *pairCall) grad(r *rowRoom, g, x, y []float32, slope, turn, product float64) {
	if slope == 0 {
		buffers.Clear(g)
		return
	}
	for j := range c.g.cells() {
		r.a[j], r.b[j], r.d[j] = float32(-float64(slope*turn)), float32(-slope/product), 0
	}
	c.pieces(func(lo, cells, columns int) {
		from, to := lo*c.g.wide, lo*c.g.wide+cells*columns
		buffers.Copy(g[from:to], x[from:to])
		kernels.RowTargetsScale(c.k, g[from:to], y[from:to], r.a[lo:][:cells], r.b[lo:][:cells], r.d[lo:][:cells], r.ones[:columns])
	})
}
