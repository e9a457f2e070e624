package loss

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A RowModel is a loss of rows of numbers z of classes, of which y is the right one and w[y]
// its weight.
type RowModel uint8

const (
	ofCrossEntropy RowModel = iota // that of CrossEntropy

	// NLL is -w[y]·z[y], where z are logarithms of probabilities such as LogSoftmax makes:
	// nll_loss of PyTorch. Its mean is over the sum of w[y], those of the others over the rows
	// that are not ignored.
	NLL

	// MultiMargin is w[y]·Σ max(0, Margin - z[y] + z[c])/classes over the other classes c, or
	// that of the squares: multi_margin_loss of PyTorch, whose p is 2 for squares.
	MultiMargin

	// CrammerSinger is w[y]·max(0, Margin - z[y] + z[c]) of the largest other class c alone, the
	// first of several: multiclass_hinge_loss of Optax, whose gradient several share. (Crammer
	// and Singer 2001)
	CrammerSinger

	// CategoricalHinge is w[y]·max(0, Margin - z[y] + max(0, z[c])) of the largest other class c:
	// CategoricalHinge of Keras.
	CategoricalHinge

	// SoftmaxFocal is -w[y]·(1-p)^Gamma·log p, where p is the softmax's probability of y: the
	// focal loss of several classes, whose alphas are the weights. With targets, or with labels
	// that are smoothed, it is -Σ w[c]·t[c]·(1-p[c])^Gamma·log p[c], which for a Gamma of 0 is the
	// cross-entropy: CategoricalFocalCrossentropy of Keras, from logits. Value and gradient are
	// right to some Gamma units in the last place where p is near to 1 or 0 too, at which Keras
	// clips it and has the gradient 0. Probabilities of RowLossOptions is that of probabilities,
	// with Keras' clip. (Lin et al. 2017)
	SoftmaxFocal
)

// RowLossOptions say which loss of rows and labels it is.
type RowLossOptions struct {
	Model RowModel

	// Those of CrossEntropyOptions. What has the weight 0 costs nothing and has the gradient 0,
	// whatever its row is.
	Reduction Reduction
	Weights   []float32
	Ignore    *int64
	EmptyMean EmptyMean

	// Margin is that of MultiMargin, CrammerSinger and CategoricalHinge: see Weight. Nil stands
	// for 1.
	Margin  *float64
	Squared bool    // of MultiMargin
	Gamma   float64 // of SoftmaxFocal, from 0, which is the cross-entropy, to 1000; usually 2

	// Probabilities says that rows of SoftmaxFocal are probabilities, not logits. As
	// CategoricalFocalCrossentropy of Keras has it, each row is divided by its sum, and what comes
	// of it clipped to q from 1e-7 to 1-1e-7: the loss is -Σ w[c]·t[c]·(1-q[c])^Gamma·log q[c], t
	// 1 of the label. Where q is clipped it is constant. The same of a Gamma of 0 is
	// CategoricalCrossentropy. A row that adds up to 0 has the loss or the gradient NaN.
	Probabilities bool

	// Smoothing is that of CrossEntropyOptions, of SoftmaxFocal alone, from 0 to 1: t becomes
	// (1-Smoothing)·t + Smoothing/classes.
	Smoothing float64
}

// A RowLoss is a loss of rows and their labels; SoftmaxFocal is one of targets too. Where a margin
// is just kept its gradient is 0. A row whose loss is NaN, because something in it is, has the
// gradient NaN; that of NLL is the label's weight, negative, whatever the numbers are, of which the
// label's alone counts.
//
// What CrossEntropy says of bits, workers and memory holds here too.
type RowLoss struct{ rows CrossEntropy }

// A rowKind is what CrossEntropy computes.
type rowKind struct {
	model   RowModel
	margin  float64
	squared bool
	gamma   float32
	clipped bool // SoftmaxFocal is of probabilities
}

// countsRows reports whether a mean is over rows and not over weights.
func (k rowKind) countsRows() bool { return k.model > NLL }

