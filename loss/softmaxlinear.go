package loss

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// SoftmaxLinear is softmax regression, also called multinomial logistic regression: the
// cross-entropy of the softmax of X·Wᵀ + B, and its gradients by W, B and X.
//
// The rows of X are taken some hundred at a time, and while they are in the caches their
// logits are computed, become the gradient by logits G in their place, and add to the
// gradients. So X is read from memory once, as long as 256 rows of it are no more than the
// caches hold, and there are never logits of all rows.
//
// Logits are the products of fallback.MatMul, to which the intercept is D; the cross-entropy
// is CrossEntropy; the gradient by W is the product Gᵀ·X and that by X the product G·W, of
// fallback.MatMul too; the gradient by B is that by a feature which is 1. Losses are added as
// float64, those of 64 rows at a time. The bits are the same on all tables and for any number
// of workers, and those of these calls one after the other, but for the value's last ones. Rows
// that cost nothing, such as ignored ones, take part in the products too: what is infinite or NaN
// in X makes the gradient by W NaN there.
//
// One goroutine at a time may use a SoftmaxLinear, whose buffers grow with the shape; calls
// that need no more than earlier ones allocate nothing.
type SoftmaxLinear struct {
	classes, features int
	entropy           *CrossEntropy
	workers           int

	pool  *workers.Pool
	pass  softmaxPass
	rooms []*softmaxRoom // one for each worker
	z     []float32      // the logits of a chunk, later their gradient
	packs [3][]float32   // W for logits and for the gradient by X, and what that by W is made of
	run   []float32      // the gradient by B of a run of rows

	intercepts []float32 // each SoftmaxRows times, if there are few
	sums       []float64 // of the losses of each unit
}

// NewSoftmaxLinear returns a model of so many features, from 0 on, and classes, from 1 to
// 1048576, of a cross-entropy.
func NewSoftmaxLinear(features, classes int, o CrossEntropyOptions) (*SoftmaxLinear, error) {
	entropy, err := NewCrossEntropy(classes, o)
	if err != nil {
		return nil, err
	}
	if features < 0 || features > maxColumns/classes {
		return nil, &ArgError{"features", features, fmt.Sprintf("from 0 to %d", maxColumns/classes)}
	}
	l := &SoftmaxLinear{classes: classes, features: features, entropy: entropy, pool: newPool(), run: make([]float32, classes)}
	return l, l.SetWorkers(0)
}

// SetWorkers sets how many goroutines a call may use at most; 0 means runtime.GOMAXPROCS.
// What takes less time than a step of 256 Ki parameters is left to one.
func (l *SoftmaxLinear) SetWorkers(n int) error {
	if err := l.entropy.SetWorkers(n); err != nil {
		return err
	}
	l.workers = l.entropy.workers
	l.pool.SetLimit(l.workers)
	return nil
}

// LinearRows are the buffers of a call. What is written lies apart from all else.
type LinearRows struct {
	X []float32 // rows × features, row-major
	W []float32 // classes × features, row-major
	B []float32 // the intercept of each class; nil stands for 0 each

	// One of these says what is right, as in Rows.
	Labels  []int64   // the class of each row, from 0, or the label that is ignored
	Targets []float32 // the probability of each class in each row, rows × classes

	Weights []float32 // factors of the rows' losses, finite and at least 0; nil stands for 1 each. No mean is divided by them

	GradW []float32 // receives the gradient by W; nil if it is not wanted
	GradB []float32 // receives the gradient by B; nil if it is not wanted
	GradX []float32 // receives the gradient by X; nil if it is not wanted
	Each  []float32 // receives the rows' losses; may be nil unless the reduction is None
	Scale *float64  // factor of the gradients: see Weight. Nil stands for 1
}

