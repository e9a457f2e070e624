package engine

import (
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Worker is what a goroutine at work has for itself.
type Worker struct {
	list    kernels.List
	buffers [8][]float32
	matrix  Matrix
	sums    Sums
	block   []float32
}

// Forget lets go of the caller's buffers, which are not ours to keep alive.
func (w *Worker) Forget() {
	w.list.Forget()
	clear(w.buffers[:])
	w.matrix = Matrix{}
}

// scratch is a block that stays in the cache.
func (w *Worker) scratch(n int) []float32 {
	if len(w.block) < n {
		w.block = make([]float32, max(n, tune.BlockLen))
	}
	return w.block[:n]
}

// pick is the buffers that a pass takes.
func (w *Worker) pick(buffers []int, t *tensor, lo, hi int, p, grad []float32) [][]float32 {
	list := w.buffers[:0]
	for _, b := range buffers {
		switch b {
		case 0:
			list = append(list, p)
		case 1:
			list = append(list, grad)
		default:
			list = append(list, t.State[b-2][lo:hi])
		}
	}
	return list
}

// setMatrix makes the rows from element lo to hi what a kernel sees.
func (w *Worker) setMatrix(g *group, t *tensor, lo, hi int) {
	m := &w.matrix
	m.Columns, m.Sums = t.columns(), &w.sums
	first, end := lo/m.Columns, hi/m.Columns
	m.Rows, m.State = end-first, w.buffers[:0]
	for j, s := range t.State {
		switch g.State[j].Extent {
		case PerElement:
			s = s[lo:hi]
		case PerRow:
			s = s[first:end]
		}
		m.State = append(m.State, s)
	}
}