func (m RowModel) hasMargin() bool {
	return m == MultiMargin || m == CrammerSinger || m == CategoricalHinge
}

// NewRowLoss returns a loss over so many classes, from 1 to 1048576.
func NewRowLoss(classes int, o RowLossOptions) (*RowLoss, error) {
	margin := 1.0
	if o.Margin != nil {
		margin = *o.Margin
	}
	switch {
	case o.Model == ofCrossEntropy || o.Model > SoftmaxFocal:
		return nil, &ArgError{"Model", o.Model, "one from NLL to SoftmaxFocal"}
	case o.Margin != nil && !o.Model.hasMargin():
		return nil, &ArgError{"Margin", margin, "nil: the loss has none"}
	case !(math.Abs(margin) <= math.MaxFloat32):
		return nil, &ArgError{"Margin", margin, "a finite float32"}
	case o.Squared && o.Model != MultiMargin:
		return nil, &ArgError{"Squared", o.Squared, "false: it is for MultiMargin"}
	case o.Gamma != 0 && o.Model != SoftmaxFocal:
		return nil, &ArgError{"Gamma", o.Gamma, "0: it is for SoftmaxFocal"}
	case !(o.Gamma >= 0 && o.Gamma <= 1000):
		return nil, &ArgError{"Gamma", o.Gamma, "a number from 0 to 1000"}
	case o.Probabilities && o.Model != SoftmaxFocal:
		return nil, &ArgError{"Probabilities", true, "false: it is for SoftmaxFocal"}
	case o.Smoothing != 0 && o.Model != SoftmaxFocal:
		return nil, &ArgError{"Smoothing", o.Smoothing, "0: it is for SoftmaxFocal"}
	}
	l := &RowLoss{CrossEntropy{kind: rowKind{o.Model, margin, o.Squared, float32(o.Gamma), o.Probabilities}}}
	err := l.rows.init(classes, CrossEntropyOptions{Reduction: o.Reduction, Weights: o.Weights, Ignore: o.Ignore, Smoothing: o.Smoothing, EmptyMean: o.EmptyMean})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// SetWorkers is that of CrossEntropy.
func (l *RowLoss) SetWorkers(n int) error { return l.rows.SetWorkers(n) }

// Eval is that of CrossEntropy, for labels alone but of SoftmaxFocal.
func (l *RowLoss) Eval(b Rows) (float64, error) { return l.rows.Eval(b) }

// newRoom is a worker's, with what the loss wants besides: of SoftmaxFocal what Focal takes, for
// each row or for blocks, of MultiMargin blocks of limits and of losses that nobody wants.
func (l *CrossEntropy) newRoom() *rowRoom {
	r := newRowRoom(l.grid)
	switch l.kind.model {
	case SoftmaxFocal:
		r.parts = make([]float32, 5*tune.RowBlock)
	case MultiMargin:
		r.parts = make([]float32, 2*tune.RowBlock)
	}
	return r
}

// losses is what the rows from lo to hi cost.
func (p *rowsPass) losses(r *rowRoom, lo, hi int) float64 {
	switch p.l.kind.model {
	case NLL:
		return p.likelihoods(lo, hi)
	case MultiMargin:
		return p.margins(r, lo, hi)
	case CrammerSinger, CategoricalHinge:
		return p.largestMargins(r, lo, hi)
	}
	switch {
	case p.l.kind.clipped:
		return p.clippedFocal(r, lo, hi)
	case p.ofAll():
		return p.spreadFocal(r, lo, hi)
	}
	return p.group(r, lo, hi)
}

// ofAll reports whether it is a focal loss of all classes, whose weights are in the targets, and not
// of the label's alone.
func (p *rowsPass) ofAll() bool {
	return p.l.kind.model == SoftmaxFocal && (p.l.kind.clipped || p.spreads())
}

// weighted is the loss of a row times its weights, which it stores, and the gradient's factor.
func (p *rowsPass) weighted(row int, loss float64) (weighted, scale float64) {
	weight := 1.0
	if p.l.weights != nil && !p.ofAll() {
		weight = float64(p.l.weights[p.b.Labels[row]])
	}
	if p.b.Weights != nil {
		weight *= float64(p.b.Weights[row])
	}
	loss = float64(loss * weight)
	if p.b.Each != nil {
		p.b.Each[row] = float32(loss)
	}
	return loss, p.scale * weight
}

// of is a row of a buffer.
func (p *rowsPass) of(x []float32, row int) []float32 { return x[row*p.l.classes:][:p.l.classes] }

func (p *rowsPass) likelihoods(lo, hi int) float64 {
	total := 0.0
	for row := lo; row < hi; row++ {
		if p.skips(row) {
			p.clear(row)
			continue
		}
		y := p.b.Labels[row]
		loss, scale := p.weighted(row, -float64(p.of(p.b.Logits, row)[y]))
		total += loss
		if p.b.Grad != nil {
			g := p.of(p.b.Grad, row)
			buffers.Clear(g)
			g[y] = float32(-scale)
		}
	}
	return total
}

// margins is MultiMargin, of which the kernel of Huber has slopes: 1 or twice the distance of
// what is above a limit.
func (p *rowsPass) margins(r *rowRoom, lo, hi int) float64 {
	n, cells := hi-lo, p.l.grid.cells()
	if n == 1 && p.skips(lo) {
		p.clear(lo)
		return 0
	}
	limits, unwanted := r.parts[:tune.RowBlock], r.parts[tune.RowBlock:]
	r.huber = fallback.HuberScalars{Scale: 1, Ceiling: 1, Up: 1}
	if p.l.kind.squared {
		// Twice what is below the limit is finite, which a slope of 0 makes 0 of.
		r.huber.Limit, r.huber.Slope, r.huber.Ceiling = math.MaxFloat32/2, 2, math.MaxFloat32
	}
	r.targets = fallback.RowTargetsScalars{Keep: 1}
	for j := range n {
		r.top[j] = 0
		if !p.skips(lo + j) {
			r.top[j] = float32(float64(p.of(p.b.Logits, lo+j)[p.b.Labels[lo+j]]) - p.l.kind.margin)
		}
		for c := range cells {
			r.most[j*cells+c] = r.top[j]
		}
	}
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		at := lo*p.l.classes + b.at
		x := p.b.Logits[at:][:b.elements()]
		g := r.unwanted[:len(x)]
		if p.b.Grad != nil {
			if g = p.b.Grad[at:][:len(x)]; &g[0] == &x[0] {
				buffers.Copy(r.unwanted[:len(x)], x)
				x = r.unwanted[:len(x)]
			}
		}
		for c := range b.cells {
			part := limits[c*b.columns:][:b.columns]
			for i := range part {
				part[i] = r.most[b.cell+c]
			}
		}
		r.list.Set(g, unwanted[:len(x)], x, limits[:len(x)])
		kernels.Huber(p.k, &r.list, &r.huber, &r.lanes)
		p.leaveLabels(b, lo, n, g)
		kernels.RowTargets(p.k, r.weight[b.cell:][:b.cells], r.cost[b.cell:][:b.cells], x, g, r.most[b.cell:][:b.cells], r.ones[:b.columns], &r.targets)
	}
	total := 0.0
	for j := range n {
		if p.skips(lo + j) {
			p.clear(lo + j)
			p.share(r, j, 0)
			continue
		}
		total += p.marginRow(r, lo+j, j)
	}
	if p.b.Grad != nil {
		p.gradient(r, lo, n)
	}
	return total
}

