package loss

import (
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// An EmptyMean is the mean over rows none of which counts. Its gradient is 0.
type EmptyMean uint8

const (
	EmptyNaN  EmptyMean = iota // NaN, as of PyTorch
	EmptyZero                  // 0
)

// TorchIgnore is the label that PyTorch ignores.
const TorchIgnore = -100

// Label is a label for CrossEntropyOptions.
func Label(y int64) *int64 { return &y }

// CrossEntropyOptions say which cross-entropy it is. The zero value is PyTorch's default
// but for the label that is ignored.
type CrossEntropyOptions struct {
	// Reduction is Mean, Sum, None or BatchMean. The mean of labels is over the sum of the weights
	// of the classes of all rows that are not ignored, the mean of targets over the rows, and
	// BatchMean over all rows.
	Reduction Reduction

	// Weights are factors of the classes' losses, finite and at least 0, as many as there
	// are classes. Nil stands for 1 each. What has the weight 0 costs nothing.
	Weights []float32

	// Ignore is a label, which may be none of the classes, whose rows cost nothing and have
	// the gradient 0, whatever their logits are. Nil stands for none; PyTorch's is
	// Label(TorchIgnore).
	Ignore *int64

	// Smoothing is the part of each target, from 0 to 1, that is spread evenly over all
	// classes.
	Smoothing float64

	// ZLoss times the square of the logarithm of the sum of exponentials is added to the
	// loss of each row, at least 0.
	ZLoss float64

	EmptyMean EmptyMean
}

// CrossEntropy is the cross-entropy of the softmax of each row of a matrix of logits, and
// its gradient. With labels y, the losses are
//
//	(1-s)·w[y]·(l - z[y]) + (s/classes)·Σ w[c]·(l - z[c]) + ZLoss·l², l = log Σ e^z[c]
//
// and with targets t in their place Σ w[c]·t'[c]·(l - z[c]) + ZLoss·l², t' = (1-s)·t +
// s/classes: s is the smoothing and w the weights.
//
// The gradient of the label is not a difference from 1, so that both are right to some units
// in the last place however sure the prediction is. A probability below 1e-38 of a row's
// largest counts as 0. A row with NaN or +Inf, or of -Inf alone, has the loss and gradient
// NaN; other -Inf have the probability 0.
//
// Logits are read from memory once. Exponentials are computed once, below the largest logit
// of the row, or of a piece of 1024 of a row of more than 4096, in the gradient's buffer,
// and added in an order that depends on the number of classes alone; losses are added as
// float64, in an order that depends on the shape alone. The bits are the same for any
// number of workers. One goroutine at a time may use a CrossEntropy, whose buffers grow with
// the rows; calls that need no more than earlier ones allocate nothing.
type CrossEntropy struct {
	kind     rowKind
	classes  int
	options  CrossEntropyOptions
	weights  []float32 // of the classes, nil if all are 1
	weightOf float64   // the sum of the weights
	grid     grid
	workers  int

	pool  *workers.Pool
	pass  rowsPass
	rooms []*rowRoom
	sums  [tune.RowParts]float64 // of each unit's losses
}

// maxClasses lets what is known of a row's cells be in a thread's stack, in C.
const maxClasses = 1 << 20

// NewCrossEntropy returns a cross-entropy over so many classes, from 1 to 1048576.
func NewCrossEntropy(classes int, o CrossEntropyOptions) (*CrossEntropy, error) {
	l := new(CrossEntropy)
	if err := l.init(classes, o); err != nil {
		return nil, err
	}
	return l, nil
}

// init makes what losses of rows have in common.
func (l *CrossEntropy) init(classes int, o CrossEntropyOptions) error {
	switch {
	case classes < 1 || classes > maxClasses:
		return &ArgError{"classes", classes, fmt.Sprintf("from 1 to %d", maxClasses)}
	case o.Reduction > BatchMean:
		return &ArgError{"Reduction", o.Reduction, "Mean, Sum, None or BatchMean"}
	case o.EmptyMean > EmptyZero:
		return &ArgError{"EmptyMean", o.EmptyMean, "EmptyNaN or EmptyZero"}
	case o.Weights != nil && len(o.Weights) != classes:
		return &ArgError{"len(Weights)", len(o.Weights), fmt.Sprintf("the number of classes, %d", classes)}
	case !(o.Smoothing >= 0 && o.Smoothing <= 1):
		return &ArgError{"Smoothing", o.Smoothing, "from 0 to 1"}
	}
	if err := checkCoefficient("ZLoss", o.ZLoss); err != nil {
		return err
	}
	*l = CrossEntropy{kind: l.kind, classes: classes, options: o, weights: slices.Clone(o.Weights), weightOf: float64(classes), grid: newGrid(classes)}
	if o.Weights != nil {
		l.weightOf = 0
		for i, w := range l.weights {
			if err := checkWeight("Weights", i, w); err != nil {
				return err
			}
			l.weightOf += float64(w)
		}
	}
	if o.Ignore != nil {
		l.options.Ignore = Label(*o.Ignore)
	}
	l.pool = newPool()
	return l.SetWorkers(0)
}

func checkWeight(arg string, i int, w float32) error {
	if w >= 0 && w <= math.MaxFloat32 {
		return nil
	}
	return &ArgError{fmt.Sprintf("%s[%d]", arg, i), w, "a finite number of at least 0"}
}

// SetWorkers sets how many goroutines Eval may use at most; 0 means runtime.GOMAXPROCS.
// Logits of less than 1 MiB are left to one.
func (l *CrossEntropy) SetWorkers(n int) error {
	const most = 1 << 12
	if n < 0 || n > most {
		return &ArgError{"n", n, fmt.Sprintf("from 0 to %d", most)}
	}
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), most)
	}
	l.workers = n
	l.pool.SetLimit(n)
	return nil
}

