package loss

import (
	"fmt"
	"math"
	"runtime"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Model says which linear model it is: the loss of a prediction x·w.
type Model uint8

const (
	Squared          Model = iota // (x·w - y)²: linear regression
	Logistic                      // cross-entropy of σ(x·w), y in [0, 1]: logistic regression
	HingeLoss                     // max(1 - y·x·w, 0), y = ±1: linear support vector machine
	SquaredHingeLoss              // max(1 - y·x·w, 0)², y = ±1
	PoissonLoss                   // e^(x·w) - y·x·w, y of at least 0: Poisson regression, with the logarithm as its link
	HuberLoss                     // ½d² or δ·(|d| - ½δ), d = x·w - y: robust regression, see SetDelta
	AbsoluteLoss                  // |x·w - y|: least absolute deviations
	QuantileLoss                  // pinball loss: quantile regression, see SetLevel
	LogCoshLoss                   // log(cosh(x·w - y))
)

// Linear computes the mean loss of a linear model over the rows of a matrix and
// its gradient, in one pass over the matrix.
//
// Up to 256 rows, or 1024 short ones, are added as float32, and these sums as
// float64, in an order that depends on the shape alone: the bits are the same
// for any number of workers. One goroutine at a time may use a Linear, whose
// buffers grow with the matrix; calls that need no more than earlier ones
// allocate nothing.
type Linear struct {
	model     Model
	columns   int
	intercept bool
	labels    Labels
	huber     fallback.HuberScalars
	workers   int

	pool *workers.Pool
	pass pass
	room []*linearRoom // one for each worker
	sums []float64     // by segment: the gradient, then the loss
}

// A linearRoom is a worker's.
type linearRoom struct {
	z, residual, each []float32 // of the rows of a block
	gradient          []float32
	part              [1]float32 // of the prediction of a long row
	bad               int        // the first row whose label is none, or -1
	list              kernels.List

	loss, slope [fallback.Lanes]float64 // sums over a segment

	mse     fallback.MSEScalars
	logits  fallback.BCEWithLogitsScalars
	hinge   fallback.HingeScalars
	poisson fallback.PoissonNLLScalars
	huber   fallback.HuberScalars
	logCosh fallback.LogCoshScalars
	rates   []float32 // of the rows of a block
}

// maxColumns lets the bytes of a few rows be counted.
const maxColumns = math.MaxInt / 64

// NewLinear returns a model of so many columns. With an intercept, w and its
// gradient have one element more, the last one.
func NewLinear(model Model, columns int, intercept bool) (*Linear, error) {
	if model > LogCoshLoss {
		return nil, &ArgError{"model", model, "a model, from Squared to LogCoshLoss"}
	}
	if columns < 0 || columns > maxColumns {
		return nil, &ArgError{"columns", columns, fmt.Sprintf("from 0 to %d", maxColumns)}
	}
	l := &Linear{model: model, columns: columns, intercept: intercept, pool: workers.New(tune.LinearParallel, tune.LinearParallel)}
	switch model {
	case HuberLoss:
		l.huber = huberScalars(1)
	case AbsoluteLoss:
		l.huber = fallback.HuberScalars{Ceiling: 1, Up: 1, Down: 1}
	case QuantileLoss:
		l.huber = quantileScalars(.5)
	}
	l.huber.Scale = 1
	return l, l.SetWorkers(0)
}

// SetDelta sets the difference up to which HuberLoss is half of the square, a finite float32
// above 0; the default is 1. Other models have none, and an error is returned.
func (l *Linear) SetDelta(delta float64) error {
	if l.model != HuberLoss {
		return &ArgError{"model", l.model, "HuberLoss, which has a delta"}
	}
	if err := checkDelta("delta", delta); err != nil {
		return err
	}
	l.huber = huberScalars(float32(delta))
	l.huber.Scale = 1
	return nil
}

// SetLevel sets the quantile that QuantileLoss predicts, between 0 and 1; the default is ½, the
// median. Other models have none, and an error is returned.
func (l *Linear) SetLevel(level float64) error {
	if l.model != QuantileLoss {
		return &ArgError{"model", l.model, "QuantileLoss, which has a level"}
	}
	if err := checkLevel("level", level); err != nil {
		return err
	}
	l.huber = quantileScalars(level)
	l.huber.Scale = 1
	return nil
}

// SetLabels says which labels y has for a hinge model; the default is PlusMinus.
// Other models have no labels, and an error is returned.
func (l *Linear) SetLabels(labels Labels) error {
	if l.model != HingeLoss && l.model != SquaredHingeLoss {
		return &ArgError{"model", l.model, "HingeLoss or SquaredHingeLoss, which have labels"}
	}
	if err := labels.check("labels"); err != nil {
		return err
	}
	l.labels = labels
	return nil
}

// SetWorkers sets how many goroutines Gradient may use at most; 0 means
// runtime.GOMAXPROCS. A matrix of less than 4 MiB is left to one.
func (l *Linear) SetWorkers(n int) error {
	const most = 1 << 12
	if n < 0 || n > most {
		return &ArgError{"n", n, fmt.Sprintf("from 0 to %d", most)}
	}
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), most)
	}
	l.workers = min(n, tune.LinearSegments)
	l.pool.SetLimit(l.workers)
	return nil
}

