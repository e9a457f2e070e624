package loss

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// focus stores in parts, for each of n rows from lo on, the slope by the label's logit with its
// sign turned, (1-p)^gamma·((1-p) + gamma·p·each) where each is -log p, and the loss.
func (p *rowsPass) focus(r *rowRoom, lo, n int) {
	group := p.l.grid.group
	slope, each, wrong, like := r.parts[:n], r.parts[group:][:n], r.parts[2*group:][:n], r.parts[3*group:][:n]
	for j := range n {
		each[j] = 0
		if !p.skips(lo + j) {
			each[j] = float32((float64(r.top[j]) - float64(r.at[j])) + float64(r.log[j]))
		}
		wrong[j] = -each[j]
	}
	r.list.Set(like, wrong)
	kernels.Exp(p.k, &r.list)
	for j := range n {
		slope[j] = float32(r.unlikely(j, like[j]))
		if wrong[j] = slope[j]; !(wrong[j] > 0x1p-126) {
			wrong[j] = 0x1p-126
		}
	}
	ones := r.d[:n] // which is for targets
	for j := range ones {
		ones[j] = 1
	}
	r.focal = fallback.FocalScalars{Scale: 1, Gamma: p.l.kind.gamma, AlphaYes: 1}
	r.list.Set(slope, each, ones, wrong, like)
	kernels.Focal(p.k, &r.list, &r.focal, &r.lanes)
}

// unlikely is 1 less the probability of the j-th row's label, which is no difference where that
// is the largest.
func (r *rowRoom) unlikely(j int, like float32) float64 {
	if r.exact(j) {
		over := float64(r.over[j])
		return over / (1 + over)
	}
	return 1 - float64(like)
}

// focalRow is the loss of the j-th row of a group, and its gradient's numbers: the slope is
// shared by the other classes as their exponentials are.
func (p *rowsPass) focalRow(r *rowRoom, row, j int) float64 {
	group, cells := p.l.grid.group, p.l.grid.cells()
	loss, scale := p.weighted(row, float64(r.parts[group+j]))
	if p.b.Grad == nil {
		return loss
	}
	slope := scale * float64(r.parts[j])
	rest := float64(r.over[j])
	if !r.exact(j) {
		rest = (1 + rest) * r.unlikely(j, r.parts[3*group+j])
	}
	a := slope / rest
	if rest == 0 {
		a = 0
	}
	r.scales(j*cells, cells, a, 0, 0)
	r.at[j] = float32(-slope)
	return loss
}

// spreadFocal is SoftmaxFocal of logits with targets, or labels that are smoothed. With
//
//	E[c] = w[c]·t[c]·(1-p[c])^gamma·(1 - gamma·p[c]/(1-p[c])·log p[c])
//
// the gradient is p[c]·ΣE - E[c].
func (p *rowsPass) spreadFocal(r *rowRoom, lo, hi int) float64 {
	n, cells := hi-lo, p.l.grid.cells()
	if n == 1 && p.skips(lo) {
		p.clear(lo)
		return 0
	}
	p.findLargest(r, lo, n)
	part := func(k int, b block) []float32 { return r.parts[k*tune.RowBlock:][:b.elements()] }
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		each, slope := part(0, b), part(1, b)
		p.focusAll(r, b, lo, n, each, slope)
		kernels.Dots(p.k, r.cost[b.cell:][:b.cells], each, r.ones[:b.columns])
		if p.b.Grad != nil {
			p.addSlopes(r, b, n, slope)
		}
	}
	total := 0.0
	for j := range n {
		if p.skips(lo + j) {
			r.scales(j*cells, cells, 0, 0, 0)
		} else {
			total += p.spreadRow(r, lo+j, j)
		}
	}
	for b, ok := p.l.grid.first(n), true; ok && p.b.Grad != nil; b, ok = p.l.grid.next(b) {
		each, slope := part(0, b), part(1, b)
		if cells > 1 { // of blocks that came after
			p.focusAll(r, b, lo, n, each, slope)
		}
		g, i := p.b.Grad[lo*p.l.classes+b.at:][:b.elements()], b.cell
		buffers.Copy(g, part(2, b))
		kernels.RowTargetsScale(p.k, g, slope, r.a[i:][:b.cells], r.b[i:][:b.cells], r.d[i:][:b.cells], r.ones[:b.columns])
	}
	for j := range n {
		switch {
		case p.skips(lo + j):
			p.clear(lo + j)
		case p.b.Grad != nil && r.exact(j):
			p.of(p.b.Grad, lo+j)[r.class[j]] = r.at[j]
		}
	}
	return total
}