// Rows are the buffers of a call.
type Rows struct {
	Logits []float32 // rows × classes, row-major

	// One of these says what is right.
	Labels  []int64   // the class of each row, from 0, or the label that is ignored
	Targets []float32 // the probability of each class in each row, rows × classes; they need not add up to 1

	Weights []float32 // factors of the rows' losses, finite and at least 0; nil stands for 1 each. No mean is divided by them
	Grad    []float32 // receives the gradient: Logits itself, or apart from all others; nil if it is not wanted
	Each    []float32 // receives the rows' losses, apart from all others; may be nil unless the reduction is None
	Scale   *float64  // factor of the gradient: see Weight. Nil stands for 1
}

// Eval returns the loss of some rows, of which it stores the gradient, that of Sum if the
// reduction is None, whose result is the sum. A label that is neither a class nor ignored is
// an error. A panic of a worker, such as debug.SetPanicOnFault asks for, is the caller's
// once none is at work any more.
func (l *CrossEntropy) Eval(b Rows) (float64, error) {
	rows := len(b.Labels)
	if b.Targets != nil {
		rows = len(b.Targets) / l.classes
	}
	if err := l.check(b, rows); err != nil {
		return 0, err
	}
	divisor, err := l.divisor(b, rows)
	if err != nil {
		return 0, err
	}
	scale := 1.0
	if b.Scale != nil {
		scale = *b.Scale
	}
	if divisor == 0 {
		buffers.Clear(b.Grad)
		buffers.Clear(b.Each)
		if l.options.EmptyMean == EmptyZero {
			return 0, nil
		}
		return math.NaN(), nil
	}
	return l.run(b, rows, scale/divisor) / divisor, nil
}

// divisor is what the sum of the losses is divided by: 0 if it is a mean over nothing. It
// checks the labels.
func (l *CrossEntropy) divisor(b Rows, rows int) (float64, error) {
	if b.Targets != nil {
		return l.options.Reduction.over(rows, float64(rows)), nil
	}
	ignored, ignore := int64(0), l.options.Ignore != nil
	if ignore {
		ignored = *l.options.Ignore
	}
	sum := 0.0
	for i, y := range b.Labels {
		switch {
		case ignore && y == ignored:
		case uint64(y) >= uint64(l.classes):
			want := fmt.Sprintf("a class, from 0 to %d", l.classes-1)
			if ignore {
				want += fmt.Sprintf(", or %d, which is ignored", ignored)
			}
			return 0, &ArgError{fmt.Sprintf("Labels[%d]", i), y, want}
		case l.weights == nil || l.kind.countsRows():
			sum++
		default:
			sum += float64(l.weights[y])
		}
	}
	return l.options.Reduction.over(rows, sum), nil
}

// over is what the sum of so many rows' losses is divided by, of which so many count.
func (r Reduction) over(rows int, counting float64) float64 {
	switch r {
	case Mean:
		return counting
	case BatchMean:
		return float64(rows)
	}
	return 1
}