// Len is the number of parameters: the columns, and the intercept.
func (l *Linear) Len() int {
	if l.intercept {
		return l.columns + 1
	}
	return l.columns
}

// A shape is how x is cut: rows of a block, a run and a segment, and the number
// of segments.
type shape struct{ block, run, segment, segments int }

func (l *Linear) shape(rows int) shape {
	block := l.block()
	run := max(block, tune.LinearRunRows/block*block)
	segment := roundUp(max(tune.LinearSegmentRows, (rows+tune.LinearSegments-1)/tune.LinearSegments), block)
	return shape{block, run, segment, (rows + segment - 1) / segment}
}

// block is how many rows a block has.
func (l *Linear) block() int {
	columns := max(1, l.columns)
	block := max(1, min(tune.LinearBlockRows, tune.LinearBlock/columns))
	if block < tune.LinearLongRows && tune.LinearLongRows*columns <= tune.LinearLong {
		return tune.LinearLongRows
	}
	return block
}

// roundUp is the least multiple of step from n on.
func roundUp(n, step int) int { return (n + step - 1) / step * step }

// Gradient returns the mean loss of w over the rows of x, which is row-major
// with one row for each element of y, and stores its gradient with respect to w
// in grad, which overlaps nothing. The mean over no rows is NaN, and its
// gradient 0, so that a step along it leaves w as it is.
//
// A y that the model has no meaning for is an error: outside [0, 1], not one of
// the two labels, or no finite count. A panic of a worker, such as debug.SetPanicOnFault asks for, is
// the caller's once none is at work any more.
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
	if rows == 0 {
		buffers.Clear(grad)
		return math.NaN(), nil
	}
	s := l.shape(rows)
	l.grow(1)
	if len(x) >= tune.LinearParallel {
		l.grow(l.workers)
	}
	if n := s.segments * l.width(); len(l.sums) < n {
		l.sums = make([]float64, n)
	}
	l.run(s, x, y, w)
	if err := l.labelError(y); err != nil {
		return 0, err
	}

	width := l.width()
	total := l.sums[:width]
	for k := 1; k < s.segments; k++ {
		for j, g := range l.sums[k*width:][:width] {
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
	l.grow(1)
	l.predict(kernels.Active(), x, w, z, l.room[0].part[:], false)
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

// grow makes room for so many workers.
func (l *Linear) grow(workers int) {
	for len(l.room) < workers {
		l.room = append(l.room, &linearRoom{
			z:        make([]float32, l.block()),
			residual: make([]float32, l.block()),
			each:     make([]float32, l.block()),
			gradient: make([]float32, l.columns),
			mse:      fallback.MSEScalars{Scale: 1},
			logits:   fallback.BCEWithLogitsScalars{Scale: 1, Positive: 1, LabelScale: 1},
			poisson:  fallback.PoissonNLLScalars{Scale: 1, Above: float32(math.Inf(1))},
			logCosh:  fallback.LogCoshScalars{Scale: 1},
		})
		if l.model == PoissonLoss {
			l.room[len(l.room)-1].rates = make([]float32, l.block())
		}
	}
}

// A pass is one call of Gradient.
type pass struct {
	l *Linear
	shape
	k       kernels.Table
	x, y, w []float32
	apart   bool
}

// run has the workers fill l.sums.
func (l *Linear) run(s shape, x, y, w []float32) {
	p := &l.pass
	p.l, p.shape, p.k, p.x, p.y, p.w = l, s, kernels.Active(), x, y, w
	p.apart = tune.RowsApart(len(x), l.columns)
	for _, r := range l.room {
		r.hinge, r.huber, r.bad = l.labels.scalars(1), l.huber, -1
	}
	defer l.forget()
	l.pool.Run(p, s.segments, len(x), false)
}

// forget keeps nothing alive that is the caller's.
func (l *Linear) forget() {
	l.pass.x, l.pass.y, l.pass.w = nil, nil, nil
	for _, r := range l.room {
		r.list.Forget()
	}
}

// Do stores the sums of a segment, unless its worker has met a label that is none.
func (p *pass) Do(segment, worker int) {
	if r := p.l.room[worker]; r.bad < 0 {
		p.l.segment(r, segment)
	}
}

// segment stores the sums of a segment.
func (l *Linear) segment(r *linearRoom, s int) {
	p := &l.pass
	sums := l.sums[s*l.width():][:l.width()]
	first, end := s*p.segment, min((s+1)*p.segment, len(p.y))
	buffers.Clear(sums)
	clear(r.loss[:])
	clear(r.slope[:])
	for run := first; run < end; run += p.run {
		buffers.Clear(r.gradient)
		stop := min(run+p.run, end)
		for lo := run; lo < stop; lo += p.block {
			hi := min(lo+p.block, stop)
			if i := l.badLabel(p.y[lo:hi]); i >= 0 {
				r.bad = lo + i
				return
			}
			l.rows(r, lo, hi)
		}
		for j, g := range r.gradient {
			sums[j] += float64(g)
		}
	}
	if l.intercept {
		sums[l.columns] = fallback.Total(&r.slope)
	}
	sums[len(sums)-1] = fallback.Total(&r.loss)
}

// rows adds the gradient and the losses of a block of rows to a worker's sums.
func (l *Linear) rows(r *linearRoom, lo, hi int) {
	k, x, y := l.pass.k, l.pass.x[lo*l.columns:hi*l.columns], l.pass.y[lo:hi]
	z, residual := r.z[:hi-lo], r.residual[:hi-lo]
	l.predict(k, x, l.pass.w, z, r.part[:], l.pass.apart)

	if l.model == PoissonLoss {
		r.list.Set(r.rates[:len(z)], z)
		kernels.Exp(k, &r.list)
		r.list.Set(residual, r.each[:len(z)], r.rates[:len(z)], y, z, y)
	} else {
		r.list.Set(residual, r.each[:len(z)], z, y)
	}
	switch l.model {
	case Squared:
		kernels.MSE(k, &r.list, &r.mse, &r.loss)
	case Logistic:
		kernels.BCEWithLogits(k, &r.list, &r.logits, &r.loss)
	case HingeLoss:
		kernels.Hinge(k, &r.list, &r.hinge, &r.loss)
	case SquaredHingeLoss:
		kernels.SquaredHinge(k, &r.list, &r.hinge, &r.loss)
	case PoissonLoss:
		kernels.PoissonNLL(k, &r.list, &r.poisson, &r.loss)
	case HuberLoss, AbsoluteLoss, QuantileLoss:
		kernels.Huber(k, &r.list, &r.huber, &r.loss)
	case LogCoshLoss:
		kernels.LogCosh(k, &r.list, &r.logCosh, &r.loss)
	}

	for column := 0; column < l.columns; column += kernels.MaxLen {
		g := r.gradient[column:min(column+kernels.MaxLen, l.columns)]
		if len(g) == l.columns {
			kernels.RankOne(k, g, x, residual)
			continue
		}
		for i := range residual {
			kernels.RankOne(k, g, x[i*l.columns+column:][:len(g)], residual[i:i+1])
		}
	}
	if l.intercept {
		r.list.Set(residual)
		kernels.Sum(k, &r.list, &r.slope)
	}
}

// predict stores x·w and the intercept in z, with part as room for a piece of a long
// row. Apart rows are taken one by one, which kernels see to where they are given all
// of a matrix.
func (l *Linear) predict(k kernels.Table, x, w, z, part []float32, apart bool) {
	switch n := l.columns; {
	case n > tune.LinearPiece:
		for i := range z {
			z[i] = longDot(k, x[i*n:(i+1)*n], w[:n], part)
		}
	case apart:
		for i := range z {
			kernels.Dots(k, z[i:i+1], x[i*n:(i+1)*n], w[:n])
		}
	default:
		kernels.Dots(k, z, x, w[:n])
	}
	if l.intercept {
		for i := range z {
			z[i] += w[l.columns]
		}
	}
}

// longDot is the product of a row that is added up in pieces.
func longDot(k kernels.Table, x, w, part []float32) float32 {
	sum := 0.0
	for lo := 0; lo < len(x); lo += tune.LinearPiece {
		hi := min(lo+tune.LinearPiece, len(x))
		kernels.Dots(k, part, x[lo:hi], w[lo:hi])
		sum += float64(part[0])
	}
	return float32(sum)
}

// badLabel is the index of the first y that the model has no meaning for, or -1.
// The conditions have no part that is a coin's toss for good labels.
func (l *Linear) badLabel(y []float32) int {
	switch {
	case l.model == Squared || l.model > PoissonLoss:
	case l.model == PoissonLoss:
		for i, v := range y {
			if !(v >= 0 && v <= math.MaxFloat32) {
				return i
			}
		}
	case l.model == Logistic:
		for i, v := range y {
			if !(v >= 0 && v <= 1) {
				return i
			}
		}
	case l.labels == ZeroOne:
		for i, v := range y {
			if (v-1)*v != 0 {
				return i
			}
		}
	default:
		for i, v := range y {
			if v*v != 1 {
				return i
			}
		}
	}
	return -1
}

// labelError names the first of the bad labels that the workers met. Segments are
// taken in order, and so no row before it was left out.
func (l *Linear) labelError(y []float32) error {
	bad := -1
	for _, r := range l.room {
		if r.bad >= 0 && (bad < 0 || r.bad < bad) {
			bad = r.bad
		}
	}
	if bad < 0 {
		return nil
	}
	want := "1 or -1, or as SetLabels says"
	switch {
	case l.model == Logistic:
		want = "a probability, from 0 to 1"
	case l.model == PoissonLoss:
		want = "a count, finite and at least 0"
	case l.labels == ZeroOne:
		want = "1 or 0"
	}
	return &ArgError{fmt.Sprintf("y[%d]", bad), y[bad], want}
}
