package loss

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Model says which linear model it is: the loss of a prediction x·w.
type Model uint8

const (
	Squared          Model = iota // (x·w - y)²: linear regression
	Logistic                      // cross-entropy of σ(x·w), y in [0, 1]: logistic regression
	HingeLoss                     // max(1 - y·x·w, 0), y = ±1: linear support vector machine
	SquaredHingeLoss              // max(1 - y·x·w, 0)², y = ±1
)

// Linear computes the mean loss of a linear model over the rows of a matrix and
// its gradient, in one pass over the matrix.
//
// Rows are added in blocks whose size depends on the shape alone, as float32
// within a block and as float64 from there on, in order: the bits are the same
// for any number of workers. One goroutine at a time may use a Linear, whose
// buffers grow with the matrix.
type Linear struct {
	model     Model
	columns   int
	intercept bool
	workers   int

	blocks []linearBlock // one for each worker
	sums   []float64     // by segment: the gradient, then the loss
}

// A linearBlock is a worker's room for one block of rows.
type linearBlock struct {
	z, residual []float32 // by row
	gradient    []float32
}

// NewLinear returns a model of so many columns. With an intercept, w and its
// gradient have one element more, the last one.
func NewLinear(model Model, columns int, intercept bool) (*Linear, error) {
	if model > SquaredHingeLoss {
		return nil, &ArgError{"model", model, "Squared, Logistic, HingeLoss or SquaredHingeLoss"}
	}
	if columns < 0 {
		return nil, &ArgError{"columns", columns, "at least 0"}
	}
	l := &Linear{model: model, columns: columns, intercept: intercept}
	return l, l.SetWorkers(0)
}

// SetWorkers sets how many goroutines Gradient may use at most; 0 means
// runtime.GOMAXPROCS.
func (l *Linear) SetWorkers(n int) error {
	if n < 0 {
		return &ArgError{"n", n, "at least 0"}
	}
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	l.workers = n
	return nil
}

// Len is the number of parameters: the columns, and the intercept.
func (l *Linear) Len() int {
	if l.intercept {
		return l.columns + 1
	}
	return l.columns
}

const (
	// blockElements is the most elements of a block of rows, which is read
	// twice and so should stay in the L2 cache between.
	blockElements = 16 << 10
	blockRows     = 1024

	// segments is the most parts whose gradients are added at the end, each
	// of at least segmentRows rows, so that the parts are small beside x.
	segments    = 64
	segmentRows = 16

	// parallelElements is the size of x from which on a second goroutine pays.
	parallelElements = 1 << 20
)

// shape is how many rows a block and a segment have.
func (l *Linear) shape(rows int) (block, segment int) {
	block = min(blockRows, max(1, blockElements/max(1, l.columns)))
	segment = max(segmentRows, (rows+segments-1)/segments)
	return block, (segment + block - 1) / block * block
}

// Gradient returns the mean loss of w over the rows of x, which is row-major
// with one row for each element of y, and stores its gradient with respect to w
// in grad. The mean over no rows is NaN.
func (l *Linear) Gradient(x, y, w, grad []float32) (float64, error) {
	if err := l.check(x, y, w); err != nil {
		return 0, err
	}
	if len(grad) != l.Len() {
		return 0, &ArgError{"len(grad)", len(grad), fmt.Sprintf("the number of parameters, %d", l.Len())}
	}
	for k, s := range [][]float32{x, y, w} {
		if buffers.Overlap(grad, s) {
			return 0, &ArgError{"grad", fmt.Sprintf("%d elements at %p", len(grad), grad), "a buffer apart from " + "xyw"[k:k+1]}
		}
	}
	rows := len(y)
	block, segment := l.shape(rows)
	count := (rows + segment - 1) / segment
	workers := 1
	if len(x) >= parallelElements {
		workers = min(l.workers, count)
	}
	l.room(workers, block, count)

	pass := pass{Linear: l, k: kernels.Active(), x: x, y: y, w: w, block: block, segment: segment, count: count}
	for k := 1; k < workers; k++ {
		pass.running.Add(1)
		go func() {
			defer pass.running.Done()
			pass.work(&l.blocks[k])
		}()
	}
	pass.work(&l.blocks[0])
	pass.running.Wait()

	width := l.width()
	total := l.sums[:width]
	for s := 1; s < count; s++ {
		for j, g := range l.sums[s*width:][:width] {
			total[j] += g
		}
	}
	scale := 1 / float64(rows)
	for j := range grad {
		grad[j] = float32(total[j] * scale)
	}
	return total[width-1] * scale, nil
}