func (l *CrossEntropy) check(b Rows, rows int) error {
	n := rows * l.classes
	switch {
	case b.Targets != nil && l.kind.model != ofCrossEntropy && l.kind.model != SoftmaxFocal:
		return &ArgError{"Targets", fmt.Sprintf("%d elements", len(b.Targets)), "nil: the loss is of labels"}
	case b.Labels != nil && b.Targets != nil:
		return &ArgError{"Targets", fmt.Sprintf("%d elements", len(b.Targets)), "nil beside labels"}
	case len(b.Logits) != n || len(b.Targets) != 0 && len(b.Targets) != n:
		return &ArgError{"len(Logits)", len(b.Logits), fmt.Sprintf("%d rows of %d classes", rows, l.classes)}
	case b.Weights != nil && len(b.Weights) != rows:
		return &ArgError{"len(Weights)", len(b.Weights), fmt.Sprintf("the number of rows, %d", rows)}
	case b.Grad != nil && len(b.Grad) != n:
		return &ArgError{"len(Grad)", len(b.Grad), fmt.Sprintf("len(Logits) = %d", n)}
	case b.Each != nil && len(b.Each) != rows:
		return &ArgError{"len(Each)", len(b.Each), fmt.Sprintf("the number of rows, %d", rows)}
	case l.options.Reduction == None && b.Each == nil && rows > 0:
		return &ArgError{"Each", "nil", "a buffer for the losses"}
	}
	for i, w := range b.Weights {
		if err := checkWeight("Weights", i, w); err != nil {
			return err
		}
	}
	names, all := [...]string{"Each", "Grad", "Logits", "Targets", "Weights"}, [...][]float32{b.Each, b.Grad, b.Logits, b.Targets, b.Weights}
	for k, out := range all[:2] {
		for j := k + 1; j < len(all); j++ {
			if k == 1 && j == 2 && len(out) > 0 && &out[0] == &b.Logits[0] { // in place
				continue
			}
			if buffers.Overlap(out, all[j]) {
				return &ArgError{names[k], fmt.Sprintf("%d elements at %p", len(out), out), "a buffer apart from " + names[j]}
			}
		}
	}
	return nil
}

// A rowsPass is one call of Eval.
type rowsPass struct {
	l     *CrossEntropy
	k     kernels.Table
	b     Rows
	rows  int
	unit  int     // rows of one
	scale float64 // of the gradient
	keep  float64 // 1 less the smoothing
	each  float64 // the smoothing's part of each class
}

// run has the workers store what is wanted and returns the sum of the losses.
func (l *CrossEntropy) run(b Rows, rows int, scale float64) float64 {
	p := &l.pass
	*p = rowsPass{l: l, k: kernels.Active(), b: b, rows: rows, scale: scale, unit: rowUnit(rows, l.classes)}
	p.keep, p.each = 1-l.options.Smoothing, l.options.Smoothing/float64(l.classes)
	units := (rows + p.unit - 1) / p.unit
	room := 1
	if len(b.Logits) >= tune.ParallelLen {
		room = l.workers
	}
	for len(l.rooms) < room {
		l.rooms = append(l.rooms, l.newRoom())
	}
	defer l.forget()
	l.pool.Run(p, units, len(b.Logits), false)
	sum := 0.0
	for _, s := range l.sums[:units] {
		sum += s
	}
	return sum
}

func (l *CrossEntropy) forget() {
	l.pass.b = Rows{}
	for _, r := range l.rooms {
		r.forget()
	}
}

// Do is the rows of a unit.
func (p *rowsPass) Do(unit, worker int) {
	r := p.l.rooms[worker]
	sum := 0.0
	end := min((unit+1)*p.unit, p.rows)
	for lo := unit * p.unit; lo < end; lo += p.l.grid.group {
		sum += p.losses(r, lo, min(lo+p.l.grid.group, end))
	}
	p.l.sums[unit] = sum
}

// spreads reports whether a row's loss is of all its classes and not of its label's alone.
func (p *rowsPass) spreads() bool { return p.b.Targets != nil || p.l.options.Smoothing > 0 }

// skips reports whether a row costs nothing.
func (p *rowsPass) skips(row int) bool {
	if p.b.Weights != nil && p.b.Weights[row] == 0 {
		return true
	}
	if p.b.Targets != nil {
		return false
	}
	y := p.b.Labels[row]
	return p.l.options.Ignore != nil && y == *p.l.options.Ignore || p.l.kind.model != ofCrossEntropy && !p.spreads() && p.l.weights != nil && p.l.weights[y] == 0
}