// leaveLabels has the labels of n rows from lo on cost nothing, and the rows that are skipped.
func (p *rowsPass) leaveLabels(b block, lo, n int, g []float32) {
	for j := range n {
		if p.skips(lo + j) {
			buffers.Clear(g[j*b.columns:][:min(p.l.classes, len(g)-j*b.columns)])
		} else if i, _ := p.place(b, lo+j, j); i >= 0 {
			g[i] = 0
		}
	}
}

// share sets the factor of a row's slopes, to which it adds 0: a slope of 0 has a sign.
func (p *rowsPass) share(r *rowRoom, j int, factor float32) {
	cells := p.l.grid.cells()
	for c := j * cells; c < (j+1)*cells; c++ {
		r.a[c], r.b[c] = factor, float32(math.Copysign(0, -1))
	}
}

// marginRow is the loss of the j-th row of a group, and its gradient's numbers.
func (p *rowsPass) marginRow(r *rowRoom, row, j int) float64 {
	cells := p.l.grid.cells()
	slopes, loss := 0.0, 0.0
	for c := j * cells; c < (j+1)*cells; c++ {
		slopes += float64(r.weight[c])
		loss -= float64(r.cost[c])
	}
	loss /= float64(p.l.classes)
	if p.l.kind.squared {
		loss /= 2
	}
	loss, scale := p.weighted(row, loss)
	scale /= float64(p.l.classes)
	if loss != loss {
		scale = loss
	}
	p.share(r, j, float32(scale))
	r.at[j] = float32(-float64(scale * slopes))
	return loss
}