// findLargest finds the largest element of n rows from lo on, its place, and how much the
// exponentials of the others add to its own.
func (p *rowsPass) findLargest(r *rowRoom, lo, n int) {
	cells := p.l.grid.cells()
	for j := range n {
		r.rest[j] = -1
	}
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		x := p.b.Logits[lo*p.l.classes+b.at:][:b.elements()]
		e := r.unwanted[:len(x)]
		r.largest(p.k, b, x)
		r.exps(p.k, b, e, x)
		for c := range b.cells {
			p.leaveLargest(r, b, c, x[c*b.columns:][:b.columns], e[c*b.columns:][:b.columns])
		}
	}
	for j := range n {
		most, sum := r.join(p.k, j*cells, cells)
		over := sum - 1
		if r.exact(j) {
			over = r.restOf(j, j*cells, cells)
		}
		r.top[j], r.over[j] = float32(most), float32(over)
	}
	r.logs(p.k, n)
}

// leaveLargest adds up a cell of a block once more, as leave does, without the largest element if that
// is the largest of the row so far.
func (p *rowsPass) leaveLargest(r *rowRoom, b block, c int, x, e []float32) {
	cell := b.cell + c
	j, most := cell/p.l.grid.cells(), r.most[cell]
	if !(r.sum[cell] < 2) || r.rest[j] >= 0 && !(most > r.most[r.cell[j]]) {
		return
	}
	for i, v := range x {
		if v == most {
			r.rest[j], r.cell[j], r.class[j] = r.without(p.k, e, i), cell, (b.at+c*b.columns)%p.l.classes+i
			return
		}
	}
}

// focusAll stores what each class of a block of n rows from lo on costs, and E in slope; p goes to the
// third of the parts. Focal, which takes t for alpha, has (1-p)·E: 1/(1-p) may be beyond what float32
// holds.
func (p *rowsPass) focusAll(r *rowRoom, b block, lo, n int, each, slope []float32) {
	cells := p.l.grid.cells()
	x := p.b.Logits[lo*p.l.classes+b.at:][:len(each)]
	part := func(k int) []float32 { return r.parts[k*tune.RowBlock:][:len(each)] }
	like, wrong, target := part(2), part(3), part(4)
	for c := range b.cells {
		j := (b.cell + c) / cells
		top, log := r.top[j], r.log[j]
		for i := c * b.columns; i < (c+1)*b.columns; i++ {
			each[i] = (x[i] - top) - log
		}
	}
	r.list.Set(like, each)
	kernels.Exp(p.k, &r.list)
	r.list.Set(slope, each)
	kernels.Expm1(p.k, &r.list)
	for i, v := range slope {
		each[i], slope[i], wrong[i] = -each[i], -v, -v
		if !(wrong[i] > 0x1p-126) {
			wrong[i] = 0x1p-126
		}
	}
	p.setTargets(b, lo, n, target)
	r.focal = fallback.FocalScalars{Scale: 1, Gamma: p.l.kind.gamma, AlphaYes: 1}
	r.list.Set(slope, each, target, wrong, like)
	kernels.Focal(p.k, &r.list, &r.focal, &r.lanes)
	for i := range slope {
		slope[i] /= wrong[i]
	}
}

// addSlopes adds E up but for a row's largest element, which is kept where it is most of the sum.
func (p *rowsPass) addSlopes(r *rowRoom, b block, n int, slope []float32) {
	for j := range n {
		if !r.exact(j) {
			continue
		}
		if i, _ := p.placeOf(b, int64(r.class[j]), j); i >= 0 {
			r.at[j], slope[i] = slope[i], 0
		}
	}
	kernels.Dots(p.k, r.weight[b.cell:][:b.cells], slope, r.ones[:b.columns])
}

// spreadRow is the loss of the j-th row of a group, and its gradient's numbers. That of the largest
// element is no difference from 1 where it is nearly sure.
func (p *rowsPass) spreadRow(r *rowRoom, row, j int) float64 {
	cells := p.l.grid.cells()
	loss, others := 0.0, 0.0
	for c := j * cells; c < (j+1)*cells; c++ {
		loss += float64(r.cost[c])
	}
	loss, scale := p.weighted(row, loss)
	if p.b.Grad == nil {
		return loss
	}
	for c := j * cells; c < (j+1)*cells; c++ {
		others += float64(r.weight[c])
	}
	own := 0.0
	if r.exact(j) {
		own = float64(r.at[j])
		over := float64(r.over[j])
		r.at[j] = float32(scale * ((others - float64(own*over)) / (1 + over)))
	}
	for c := j * cells; c < (j+1)*cells; c++ {
		r.a[c], r.b[c], r.d[c] = float32(scale*(others+own)), float32(scale), 0
	}
	return loss
}

