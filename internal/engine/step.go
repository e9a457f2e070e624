package engine

import (
	"slices"

	"github.com/lockstep-go/lockstep/kernels"
)

// Begin counts a step and computes what depends on it. scale is the factor of all
// gradients. Of grads, if they are given, those that are nil leave their tensors out. Then
// follows either Run, or RunSmall, or RunRows, or Parts and End.
func (e *Engine) Begin(scale float64, grads [][]float32) {
	e.step++
	if e.missing = grads != nil; e.missing {
		e.leaveOut(grads)
	}
	if e.apart {
		e.compare()
	}
	for k := range e.groups {
		e.groups[k].begin(e.step, scale)
	}
	if f := &e.following; f.Every > 0 || f.Period > 0 {
		f.begin(e.step)
	}
	e.prepare(0)
}

// leaveOut leaves the tensors without a gradient out of the step.
func (e *Engine) leaveOut(grads [][]float32) {
	for k := range e.tensors {
		t := &e.tensors[k]
		e.absent[k] = grads[k] == nil && t.Size > 0
		if e.absent[k] {
			t.missed++
			e.apart = true
		}
	}
}

// compare finds the units whose small tensors can share a call.
func (e *Engine) compare() {
	for k := range e.units {
		u := &e.units[k]
		if u.tensor >= 0 {
			continue
		}
		list := e.groups[u.group].shared[u.lo:u.hi]
		missed := e.tensors[list[0]].missed
		u.alike = !slices.ContainsFunc(list, func(k int) bool { return !e.present(k) || e.tensors[k].missed != missed })
	}
}

// present reports whether a tensor takes part in the step, runs whether in a pass of it.
func (e *Engine) present(tensor int) bool { return !e.missing || !e.absent[tensor] }

func (e *Engine) runs(tensor int, p *pass) bool { return p.everywhere || e.present(tensor) }

// prepare computes the scalars of a pass: once for all tensors that have taken the step
// together, and for each of the others.
func (e *Engine) prepare(k int) {
	for j := range e.groups {
		if g := &e.groups[j]; k < len(g.passes) && !g.passes[k].own {
			g.passes[k].call.prepare(&g.input)
		}
	}
	if e.apart || e.owns {
		e.prepareOwn(k)
	}
}

// prepareOwn computes the scalars of tensors that have their own.
func (e *Engine) prepareOwn(k int) {
	for j := range e.tensors {
		t := &e.tensors[j]
		g := &e.groups[t.Rule]
		if k >= len(g.passes) || !g.ownsCall(t, k) || !e.runs(j, &g.passes[k]) {
			continue
		}
		for _, p := range g.passes[len(t.own):] {
			t.own = append(t.own, p.call.copy())
		}
		t.own[k].prepare(e.inputOf(t, k))
	}
}

func (g *group) ownsCall(t *tensor, k int) bool { return t.missed != 0 || g.passes[k].own }

// call is a tensor's call of a pass.
func (g *group) call(t *tensor, k int) call {
	if g.ownsCall(t, k) {
		return t.own[k]
	}
	return g.passes[k].call
}

// inputOf is what the scalars of one tensor are made from.
func (e *Engine) inputOf(t *tensor, k int) *StepInput {
	g := &e.groups[t.Rule]
	e.input, e.values = g.input, e.values[:0]
	for j, s := range g.State {
		if s.Extent == PerTensor {
			e.values = append(e.values, t.State[j][0])
		}
	}
	e.input.T -= t.missed
	e.input.Rows, e.input.Columns = t.rows(), t.columns()
	e.input.PerTensor = e.values
	if k > 0 && g.passes[k-1].sums == OverTensor {
		e.input.Sums, e.input.Elements = t.sums, t.Size
	}
	return &e.input
}

// Run carries out the step that was begun.
func (e *Engine) Run(params, grads [][]float32) {
	e.beginAsParams(params)
	e.beginFollowing(params)
	if e.counts {
		e.countAgreeing(params, grads)
	}
	s := &e.stepping
	s.params, s.grads = params, grads
	for k := range e.passes {
		if k > 0 {
			e.addUp(k - 1)
			e.prepare(k)
		}
		s.pass = k
		e.together(k)
		e.share(s, k+1 < e.passes)
	}
	s.params, s.grads = nil, nil
}

// beginAsParams lets state begin as the parameters, of the tensors whose first step it is.
func (e *Engine) beginAsParams(params [][]float32) {
	if !e.late {
		return
	}
	e.late = false
	for k := range e.tensors {
		t := &e.tensors[k]
		if t.begins && e.present(k) {
			t.beginAs(&e.groups[t.Rule].Plan, 0, params[k])
			t.begins = false
		}
		e.late = e.late || t.begins
	}
}

// RunSmall is Run for the only tensor, of a plain rule and fewer than tune.ParallelLen
// elements, where it was placed last.
func (e *Engine) RunSmall(params, grads []float32) {
	t := &e.tensors[0]
	g, w := &e.groups[t.Rule], e.workers[0]
	if e.staged(g) || e.following.starts() || t.missed != 0 || t.begins || t.packed != nil {
		e.Part(w, 0, 0, params, kernels.TypedOf(grads))
		e.End()
		return
	}
	g.passes[0].call.run(e.table, &e.only, nil, &w.sums)
	if g.flushes(e.step) {
		g.flush(e.table, w, t, 0, len(params), params, grads)
	}
}

// Part carries out the step that was begun on a part of a tensor of a plain rule, from the
// element lo on. Parts may be carried out at the same time, each with a Worker.
func (e *Engine) Part(w *Worker, tensor, lo int, params []float32, grads kernels.Typed) {
	t := &e.tensors[tensor]
	given := params // or else what stands in for it, of which no element is read
	if grads.Element() == kernels.Float32 {
		given = grads.Float32()
	} else {
		w.shards = append(w.shards[:0], shard{1, grads})
	}
	e.part(w, t, lo, params, given)
	w.forgetShards()
}

// part is Part once the worker has the shards.
func (e *Engine) part(w *Worker, t *tensor, lo int, params, grads []float32) {
	if t.begins {
		t.beginAs(&e.groups[t.Rule].Plan, lo, params)
	}
	e.following.beginAs(t, lo, params)
	e.apply(w, t, 0, lo, lo+len(params), params, grads)
}

// End ends a step of which all parts have been carried out.
func (e *Engine) End() {
	if !e.late {
		return
	}
	e.late = false
	for k := range e.tensors {
		e.tensors[k].begins = false
	}
}