// Eval returns the loss of some rows, of which it stores the gradients, those of Sum if the
// reduction is None, whose result is the sum. The gradients of a mean over nothing are 0. A
// label that is neither a class nor ignored is an error. A panic of a worker, such as
// debug.SetPanicOnFault asks for, is the caller's once none is at work any more; the gradients
// are then of no use.
func (l *SoftmaxLinear) Eval(b LinearRows) (float64, error) {
	rows := len(b.Labels)
	if b.Targets != nil {
		rows = len(b.Targets) / l.classes
	}
	if err := l.check(b, rows); err != nil {
		return 0, err
	}
	divisor, err := l.entropy.divisor(Rows{Labels: b.Labels, Targets: b.Targets}, rows)
	if err != nil {
		return 0, err
	}
	if divisor == 0 || rows == 0 {
		for _, out := range [][]float32{b.GradW, b.GradB, b.GradX, b.Each} {
			buffers.Clear(out)
		}
		if divisor == 0 && l.entropy.options.EmptyMean == EmptyNaN {
			return math.NaN(), nil
		}
		return 0, nil
	}
	scale := 1.0
	if b.Scale != nil {
		scale = *b.Scale
	}
	return l.eval(b, rows, scale/divisor) / divisor, nil
}

// Predict stores the logits X·Wᵀ + B of each row of x in z, rows × classes, row-major. b may be
// nil.
func (l *SoftmaxLinear) Predict(x, w, b, z []float32) error {
	rows := len(z) / l.classes
	if len(z) != rows*l.classes {
		return &ArgError{"len(z)", len(z), fmt.Sprintf("rows of %d classes", l.classes)}
	}
	p := LinearRows{X: x, W: w, B: b}
	if err := l.checkModel(p, rows); err != nil {
		return err
	}
	for k, s := range [][]float32{x, w, b} {
		if buffers.Overlap(z, s) {
			return &ArgError{"z", fmt.Sprintf("%d elements at %p", len(z), z), "a buffer apart from " + "xwb"[k:k+1]}
		}
	}
	if rows > 0 {
		l.begin(p, rows)
		defer l.forget()
		l.pass.z = z
		l.pass.do(packing, l.pass.logits.Packs(), true)
		l.pass.hi = rows
		l.pass.do(predicting, l.pass.units(), false)
	}
	return nil
}

func (l *SoftmaxLinear) checkModel(b LinearRows, rows int) error {
	want := fmt.Sprintf
	switch {
	case len(b.X) != rows*l.features:
		return &ArgError{"len(X)", len(b.X), want("%d rows of %d features", rows, l.features)}
	case len(b.W) != l.classes*l.features:
		return &ArgError{"len(W)", len(b.W), want("%d classes of %d features", l.classes, l.features)}
	case b.B != nil && len(b.B) != l.classes:
		return &ArgError{"len(B)", len(b.B), want("the number of classes, %d", l.classes)}
	}
	return nil
}

func (l *SoftmaxLinear) check(b LinearRows, rows int) error {
	if err := l.checkModel(b, rows); err != nil {
		return err
	}
	want := fmt.Sprintf
	switch {
	case b.Labels != nil && b.Targets != nil:
		return &ArgError{"Targets", want("%d elements", len(b.Targets)), "nil beside labels"}
	case len(b.Targets) != 0 && len(b.Targets) != rows*l.classes:
		return &ArgError{"len(Targets)", len(b.Targets), want("rows of %d classes", l.classes)}
	case b.Weights != nil && len(b.Weights) != rows:
		return &ArgError{"len(Weights)", len(b.Weights), want("the number of rows, %d", rows)}
	case b.GradW != nil && len(b.GradW) != len(b.W):
		return &ArgError{"len(GradW)", len(b.GradW), want("len(W) = %d", len(b.W))}
	case b.GradB != nil && len(b.GradB) != l.classes:
		return &ArgError{"len(GradB)", len(b.GradB), want("the number of classes, %d", l.classes)}
	case b.GradX != nil && len(b.GradX) != len(b.X):
		return &ArgError{"len(GradX)", len(b.GradX), want("len(X) = %d", len(b.X))}
	case b.Each != nil && len(b.Each) != rows:
		return &ArgError{"len(Each)", len(b.Each), want("the number of rows, %d", rows)}
	case l.entropy.options.Reduction == None && b.Each == nil && rows > 0:
		return &ArgError{"Each", "nil", "a buffer for the losses"}
	}
	for i, w := range b.Weights {
		if err := checkWeight("Weights", i, w); err != nil {
			return err
		}
	}
	names := [...]string{"Each", "GradW", "GradB", "GradX", "X", "W", "B", "Targets", "Weights"}
	all := [...][]float32{b.Each, b.GradW, b.GradB, b.GradX, b.X, b.W, b.B, b.Targets, b.Weights}
	for k, out := range all[:4] {
		for j := k + 1; j < len(all); j++ {
			if buffers.Overlap(out, all[j]) {
				return &ArgError{names[k], want("%d elements at %p", len(out), out), "a buffer apart from " + names[j]}
			}
		}
	}
	return nil
}

