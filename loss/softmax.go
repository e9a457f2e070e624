package loss

import (
	"fmt"
	"sync"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/kernels"
)

// LogSumExp stores the logarithm of the sum of the exponentials of each of so many rows of x,
// row-major, in y: the largest element and the logarithm of what all are beside it. A row of
// -Inf alone has -Inf, one with NaN or +Inf has NaN.
//
// Rows of this and the functions below are shared as those of a loss with so many Workers.
func LogSumExp(y, x []float32, rows int, w Workers) error {
	columns, err := columnsOf(x, rows)
	switch {
	case err != nil:
		return err
	case len(y) != rows:
		return &ArgError{"len(y)", len(y), fmt.Sprintf("the number of rows, %d", rows)}
	case buffers.Overlap(y, x):
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "a buffer apart from x"}
	}
	return shareRows((*rowCall).logSums, y, x, rows, columns, w)
}

func (c *rowCall) logSums(r *rowRoom, lo, n int) {
	c.exps(r, nil, lo, n)
	for j := range n {
		c.y[lo+j] = float32(float64(r.top[j]) + float64(r.log[j]))
	}
}

// Softmax stores the exponentials of each of so many rows of x, row-major, divided by their
// sum, in y, which is x itself or apart from it. What is below 1e-38 of a row's largest is 0.
// A row of -Inf alone becomes NaN, as one with NaN or +Inf.
func Softmax(y, x []float32, rows int, w Workers) error {
	columns, err := columnsOf(x, rows)
	switch {
	case err != nil:
		return err
	case len(y) != len(x):
		return &ArgError{"len(y)", len(y), fmt.Sprintf("len(x) = %d", len(x))}
	case buffers.Overlap(y, x) && &y[0] != &x[0]:
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "x, or a buffer apart from it"}
	}
	return shareRows((*rowCall).softmax, y, x, rows, columns, w)
}

func (c *rowCall) softmax(r *rowRoom, lo, n int) {
	c.exps(r, c.y, lo, n)
	cells := c.g.cells()
	for j := range n {
		r.scales(j*cells, cells, 1/(1+float64(r.over[j])), 0, 0)
	}
	for b, ok := c.g.first(n), true; ok; b, ok = c.g.next(b) {
		kernels.RowScale(c.k, c.part(c.y, b, lo), r.a[b.cell:][:b.cells], r.b[b.cell:][:b.cells], r.ones[:b.columns])
	}
}

// LogSoftmax stores the logarithms of Softmax of each of so many rows of x, row-major, in y,
// which is x itself or apart from it: the distances from the largest element, less the logarithm
// of the sum of their exponentials.
func LogSoftmax(y, x []float32, rows int, w Workers) error {
	columns, err := columnsOf(x, rows)
	switch {
	case err != nil:
		return err
	case len(y) != len(x):
		return &ArgError{"len(y)", len(y), fmt.Sprintf("len(x) = %d", len(x))}
	case buffers.Overlap(y, x) && &y[0] != &x[0]:
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "x, or a buffer apart from it"}
	}
	return shareRows((*rowCall).logSoftmax, y, x, rows, columns, w)
}

func (c *rowCall) logSoftmax(r *rowRoom, lo, n int) {
	c.exps(r, nil, lo, n)
	cells := c.g.cells()
	for j := range n {
		for i := j * cells; i < (j+1)*cells; i++ {
			r.a[i], r.b[i], r.d[i] = 1, r.top[j], r.log[j]
		}
	}
	for b, ok := c.g.first(n), true; ok; b, ok = c.g.next(b) {
		part, i := c.part(c.y, b, lo), b.cell
		buffers.Copy(part, c.part(c.x, b, lo))
		kernels.RowScale(c.k, part, r.a[i:][:b.cells], r.b[i:][:b.cells], r.ones[:b.columns])
		kernels.RowScale(c.k, part, r.a[i:][:b.cells], r.d[i:][:b.cells], r.ones[:b.columns])
	}
}

