package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// SetUnits has the gradient of each unit, a row of a matrix or a vector, be clipped to so
// many norms of its parameters, counted as at least so large, or to none if ratio is 0; and
// if it centers, the mean of each row of a matrix be taken off before. What is placed must be
// placed anew, and what was observed is forgotten.
func (e *Engine) SetUnits(ratio, least float64, centers bool) {
	e.clipping.ratio, e.clipping.least, e.clipping.centers = ratio, least, centers
	e.setClipping()
	e.resplit()
}

// resplit cuts the tensors anew, whose units are of whole rows where rows are looked at.
func (e *Engine) resplit() {
	for k := range e.tensors {
		e.tensors[k].byColumn = nil
	}
	e.units = unitsOf(e.tensors, e.groups)
	e.growLists()
	e.growSums()
	o := &e.observing
	o.begun, o.pieces = false, nil
}

// byRows reports whether the stages before a kernel look at whole rows of a tensor.
func (c *clipping) byRows(t *tensor) bool { return c.ratio > 0 || c.centers && t.Columns > 0 }

// A rowState is what the stages before a kernel know of a row that is longer than a block.
type rowState struct {
	mean fallback.CenterScalars
	clip fallback.ClipScalars
}

// measureRow measures a row of a range, from lo to hi, that is longer than a block.
func (e *Engine) measureRow(w *Worker, g *group, t *tensor, lo, hi int, p, grad []float32) {
	c := &g.clipping
	w.row.mean.Mean = 0
	if c.centers && t.Columns > 0 {
		w.row.mean.Mean = float32(e.sumRow(w, lo, hi, grad, kernels.Sum) / float64(hi-lo))
	}
	if c.ratio > 0 {
		squares := e.sumRow(w, lo, hi, grad, kernels.SumSquares)
		w.lanes = [fallback.Lanes]float64{}
		for at := lo; at < hi; at += tune.BlockLen {
			w.list.Set(p[at:min(at+tune.BlockLen, hi)])
			kernels.SumSquares(e.table, &w.list, &w.lanes)
		}
		w.row.clip = g.clipsRow(t, squares, fallback.Total(&w.lanes))
	}
}

// sumRow adds up a row of the gradient, less w.row.mean.
func (e *Engine) sumRow(w *Worker, lo, hi int, grad []float32, add func(kernels.Table, *kernels.List, *[fallback.Lanes]float64)) float64 {
	w.lanes = [fallback.Lanes]float64{}
	for at := lo; at < hi; at += tune.BlockLen {
		n := min(tune.BlockLen, hi-at)
		x := grad[at : at+n]
		if room := w.rooms(n); len(w.shards) > 0 {
			x = e.sum(w, room[:n], room[n:2*n], at, at+n)
		}
		if w.row.mean.Mean != 0 {
			x = e.center(w, w.rooms(n)[2*n:3*n], x, &w.row.mean)
		}
		w.list.Set(x)
		add(e.table, &w.list, &w.lanes)
	}
	return fallback.Total(&w.lanes)
}

// centered is a block of the gradient without the means of rows: of whole rows, or of the one
// that was measured.
func (e *Engine) centered(w *Worker, t *tensor, x, grad []float32) []float32 {
	if w.long {
		return e.center(w, x[:len(grad)], grad, &w.row.mean)
	}
	for at := 0; at < len(grad); at += t.columns() {
		row := grad[at:][:t.columns()]
		w.lanes = [fallback.Lanes]float64{}
		w.list.Set(row)
		kernels.Sum(e.table, &w.list, &w.lanes)
		c := fallback.CenterScalars{Mean: float32(fallback.Total(&w.lanes) / float64(len(row)))}
		e.center(w, x[at:][:t.columns()], row, &c)
	}
	return x[:len(grad)]
}

func (e *Engine) center(w *Worker, x, grad []float32, c *fallback.CenterScalars) []float32 {
	w.list.Set(x, grad)
	kernels.Center(e.table, &w.list, c)
	return x
}

// clippedRows is a block of the gradient, scaled and each row clipped to a norm: of whole
// rows, or of the one that was measured.
func (e *Engine) clippedRows(w *Worker, g *group, t *tensor, x, p, grad []float32) []float32 {
	if w.long {
		w.list.Set(x, grad)
		kernels.Clip(e.table, &w.list, &w.row.clip)
		return x
	}
	for at := 0; at < len(grad); at += t.columns() {
		row := grad[at:][:t.columns()]
		w.row.clip = g.clipsRow(t, e.squares(w, row), e.squares(w, p[at:][:t.columns()]))
		w.list.Set(x[at:][:t.columns()], row)
		kernels.Clip(e.table, &w.list, &w.row.clip)
	}
	return x
}

// clipsRow are the scalars for a row of the gradient, of the sums of its squares and of those
// of its parameters.
func (g *group) clipsRow(t *tensor, squares, ofParams float64) fallback.ClipScalars {
	c, scale := &g.clipping, g.scale
	if c.norm > 0 {
		scale *= t.factor
	}
	norm, most := math.Sqrt(squares)*math.Abs(scale), c.ratio*max(math.Sqrt(ofParams), c.least)
	if !(norm < most) {
		scale *= most / max(norm, leastNorm)
	}
	return c.scalars(g.signed(scale))
}

// leastNorm is what a norm is taken for at least where it divides.
const leastNorm = 1e-6

// squares is the sum of those of a row.
func (e *Engine) squares(w *Worker, row []float32) float64 {
	w.lanes = [fallback.Lanes]float64{}
	w.list.Set(row)
	kernels.SumSquares(e.table, &w.list, &w.lanes)
	return fallback.Total(&w.lanes)
}

// rowsOf is the length of units of whole rows, of about so many elements.
func rowsOf(length, row int) int { return max(1, length/max(1, row)) * max(1, row) }