// largestMargins is CrammerSinger and CategoricalHinge. The gradient's buffer has the logits
// until it is known which is the largest but for the label, whose place has -Inf.
func (p *rowsPass) largestMargins(r *rowRoom, lo, hi int) float64 {
	n, cells := hi-lo, p.l.grid.cells()
	if n == 1 && p.skips(lo) {
		p.clear(lo)
		return 0
	}
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		at := lo*p.l.classes + b.at
		x := p.b.Logits[at:][:b.elements()]
		e := r.unwanted[:len(x)]
		if p.b.Grad != nil {
			e = p.b.Grad[at:][:len(x)]
		}
		buffers.Copy(e, x)
		for j := range n {
			if p.skips(lo + j) {
				continue
			}
			if i, _ := p.place(b, lo+j, j); i >= 0 {
				r.at[j], e[i] = e[i], float32(math.Inf(-1))
			}
		}
		r.largest(p.k, b, e)
		r.spoil(p.k, b, e)
	}
	total := 0.0
	for j := range n {
		if p.skips(lo + j) {
			p.clear(lo + j)
			continue
		}
		total += p.largestRow(r, lo+j, r.at[j], r.most[j*cells:][:cells])
	}
	return total
}

// spoil makes the largest element of cells with NaN, which RowMax does not count, NaN.
func (r *rowRoom) spoil(k kernels.Table, b block, x []float32) {
	clear(r.lanes[:])
	r.list.Set(x)
	kernels.SumAbs(k, &r.list, &r.lanes)
	if sum := fallback.Total(&r.lanes); sum == sum {
		return
	}
	for c := range b.cells {
		for _, v := range x[c*b.columns:][:b.columns] {
			if v != v {
				r.most[b.cell+c] = v
			}
		}
	}
}

// largestRow is the loss of a row of which the label's number and the largest others are known,
// and its gradient.
func (p *rowsPass) largestRow(r *rowRoom, row int, label float32, most []float32) float64 {
	top := float32(-math.MaxFloat32)
	for _, m := range most {
		if m > top || m != m {
			if top = m; m != m {
				break
			}
		}
	}
	other := float64(top)
	switch {
	case p.l.kind.model == CategoricalHinge && top <= 0:
		other = 0
	case top == -math.MaxFloat32: // there is none
		other = math.Inf(-1)
	}
	loss := (p.l.kind.margin - float64(label)) + other
	if loss <= 0 {
		loss = 0
	}
	loss, scale := p.weighted(row, loss)
	if p.b.Grad == nil {
		return loss
	}
	g := p.of(p.b.Grad, row)
	first := -1
	if loss > 0 && other == float64(top) && (p.l.kind.model == CrammerSinger || top > 0) {
		for first = 0; g[first] != top; first++ {
		}
	}
	buffers.Clear(g)
	if loss != loss {
		for i := range g {
			g[i] = float32(loss)
		}
	}
	if loss > 0 {
		g[p.b.Labels[row]] = float32(-scale)
	}
	if first >= 0 {
		g[first] = float32(scale)
	}
	return loss
}