// A softmaxStage is what is done with the units of a pass.
type softmaxStage uint8

const (
	packing       softmaxStage = iota // W, for logits
	packingInputs                     // and for the gradient by X
	predicting                        // some rows
	evaluating                        // some rows, up to what the gradient by W is made of
	adding                            // a part of the gradients by W and B
)

// A softmaxPass is one call.
type softmaxPass struct {
	l     *SoftmaxLinear
	k     kernels.Table
	b     LinearRows
	size  int
	scale float64   // of the gradients
	z     []float32 // the logits of the chunk

	stage  softmaxStage
	lo, hi int // the rows of the chunk

	logits, inputs kernels.MatMul // of no rows, with W packed
	gradW          kernels.MatMul

	few bool // classes, so that logits are computed as columns
}

// A softmaxRoom is a worker's.
type softmaxRoom struct {
	product kernels.MatMul
	pack    []float32
	z       []float32 // logits as columns
	fetched uint32
	rows    *rowRoom
	entropy rowsPass
}

// ones are the feature whose gradient is that of the intercept.
var ones = func() (x [fallback.MatMulLen]float32) {
	for i := range x {
		x[i] = 1
	}
	return x
}()

// begin prepares a call, and room for it.
func (l *SoftmaxLinear) begin(b LinearRows, rows int) {
	p := &l.pass
	p.l, p.k, p.b = l, kernels.Active(), b
	p.size = rows*l.features + rows*l.features/tune.ProductsPerElement*l.classes
	p.beginLogits()
	room, workers := max(p.room(tune.SoftmaxRows, 0, l.features), p.room(0, tune.SoftmaxRows, l.features), p.room(tune.SoftmaxRows, 0, l.classes)), 1
	if p.size >= tune.ParallelLen {
		workers = l.workers
	}
	for len(l.rooms) < workers {
		l.rooms = append(l.rooms, &softmaxRoom{rows: newRowRoom(l.entropy.grid)})
	}
	for _, r := range l.rooms {
		sized(&r.pack, room)
		if p.few {
			sized(&r.z, tune.SoftmaxRows*l.classes)
		}
	}
}

// room is that of a product.
func (p *softmaxPass) room(rows, columns, products int) int {
	return kernels.MatMulRoom(p.k, rows, columns, products)
}

// beginLogits prepares W for the logits: as B, or as A where that makes tiles a quarter fewer.
func (p *softmaxPass) beginLogits() {
	l := p.l
	const rows = tune.SoftmaxRows
	p.few = 4*p.room(l.classes, 0, 1)*p.room(0, rows, 1) <= 3*p.room(rows, 0, 1)*p.room(0, l.classes, 1)
	w, none := fallback.RowMajor(l.classes, l.features, p.b.W), fallback.RowMajor(0, l.features, nil)
	if !p.few {
		p.logits = kernels.MatMul{C: fallback.RowMajor(0, l.classes, nil), A: none, B: w.T()}
		p.logits.Begin(p.k, sized(&l.packs[0], p.room(0, l.classes, l.features)))
		return
	}
	p.logits = kernels.MatMul{C: fallback.RowMajor(l.classes, 0, nil), A: w, B: none.T()}
	p.logits.Begin(p.k, sized(&l.packs[0], p.room(l.classes, 0, l.features)))
	if p.b.B == nil {
		return
	}
	all := sized(&l.intercepts, rows*l.classes)
	for i := range all {
		all[i] = p.b.B[i/rows]
	}
}