// clippedFocal is SoftmaxFocal of probabilities.
func (p *rowsPass) clippedFocal(r *rowRoom, lo, hi int) float64 {
	n, cells := hi-lo, p.l.grid.cells()
	if n == 1 && p.skips(lo) {
		p.clear(lo)
		return 0
	}
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		kernels.Dots(p.k, r.sum[b.cell:][:b.cells], p.b.Logits[lo*p.l.classes+b.at:][:b.elements()], r.ones[:b.columns])
	}
	for j := range n {
		sum := 0.0
		for _, s := range r.sum[j*cells:][:cells] {
			sum += float64(s)
		}
		r.top[j] = float32(sum)
	}
	for b, ok := p.l.grid.first(n), true; ok; b, ok = p.l.grid.next(b) {
		p.clippedBlock(r, b, lo, n)
	}
	total := 0.0
	for j := range n {
		if p.skips(lo + j) {
			p.clear(lo + j)
			r.scales(j*cells, cells, 0, 0, 0)
			continue
		}
		total += p.clippedRow(r, lo+j, j)
	}
	for b, ok := p.l.grid.first(n), true; ok && p.b.Grad != nil; b, ok = p.l.grid.next(b) {
		g := p.b.Grad[lo*p.l.classes+b.at:][:b.elements()]
		kernels.RowScale(p.k, g, r.a[b.cell:][:b.cells], r.b[b.cell:][:b.cells], r.ones[:b.columns])
	}
	return total
}

// clippedBlock stores the derivatives of t·(1-q)^gamma·log q by q, and adds up the numbers themselves
// and, for the derivative by the row's sum, the derivatives times q: they are 0 where it is clipped.
// Focal takes log q for a cross-entropy, whose sign is turned, and t for alpha.
func (p *rowsPass) clippedBlock(r *rowRoom, b block, lo, n int) {
	at, length, cells := lo*p.l.classes+b.at, b.elements(), p.l.grid.cells()
	x := p.b.Logits[at:][:length]
	slope := r.unwanted[:length]
	if p.b.Grad != nil {
		slope = p.b.Grad[at:][:length]
	}
	part := func(k int) []float32 { return r.parts[k*tune.RowBlock:][:length] }
	q, wrong, bend, each, target := part(0), part(1), part(2), part(3), part(4)
	for c := range b.cells {
		sum := r.top[(b.cell+c)/cells]
		for i := c * b.columns; i < (c+1)*b.columns; i++ {
			s := x[i] / sum
			q[i] = clip(s, leastProbability, 1-leastProbability)
			wrong[i] = 1 - q[i]
			slope[i], bend[i] = 1/q[i], -1/wrong[i]
			if s < leastProbability || s > 1-leastProbability {
				slope[i], bend[i] = 0, 0
			}
		}
	}
	p.setTargets(b, lo, n, target)
	r.list.Set(each, q)
	kernels.Log(p.k, &r.list)
	r.focal = fallback.FocalScalars{Scale: 1, Gamma: p.l.kind.gamma, AlphaYes: 1}
	r.list.Set(slope, each, target, wrong, bend)
	kernels.Focal(p.k, &r.list, &r.focal, &r.lanes)
	kernels.Dots(p.k, r.sum[b.cell:][:b.cells], each, r.ones[:b.columns])
	if p.b.Grad == nil {
		return
	}
	r.targets = fallback.RowTargetsScalars{Keep: 1}
	most := r.most[b.cell:][:b.cells]
	buffers.Clear(most)
	kernels.RowTargets(p.k, r.weight[b.cell:][:b.cells], r.cost[b.cell:][:b.cells], q, slope, most, r.ones[:b.columns], &r.targets)
}

// setTargets stores the targets of a block of n rows from lo on, smoothed and times the weights of
// their classes.
func (p *rowsPass) setTargets(b block, lo, n int, target []float32) {
	keep, each := float32(p.keep), float32(p.each)
	if p.b.Targets != nil {
		for i, y := range p.b.Targets[lo*p.l.classes+b.at:][:len(target)] {
			target[i] = float32(y*keep) + each
		}
	} else {
		for i := range target {
			target[i] = each
		}
		for j := range n {
			if i, _ := p.place(b, lo+j, j); i >= 0 {
				target[i] = keep + each
			}
		}
	}
	for c := 0; c < b.cells && p.l.weights != nil; c++ {
		w := p.l.weights[(b.at+c*b.columns)%p.l.classes:][:b.columns]
		for i := range w {
			target[c*b.columns+i] *= w[i]
		}
	}
}

// clippedRow is the loss of the j-th row of a group, and its gradient's numbers.
func (p *rowsPass) clippedRow(r *rowRoom, row, j int) float64 {
	cells := p.l.grid.cells()
	loss, product := 0.0, 0.0
	for c := j * cells; c < (j+1)*cells; c++ {
		loss -= float64(r.sum[c])
	}
	loss, scale := p.weighted(row, loss)
	if p.b.Grad == nil {
		return loss
	}
	scale /= float64(r.top[j])
	for c := j * cells; c < (j+1)*cells; c++ {
		product -= float64(r.cost[c])
	}
	for c := j * cells; c < (j+1)*cells; c++ {
		r.a[c], r.b[c] = float32(-scale), float32(-float64(scale*product))
	}
	return loss
}
