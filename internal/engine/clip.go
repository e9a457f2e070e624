package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// clipping is what gradients are clipped to, beside the norm of all.
type clipping struct {
	value float64 // the largest magnitude of an element, infinite for none
	norm  float64 // the largest norm of a tensor, 0 for none

	// ratio is the largest norm of a row over that of its parameters, which counts as at
	// least so large; 0 is for none. Rows of a matrix are centered before.
	ratio, least float64
	centers      bool

	noise *Noise // nil for none
}

// unclipped is clipping to nothing.
func unclipped() clipping { return clipping{value: math.Inf(1)} }

// on reports whether a stage scales and clips, so that no other scales. Noise follows it.
func (c *clipping) on() bool {
	return c.noise != nil || c.norm > 0 || c.ratio > 0 || c.value < math.Inf(1)
}

// SetClips clips the gradients, scaled, from the next step on: to a norm of each tensor,
// then to a magnitude of each element. Infinity is for none.
func (e *Engine) SetClips(norm, value float64) {
	if e.clipping.value, e.clipping.norm = value, norm; math.IsInf(norm, 1) {
		e.clipping.norm = 0
	}
	e.setClipping()
}

func (e *Engine) setClipping() {
	for k := range e.groups {
		e.groups[k].clipping = e.clipping
		e.groups[k].input.T = 0 // its scalars are others
	}
}

// MeasureTensors finds the norm of each tensor's gradient and the factor that clips it.
func (e *Engine) MeasureTensors(grads [][]float32, scale float64) {
	e.measuring.grads = grads
	e.share(&e.measuring, true)
	e.measuring.grads = nil
	for k := range e.tensors {
		t := &e.tensors[k]
		if t.listed < 0 {
			t.sums = sumPairs(e.partial[t.units[0]:t.units[1]])
		}
		t.clipTo(&e.groups[t.Rule], scale)
	}
}

// clipTo finds the factor that clips a gradient whose sum of squares is known.
func (t *tensor) clipTo(g *group, scale float64) {
	norm := math.Sqrt(t.sums[0]) * math.Abs(scale)
	if t.factor = 1; !(norm <= g.clipping.norm) {
		t.factor = g.clipping.norm / norm
	}
	t.clip = g.clipping.scalars(g.signed(scale * t.factor))
}

// signed is a factor of the gradient with the sign that maximizes.
func (g *group) signed(scale float64) float64 {
	if g.Maximize {
		return -scale
	}
	return scale
}

// scalars are those of the stage that clips gradients with a factor.
func (c *clipping) scalars(scale float64) fallback.ClipScalars {
	part := partOf(scale)
	return fallback.ClipScalars{Part: float32(part), Scale: float32(scale / part), Limit: float32(c.value)}
}

// limitOf is the Limit of a tensor's gradient, where it is clipped before it is looked at.
func (e *Engine) limitOf(tensor int, scale float64) float32 {
	t := &e.tensors[tensor]
	c := &e.groups[t.Rule].clipping
	switch {
	case c.ratio > 0 || c.value <= e.largest(t.Rule):
		return math.MaxFloat32
	case c.norm > 0 && t.factor > 0:
		scale *= t.factor
	}
	return e.Limit(t.Rule, scale)
}

// measuring is squaring that keeps small tensors apart.
type measuring struct {
	e     *Engine
	grads [][]float32
}

func (m *measuring) Do(k, worker int) {
	e, w := m.e, m.e.workers[worker]
	u := &e.units[k]
	if u.tensor >= 0 {
		(&squaring{e, m.grads}).Do(k, worker)
		return
	}
	for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
		lanes := &w.sums[0]
		*lanes = [fallback.Lanes]float64{}
		w.list.Set(e.gradient(w, m.grads, tensor, 0, e.lenOf(m.grads[tensor], tensor)))
		kernels.SumSquares(e.table, &w.list, lanes)
		e.tensors[tensor].sums = [MaxSums]float64{fallback.Total(lanes)}
	}
}
