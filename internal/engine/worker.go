package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Worker is what a goroutine at work has for itself.
type Worker struct {
	list    kernels.List
	buffers [8][]float32
	kept    [8][]float32
	matrix  Matrix
	sums    Sums
	block   []float32
	room    []float32
	still   []float32   // -0
	moves   []float32   // steps of a cautious rule, and copies of its state
	ready   []int       // units to sum up
	shards  []shard     // of the range at work
	joined  []float32   // a block of parameters in 16 bits
	widened []float32   // blocks of shards that are not of float32
	calls   []any       // of calls that make scalars of rows
	rows    [][]float32 // buffers of rows, and what is flushed of them
	flushed flushed

	lanes       [fallback.Lanes]float64 // of a row
	noise       fallback.NoiseScalars
	adding      adding
	approaching approaching
	fusing      fusing
	agrees      fallback.AgreeScalars
	cautious    fallback.CautiousScalars
	row         rowState
	packs       packRoom
	long        bool // a row is longer than a block, and row is of it
}

// Forget lets go of the caller's buffers, which are not ours to keep alive.
func (w *Worker) Forget() {
	w.list.Forget()
	clear(w.buffers[:])
	clear(w.kept[:])
	w.matrix = Matrix{}
	w.forgetShards()
	clear(w.adding.terms[:])
	clear(w.rows[:cap(w.rows)])
	w.rows = w.rows[:0]
	w.flushed.forget()
	w.fusing = fusing{}
}

// rooms are five blocks for the stages before a kernel: two for the sum of shards, one for
// what is centered, two for what is clipped and regularized.
func (w *Worker) rooms(n int) []float32 { return w.scratch(5 * n) }

// scratch is a block that stays in the cache.
func (w *Worker) scratch(n int) []float32 {
	if len(w.block) < n {
		w.block = make([]float32, max(n, tune.BlockLen))
	}
	return w.block[:n]
}

// rowRoom is a row's room for a kernel that sums by column.
func (w *Worker) rowRoom(n int) []float32 {
	if len(w.room) < n {
		w.room = make([]float32, n)
	}
	return w.room[:n]
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
	m.Columns, m.Sums, m.slots, m.calls = t.columns(), &w.sums, g.State, &w.calls
	first, end := lo/m.Columns, hi/m.Columns
	m.Rows, m.State, m.PerTensor = end-first, w.buffers[:0], w.kept[:0]
	for j, s := range t.State {
		switch g.State[j].Extent {
		case PerElement:
			s = s[lo:hi]
		case PerRow:
			s = s[first:end]
		case PerTensor:
			m.PerTensor = append(m.PerTensor, s)
		}
		m.State = append(m.State, s)
	}
}