// LogSoftmaxGrad makes of grad, the gradient by LogSoftmax's y of so many rows, that by its x:
// less y's probabilities times the row's sum.
func LogSoftmaxGrad(grad, y []float32, rows int, w Workers) error {
	columns, err := columnsOf(y, rows)
	switch {
	case err != nil:
		return err
	case len(grad) != len(y):
		return &ArgError{"len(grad)", len(grad), fmt.Sprintf("len(y) = %d", len(y))}
	case buffers.Overlap(grad, y):
		return &ArgError{"grad", fmt.Sprintf("%d elements at %p", len(grad), grad), "a buffer apart from y"}
	}
	return shareRows((*rowCall).logSoftmaxGrad, grad, y, rows, columns, w)
}

func (c *rowCall) logSoftmaxGrad(r *rowRoom, lo, n int) {
	for b, ok := c.g.first(n), true; ok; b, ok = c.g.next(b) {
		kernels.Dots(c.k, r.weight[b.cell:][:b.cells], c.part(c.y, b, lo), r.ones[:b.columns])
	}
	cells := c.g.cells()
	for j := range n {
		sum := 0.0
		for _, s := range r.weight[j*cells:][:cells] {
			sum += float64(s)
		}
		for i := j * cells; i < (j+1)*cells; i++ {
			r.a[i], r.b[i], r.d[i], r.most[i] = 1, float32(sum), 0, 0
		}
	}
	for b, ok := c.g.first(n), true; ok; b, ok = c.g.next(b) {
		i, e := b.cell, r.unwanted[:b.elements()]
		r.exps(c.k, b, e, c.part(c.x, b, lo))
		kernels.RowTargetsScale(c.k, c.part(c.y, b, lo), e, r.a[i:][:b.cells], r.b[i:][:b.cells], r.d[i:][:b.cells], r.ones[:b.columns])
	}
}

// columnsOf is how many columns a matrix of so many rows has.
func columnsOf(x []float32, rows int) (int, error) {
	if rows == 0 && len(x) == 0 {
		return 1, nil
	}
	if rows <= 0 || len(x) == 0 || len(x)%rows != 0 || len(x)/rows > maxClasses {
		return 0, &ArgError{"len(x)", len(x), fmt.Sprintf("%d rows of 1 to %d elements", rows, maxClasses)}
	}
	return len(x) / rows, nil
}

// A rowCall is a call at work that makes rows of rows, kept for the next one.
type rowCall struct {
	rowCrew
	y, x []float32
	make func(c *rowCall, r *rowRoom, lo, n int)
}

var rowCalls = sync.Pool{New: func() any { return &rowCall{rowCrew: newRowCrew()} }}

// shareRows has workers make y of so many rows of x, n of them from lo on at a time.
func shareRows(of func(c *rowCall, r *rowRoom, lo, n int), y, x []float32, rows, columns int, w Workers) error {
	limit, err := w.limit()
	if err != nil {
		return err
	}
	c := rowCalls.Get().(*rowCall)
	defer c.end()
	c.y, c.x, c.make = y, x, of
	c.pool.Run(c, c.begin(rows, columns, limit), len(x), false)
	return nil
}

// end keeps nothing alive that is the caller's.
func (c *rowCall) end() {
	c.y, c.x = nil, nil
	c.crew.end()
	rowCalls.Put(c)
}

// Do is the rows of a unit.
func (c *rowCall) Do(unit, worker int) {
	r, _ := c.room(worker)
	for lo, end := unit*c.unit, c.endOf(unit); lo < end; lo += c.g.group {
		c.make(c, r, lo, min(c.g.group, end-lo))
	}
}

// part is a block of rows from lo on.
func (c *rowCall) part(x []float32, b block, lo int) []float32 {
	return x[lo*c.columns+b.at:][:b.elements()]
}

// exps stores the exponentials of n rows from lo on in e, or where that is nil nowhere, and what
// is known of each row.
func (c *rowCall) exps(r *rowRoom, e []float32, lo, n int) {
	for b, ok := c.g.first(n), true; ok; b, ok = c.g.next(b) {
		x := c.part(c.x, b, lo)
		to := r.unwanted[:len(x)]
		if e != nil {
			to = c.part(e, b, lo)
		}
		r.largest(c.k, b, x)
		r.exps(c.k, b, to, x)
	}
	cells := c.g.cells()
	for j := range n {
		most, sum := r.join(c.k, j*cells, cells)
		r.top[j], r.over[j] = float32(most), float32(sum-1)
	}
	r.logs(c.k, n)
}
