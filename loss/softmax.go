package loss

import (
	"fmt"
	"sync"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// LogSumExp stores the logarithm of the sum of the exponentials of each of so many rows of x,
// row-major, in y: the largest element and the logarithm of what all are beside it. A row of
// -Inf alone has -Inf, one with NaN or +Inf has NaN.
func LogSumExp(y, x []float32, rows int) error {
	columns, err := columnsOf(x, rows)
	switch {
	case err != nil:
		return err
	case len(y) != rows:
		return &ArgError{"len(y)", len(y), fmt.Sprintf("the number of rows, %d", rows)}
	case buffers.Overlap(y, x):
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "a buffer apart from x"}
	}
	eachGroup(nil, x, rows, columns, func(r *rowRoom, lo, n int) {
		for j := range n {
			y[lo+j] = float32(float64(r.top[j]) + float64(r.log[j]))
		}
	})
	return nil
}

// Softmax stores the exponentials of each of so many rows of x, row-major, divided by their
// sum, in y, which is x itself or apart from it. What is below 1e-38 of a row's largest is 0.
// A row of -Inf alone becomes NaN, as one with NaN or +Inf.
func Softmax(y, x []float32, rows int) error {
	columns, err := columnsOf(x, rows)
	switch {
	case err != nil:
		return err
	case len(y) != len(x):
		return &ArgError{"len(y)", len(y), fmt.Sprintf("len(x) = %d", len(x))}
	case buffers.Overlap(y, x) && &y[0] != &x[0]:
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "x, or a buffer apart from it"}
	}
	g, k := newGrid(columns), kernels.Active()
	cells := g.cells()
	eachGroup(y, x, rows, columns, func(r *rowRoom, lo, n int) {
		for j := range n {
			r.scales(j*cells, cells, 1/(1+float64(r.over[j])), 0, 0)
		}
		for b, ok := g.first(n), true; ok; b, ok = g.next(b) {
			kernels.RowScale(k, y[lo*columns+b.at:][:b.elements()], r.a[b.cell:][:b.cells], r.b[b.cell:][:b.cells], r.ones[:b.columns])
		}
	})
	return nil
}

// LogSoftmax stores the logarithms of Softmax of each of so many rows of x, row-major, in y,
// which is x itself or apart from it: the distances from the largest element, less the logarithm
// of the sum of their exponentials.
func LogSoftmax(y, x []float32, rows int) error {
	columns, err := columnsOf(x, rows)
	switch {
	case err != nil:
		return err
	case len(y) != len(x):
		return &ArgError{"len(y)", len(y), fmt.Sprintf("len(x) = %d", len(x))}
	case buffers.Overlap(y, x) && &y[0] != &x[0]:
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "x, or a buffer apart from it"}
	}
	g, k := newGrid(columns), kernels.Active()
	cells := g.cells()
	eachGroup(nil, x, rows, columns, func(r *rowRoom, lo, n int) {
		for j := range n {
			for c := j * cells; c < (j+1)*cells; c++ {
				r.a[c], r.b[c], r.d[c] = 1, r.top[j], r.log[j]
			}
		}
		for b, ok := g.first(n), true; ok; b, ok = g.next(b) {
			at, c := lo*columns+b.at, b.cell
			part := y[at:][:b.elements()]
			buffers.Copy(part, x[at:][:len(part)])
			kernels.RowScale(k, part, r.a[c:][:b.cells], r.b[c:][:b.cells], r.ones[:b.columns])
			kernels.RowScale(k, part, r.a[c:][:b.cells], r.d[c:][:b.cells], r.ones[:b.columns])
		}
	})
	return nil
}

// LogSoftmaxGrad makes of grad, the gradient by LogSoftmax's y of so many rows, that by its x:
// less y's probabilities times the row's sum.
func LogSoftmaxGrad(grad, y []float32, rows int) error {
	columns, err := columnsOf(y, rows)
	switch {
	case err != nil:
		return err
	case len(grad) != len(y):
		return &ArgError{"len(grad)", len(grad), fmt.Sprintf("len(y) = %d", len(y))}
	case buffers.Overlap(grad, y):
		return &ArgError{"grad", fmt.Sprintf("%d elements at %p", len(grad), grad), "a buffer apart from y"}
	}
	g, k := newGrid(columns), kernels.Active()
	r := roomOf(g)
	defer rowRooms.Put(r)
	cells := g.cells()
	for lo := 0; lo < rows; lo += g.group {
		n := min(g.group, rows-lo)
		for b, ok := g.first(n), true; ok; b, ok = g.next(b) {
			kernels.Dots(k, r.weight[b.cell:][:b.cells], grad[lo*columns+b.at:][:b.elements()], r.ones[:b.columns])
		}
		for j := range n {
			sum := 0.0
			for _, s := range r.weight[j*cells:][:cells] {
				sum += float64(s)
			}
			for c := j * cells; c < (j+1)*cells; c++ {
				r.a[c], r.b[c], r.d[c], r.most[c] = 1, float32(sum), 0, 0
			}
		}
		for b, ok := g.first(n), true; ok; b, ok = g.next(b) {
			at, c := lo*columns+b.at, b.cell
			e := r.unwanted[:b.elements()]
			r.exps(k, b, e, y[at:][:len(e)])
			kernels.RowTargetsScale(k, grad[at:][:len(e)], e, r.a[c:][:b.cells], r.b[c:][:b.cells], r.d[c:][:b.cells], r.ones[:b.columns])
		}
	}
	return nil
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

var rowRooms sync.Pool

// roomOf is a room for a grid, an earlier one if it is large enough.
func roomOf(g grid) *rowRoom {
	if r, _ := rowRooms.Get().(*rowRoom); r != nil && len(r.most) >= g.cells() {
		return r
	}
	return makeRoom(max(tune.RowGroup, g.cells()), tune.RowGroup, tune.RowBlock)
}

// eachGroup stores the exponentials of groups of rows in e, or where that is nil nowhere, and
// calls done with what is known of the n rows from lo on.
func eachGroup(e, x []float32, rows, columns int, done func(r *rowRoom, lo, n int)) {
	g, k := newGrid(columns), kernels.Active()
	r := roomOf(g)
	defer rowRooms.Put(r)
	defer r.forget()
	cells := g.cells()
	for lo := 0; lo < rows; lo += g.group {
		n := min(g.group, rows-lo)
		for b, ok := g.first(n), true; ok; b, ok = g.next(b) {
			part := x[lo*columns+b.at:][:b.elements()]
			to := r.unwanted[:len(part)]
			if e != nil {
				to = e[lo*columns+b.at:][:len(part)]
			}
			r.largest(k, b, part)
			r.exps(k, b, to, part)
		}
		for j := range n {
			most, sum := r.join(k, j*cells, cells)
			r.top[j], r.over[j] = float32(most), float32(sum-1)
		}
		r.logs(k, n)
		done(r, lo, n)
	}
}