// sized is so many elements of a buffer, which grows if it is shorter.
func sized(x *[]float32, n int) []float32 {
	if len(*x) < n {
		*x = make([]float32, n)
	}
	return (*x)[:n]
}

// forget keeps nothing alive that is the caller's.
func (l *SoftmaxLinear) forget() {
	l.pass = softmaxPass{}
	for _, r := range l.rooms {
		r.product, r.entropy = kernels.MatMul{}, rowsPass{}
		r.rows.forget()
	}
}

// chunkRows is how many rows are done before the gradients by W and B are added to: sums of
// products end with them.
func (l *SoftmaxLinear) chunkRows() int {
	const run = fallback.MatMulLen
	return max(run, min(tune.SoftmaxChunk/(l.features+l.classes), tune.SoftmaxChunkRows)/run*run)
}

// eval has the workers store what is wanted and returns the sum of the losses.
func (l *SoftmaxLinear) eval(b LinearRows, rows int, scale float64) float64 {
	l.begin(b, rows)
	defer l.forget()
	p := &l.pass
	p.scale = scale
	p.do(packing, p.logits.Packs(), true)
	if b.GradX != nil {
		w := fallback.RowMajor(l.classes, l.features, b.W)
		p.inputs = kernels.MatMul{C: fallback.RowMajor(0, l.features, nil), A: fallback.RowMajor(0, l.classes, nil), B: w}
		p.inputs.Begin(p.k, sized(&l.packs[1], p.room(0, l.features, l.classes)))
		p.do(packingInputs, p.inputs.Packs(), true)
	}
	buffers.Clear(b.GradB)
	step := l.chunkRows()
	p.z = sized(&l.z, min(step, rows)*l.classes)
	if most := (min(step, rows) + tune.SoftmaxRows - 1) / tune.SoftmaxRows; len(l.sums) < most {
		l.sums = make([]float64, most)
	}
	sum := 0.0
	for lo := 0; lo < rows; lo += step {
		p.lo, p.hi = lo, min(lo+step, rows)
		units, last := p.units(), p.hi == rows
		adds := 0
		if b.GradW != nil {
			p.beginGradient()
			adds = p.gradW.Tiles()
		}
		if b.GradB != nil {
			adds++
		}
		p.do(evaluating, units, !last || adds > 0)
		for _, s := range l.sums[:units] {
			sum += s
		}
		p.do(adding, adds, !last)
	}
	return sum
}

// beginGradient prepares what the chunk adds to the gradient by W.
func (p *softmaxPass) beginGradient() {
	l, n := p.l, p.hi-p.lo
	g := &p.gradW
	g.C = fallback.RowMajor(l.classes, l.features, p.b.GradW)
	g.D, g.MatMulScalars = g.C, fallback.MatMulScalars{Alpha: 1}
	if p.lo > 0 {
		g.Beta = 1
	}
	g.A, g.B = fallback.RowMajor(n, l.classes, p.z).T(), fallback.RowMajor(n, l.features, p.b.X[p.lo*l.features:])
	g.Begin(p.k, sized(&l.packs[2], p.room(l.classes, l.features, n)))
}

// units is how many units of rows the chunk has.
func (p *softmaxPass) units() int { return (p.hi - p.lo + tune.SoftmaxRows - 1) / tune.SoftmaxRows }

// do has the workers do a stage. more says that another one follows.
func (p *softmaxPass) do(s softmaxStage, units int, more bool) {
	p.stage = s
	p.l.pool.Run(p, units, p.size, more)
}

// Do is a unit of the stage.
func (p *softmaxPass) Do(unit, worker int) {
	switch p.stage {
	case packing:
		p.logits.Pack(unit)
	case packingInputs:
		p.inputs.Pack(unit)
	case predicting:
		p.predict(p.l.rooms[worker], p.lo+unit*tune.SoftmaxRows)
	case evaluating:
		p.l.sums[unit] = p.evaluate(p.l.rooms[worker], p.lo+unit*tune.SoftmaxRows)
	case adding:
		p.add(unit)
	}
}