// Predict stores x·w, the intercept included, for each row of x in z.
func (l *Linear) Predict(x, w, z []float32) error {
	if err := l.check(x, z, w); err != nil {
		return err
	}
	if buffers.Overlap(z, x) || buffers.Overlap(z, w) {
		return &ArgError{"z", fmt.Sprintf("%d elements at %p", len(z), z), "a buffer apart from x and w"}
	}
	l.predict(kernels.Active(), x, w, z, nil)
	return nil
}

func (l *Linear) check(x, y, w []float32) error {
	if len(w) != l.Len() {
		return &ArgError{"len(w)", len(w), fmt.Sprintf("the number of parameters, %d", l.Len())}
	}
	if len(x) != len(y)*l.columns {
		return &ArgError{"len(x)", len(x), fmt.Sprintf("%d rows of %d columns", len(y), l.columns)}
	}
	return nil
}

// width is the number of sums of a segment: the gradient and the loss.
func (l *Linear) width() int { return l.Len() + 1 }

// room makes the buffers large enough.
func (l *Linear) room(workers, block, segments int) {
	for len(l.blocks) < workers {
		l.blocks = append(l.blocks, linearBlock{})
	}
	for k := range l.blocks[:workers] {
		b := &l.blocks[k]
		if len(b.z) < block {
			b.z, b.residual = make([]float32, block), make([]float32, block)
		}
		if b.gradient == nil {
			b.gradient = make([]float32, l.columns)
		}
	}
	n := max(1, segments) * l.width()
	if cap(l.sums) < n {
		l.sums = make([]float64, n)
	}
	l.sums = l.sums[:n]
	clear(l.sums)
}

// A pass is one call of Gradient.
type pass struct {
	*Linear
	k              *kernels.Table
	x, y, w        []float32
	block, segment int // rows
	count          int // segments
	next           atomic.Int64
	running        sync.WaitGroup
}

// work takes segments until none is left.
func (p *pass) work(b *linearBlock) {
	for {
		s := int(p.next.Add(1)) - 1
		if s >= p.count {
			return
		}
		sums := p.sums[s*p.width():][:p.width()]
		end := min((s+1)*p.segment, len(p.y))
		for lo := s * p.segment; lo < end; lo += p.block {
			p.rows(b, lo, min(lo+p.block, end), sums)
		}
	}
}

// rows adds the gradient and the loss of a block of rows to sums.
func (p *pass) rows(b *linearBlock, lo, hi int, sums []float64) {
	x, y := p.x[lo*p.columns:hi*p.columns], p.y[lo:hi]
	z, r := b.z[:hi-lo], b.residual[:hi-lo]
	p.predict(p.k, x, p.w, z, r)

	var lanes [fallback.Lanes]float64
	switch p.model {
	case Squared:
		p.k.MSE(r, z, y, &fallback.MSEScalars{Scale: 1}, &lanes)
	case Logistic:
		p.k.BCEWithLogits(r, z, y, &fallback.BCEWithLogitsScalars{Scale: 1, Positive: 1}, &lanes)
	case HingeLoss:
		p.k.Hinge(r, z, y, &fallback.HingeScalars{Scale: 1, LabelScale: 1}, &lanes)
	case SquaredHingeLoss:
		p.k.SquaredHinge(r, z, y, &fallback.SquaredHingeScalars{Scale: 1, LabelScale: 1}, &lanes)
	}
	sums[len(sums)-1] += fallback.Total(&lanes)

	clear(b.gradient)
	for column := 0; column < p.columns; column += kernels.MaxLen {
		g := b.gradient[column:min(column+kernels.MaxLen, p.columns)]
		if len(g) == p.columns {
			p.k.RankOne(g, x, r)
			continue
		}
		for i := range r {
			p.k.RankOne(g, x[i*p.columns+column:][:len(g)], r[i:i+1])
		}
	}
	for j, g := range b.gradient {
		sums[j] += float64(g)
	}
	if p.intercept {
		lanes = [fallback.Lanes]float64{}
		p.k.Sum(r, &lanes)
		sums[p.columns] += fallback.Total(&lanes)
	}
}

// predict stores x·w and the intercept in z. A row of more than kernels.MaxLen
// columns is added up in parts of that size, with one's room in part.
func (l *Linear) predict(k *kernels.Table, x, w, z, part []float32) {
	if l.columns <= kernels.MaxLen {
		k.Dots(z, x, w[:l.columns])
	} else {
		if part == nil {
			part = make([]float32, 1)
		}
		for i := range z {
			z[i] = 0
			for column := 0; column < l.columns; column += kernels.MaxLen {
				end := min(column+kernels.MaxLen, l.columns)
				k.Dots(part[:1], x[i*l.columns:][column:end], w[column:end])
				z[i] += part[0]
			}
		}
	}
	if l.intercept {
		for i := range z {
			z[i] += w[l.columns]
		}
	}
}