// group is the rows from lo to hi, in one go while they are in the caches.
func (p *rowsPass) group(r *rowRoom, lo, hi int) float64 {
	n, cells := hi-lo, p.l.grid.cells()
	if n == 1 && p.skips(lo) {
		p.clear(lo)
		return 0
	}
	for j := range n {
		r.rest[j] = -1
	}
	p.exps(r, lo, n)
	for j := range n {
		most, sum := r.join(p.k, j*cells, cells)
		over := sum - 1
		if r.exact(j) {
			over = r.restOf(j, j*cells, cells)
		}
		r.top[j], r.over[j] = float32(most), float32(over)
	}
	r.logs(p.k, n)
	if p.l.kind.model == SoftmaxFocal {
		p.focus(r, lo, n)
	}
	total := 0.0
	for j := range n {
		if p.skips(lo + j) {
			p.clear(lo + j)
			r.scales(j*cells, cells, 0, 0, 0)
			continue
		}
		if p.l.kind.model == SoftmaxFocal {
			total += p.focalRow(r, lo+j, j)
		} else {
			total += p.row(r, lo+j, j)
		}
	}
	if p.b.Grad != nil {
		p.gradient(r, lo, n)
	}
	return total
}

// clear is what a row leaves that costs nothing.
func (p *rowsPass) clear(row int) {
	if p.b.Grad != nil {
		buffers.Clear(p.b.Grad[row*p.l.classes:][:p.l.classes])
	}
	if p.b.Each != nil {
		p.b.Each[row] = 0
	}
}

// exps stores the exponentials of n rows from lo on, and what is known of their cells.
func (p *rowsPass) exps(r *rowRoom, lo, n int) {
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		at := lo*p.l.classes + b.at
		x := p.b.Logits[at:][:b.elements()]
		e := r.unwanted[:]
		if p.b.Grad != nil {
			e = p.b.Grad[at:]
		}
		e = e[:len(x)]
		r.largest(p.k, b, x)
		if p.b.Targets == nil {
			p.find(r, b, lo, n, x)
		}
		if p.spreads() {
			p.weigh(r, b, at, x)
		}
		r.exps(p.k, b, e, x)
		if p.b.Targets == nil {
			p.leave(r, b, lo, n, e)
		}
	}
}

// place is where the label of a row is in a block, or -1, and its cell.
func (p *rowsPass) place(b block, row, j int) (i, cell int) {
	return p.placeOf(b, p.b.Labels[row], j)
}

// placeOf is that of any class of the j-th row of a group.
func (p *rowsPass) placeOf(b block, class int64, j int) (i, cell int) {
	y := class - int64(b.at)
	width := p.l.classes
	if b.columns < width { // the block has pieces of this row alone
		width = b.elements()
	}
	if uint64(y) >= uint64(width) {
		return -1, 0
	}
	i = j*p.l.classes + int(y)
	return i, b.cell + i/b.columns
}

// find keeps the logits of labels, which may be overwritten, and their cells.
func (p *rowsPass) find(r *rowRoom, b block, lo, n int, x []float32) {
	for j := range n {
		if i, cell := p.place(b, lo+j, j); i >= 0 {
			r.at[j], r.cell[j] = x[i], cell
		}
	}
}

// leave adds cells up once more, as float64 and without the label, where that is the one
// largest: beside 1, which it is, float32 loses the others.
func (p *rowsPass) leave(r *rowRoom, b block, lo, n int, e []float32) {
	for j := range n {
		i, cell := p.place(b, lo+j, j)
		if i < 0 || r.at[j] != r.most[cell] || !(r.sum[cell] < 2) {
			continue
		}
		start := (cell - b.cell) * b.columns
		r.rest[j] = r.without(p.k, e[start:][:b.columns], i-start)
	}
}

// weigh stores the weights of each cell's targets and what they cost.
func (p *rowsPass) weigh(r *rowRoom, b block, at int, x []float32) {
	y := x // which counts for nothing
	r.targets = fallback.RowTargetsScalars{Spread: float32(p.each)}
	if p.b.Targets != nil {
		y, r.targets.Keep = p.b.Targets[at:][:len(x)], float32(p.keep)
	}
	for done := 0; done < b.cells; {
		w, cells := p.weights(r, b, done, true)
		from, to, c := done*b.columns, (done+cells)*b.columns, b.cell+done
		kernels.RowTargets(p.k, r.weight[c:][:cells], r.cost[c:][:cells], x[from:to], y[from:to], r.most[c:][:cells], w, &r.targets)
		done += cells
	}
}