// predict returns the logits of a unit of rows from one on.
func (p *softmaxPass) predict(r *softmaxRoom, row int) []float32 {
	l, n := p.l, min(tune.SoftmaxRows, p.hi-row)
	z := p.z[(row-p.lo)*l.classes:][:n*l.classes]
	m, x := &r.product, fallback.RowMajor(n, l.features, p.b.X[row*l.features:][:n*l.features])
	if len(x.Data) <= tune.SoftmaxFetch {
		r.fetched = fetch(x.Data)
	}
	m.MatMulScalars = fallback.MatMulScalars{Alpha: 1}
	if p.b.B != nil {
		m.Beta = 1
	}
	if !p.few {
		m.C, m.A = fallback.RowMajor(n, l.classes, z), x
		m.D = fallback.Matrix{Data: p.b.B, Rows: n, Columns: l.classes, ColumnStride: 1}
		m.RunPacked(&p.logits, r.pack)
		return z
	}
	m.C, m.B = fallback.RowMajor(l.classes, n, r.z), x.T()
	m.D = fallback.Matrix{Data: l.intercepts, Rows: l.classes, Columns: n, RowStride: tune.SoftmaxRows, ColumnStride: 1}
	m.RunPacked(&p.logits, r.pack)
	for c := range l.classes {
		for i, v := range r.z[c*n:][:n] {
			z[i*l.classes+c] = v
		}
	}
	return z
}

// fetch reads an element of each line of the cache in the order of memory, which a processor
// foresees. Packing takes a line of one row after that of another.
func fetch(x []float32) (all uint32) {
	for i := 0; i < len(x); i += tune.Line / 4 {
		all |= math.Float32bits(x[i])
	}
	return all
}

// evaluate is the losses of a unit of rows, and leaves their gradients in the place of their
// logits.
func (p *softmaxPass) evaluate(r *softmaxRoom, row int) float64 {
	l, z := p.l, p.predict(r, row)
	n := len(z) / l.classes
	q := &r.entropy
	*q = rowsPass{l: l.entropy, k: p.k, rows: n, scale: p.scale}
	q.keep, q.each = 1-l.entropy.options.Smoothing, l.entropy.options.Smoothing/float64(l.classes)
	q.b.Logits = z
	if p.b.GradW != nil || p.b.GradB != nil || p.b.GradX != nil {
		q.b.Grad = z
	}
	if p.b.Targets != nil {
		q.b.Targets = p.b.Targets[row*l.classes:][:len(z)]
	} else {
		q.b.Labels = p.b.Labels[row:][:n]
	}
	if p.b.Weights != nil {
		q.b.Weights = p.b.Weights[row:][:n]
	}
	if p.b.Each != nil {
		q.b.Each = p.b.Each[row:][:n]
	}
	sum := 0.0
	for lo := 0; lo < n; lo += l.entropy.grid.group {
		sum += q.group(r.rows, lo, min(lo+l.entropy.grid.group, n))
	}
	if p.b.GradW != nil {
		p.gradW.PackProducts(row-p.lo, row-p.lo+n)
	}
	if p.b.GradX != nil {
		r.product.C, r.product.A = fallback.RowMajor(n, l.features, p.b.GradX[row*l.features:]), fallback.RowMajor(n, l.classes, z)
		r.product.MatMulScalars = fallback.MatMulScalars{Alpha: 1}
		r.product.RunPacked(&p.inputs, r.pack)
	}
	return sum
}

// add adds the chunk to a part of the gradient by W, or as the first unit to that by B.
func (p *softmaxPass) add(unit int) {
	if p.b.GradB == nil {
		p.gradW.Multiply(unit)
		return
	}
	if unit > 0 {
		p.gradW.Multiply(unit - 1)
		return
	}
	const run = fallback.MatMulLen
	for lo := 0; lo < p.hi-p.lo; lo += run {
		n := min(run, p.hi-p.lo-lo)
		buffers.Clear(p.l.run)
		kernels.RankOne(p.k, p.l.run, p.z[lo*p.l.classes:][:n*p.l.classes], ones[:n])
		for c, g := range p.l.run {
			p.b.GradB[c] += g
		}
	}
}