// weights are those of the columns of a block's cells from one on, and how many cells have
// them.
func (p *rowsPass) weights(r *rowRoom, b block, done int, matter bool) ([]float32, int) {
	switch {
	case p.l.weights == nil || !matter:
		return r.ones[:b.columns], b.cells - done
	case b.columns == p.l.classes:
		return p.l.weights, b.cells - done
	}
	return p.l.weights[b.at+done*b.columns:][:b.columns], 1
}

// row is the loss of the j-th row of a group, and its gradient's numbers.
func (p *rowsPass) row(r *rowRoom, row, j int) float64 {
	top, log := float64(r.top[j]), float64(r.log[j])
	lse := top + log
	cells := p.l.grid.cells()
	first := j * cells
	loss, weight := 0.0, 0.0 // the weight of what is spread, or of all targets
	if p.spreads() {
		for c := first; c < first+cells; c++ {
			if w := float64(r.weight[c]); w != 0 {
				weight += w
				loss += float64(r.cost[c]) + float64(w*((top-float64(r.most[c]))+log))
			}
		}
	}
	own := 0.0 // the weight of the label
	if p.b.Targets == nil {
		own = p.keepOf(row)
		weight = p.each * p.l.weightOf
		if own != 0 {
			loss += float64(own * ((top - float64(r.at[j])) + log))
		}
	}
	if z := p.l.options.ZLoss; z != 0 {
		loss += float64(float64(z*lse) * lse)
		weight += 2 * float64(z*lse)
	}
	scale := p.scale
	if p.b.Weights != nil {
		w := float64(p.b.Weights[row])
		loss *= w
		scale *= w
	}
	if p.b.Each != nil {
		p.b.Each[row] = float32(loss)
	}
	if p.b.Grad == nil {
		return loss
	}
	sum := 1 + float64(r.over[j])
	b, d := float32(scale*p.each), float32(0)
	if p.b.Targets != nil {
		b, d = float32(scale*p.keep), b
	}
	r.scales(first, cells, (own+weight)*scale/sum, b, d)
	if p.b.Targets == nil {
		r.at[j] = p.label(r, row, j, scale, own, weight, sum)
	}
	return loss
}

// keepOf is the weight of a row's label.
func (p *rowsPass) keepOf(row int) float64 {
	if p.l.weights == nil {
		return p.keep
	}
	return float64(p.keep * float64(p.l.weights[p.b.Labels[row]]))
}

// label is the gradient of a row's label, whose distance from 1 is not a difference where
// the label is the largest.
func (p *rowsPass) label(r *rowRoom, row, j int, scale, own, weight, sum float64) float32 {
	y := int(p.b.Labels[row])
	e := 1.0
	if r.rest[j] < 0 {
		e = float64(p.b.Grad[row*p.l.classes+y])
	}
	s := e * float64(r.factor[r.cell[j]]) / sum
	less := 1 - s
	if r.exact(j) {
		less = float64(r.over[j]) / sum
	}
	spread := p.each
	if p.l.weights != nil {
		spread *= float64(p.l.weights[y])
	}
	return float32(scale * (float64(weight*s) - float64(own*less) - spread))
}

// gradient makes it of the exponentials of n rows from lo on.
func (p *rowsPass) gradient(r *rowRoom, lo, n int) {
	targets := p.b.Targets != nil
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		for done := 0; done < b.cells; {
			w, cells := p.weights(r, b, done, p.spreads())
			at, c := lo*p.l.classes+b.at+done*b.columns, b.cell+done
			g := p.b.Grad[at:][:cells*b.columns]
			if targets {
				kernels.RowTargetsScale(p.k, g, p.b.Targets[at:][:len(g)], r.a[c:][:cells], r.b[c:][:cells], r.d[c:][:cells], w)
			} else {
				kernels.RowScale(p.k, g, r.a[c:][:cells], r.b[c:][:cells], w)
			}
			done += cells
		}
	}
	if targets {
		return
	}
	for j := range n {
		if !p.skips(lo + j) {
			p.b.Grad[(lo+j)*p.l.classes+int(p.b.Labels[lo+j])] = r.at[j]
		}
	}
}
