package engine

import "github.com/lockstep-go/lockstep/kernels"

// SetCopies has steps leave copies of the parameters that they have moved, of tensors whose
// copy is not nil. An empty list is for none.
func (e *Engine) SetCopies(list []kernels.Typed) {
	e.copies = false
	for k := range e.tensors {
		t := &e.tensors[k]
		if t.copied = (kernels.Typed{}); len(list) > 0 {
			t.copied = list[k]
		}
		e.copies = e.copies || !t.copied.IsNil()
	}
}

// Copied is the copy of a tensor's parameters, nil for none.
func (e *Engine) Copied(tensor int) kernels.Typed { return e.tensors[tensor].copied }

// trail does what is done with a range of a tensor's parameters once they have been moved.
func (e *Engine) trail(w *Worker, t *tensor, lo, hi int, p []float32) {
	if e.following.follows() {
		e.follow(w, t, lo, hi, p)
	}
	e.copyOut(t, lo, hi, p)
}

// followApart is follow for a tensor that is left out of the step, whose copy is another only
// where the parameters are.
func (e *Engine) followApart(w *Worker, t *tensor, lo, hi int, p []float32) {
	e.follow(w, t, lo, hi, p)
	if f := &e.following; f.overwrites || f.synchronizes {
		e.copyOut(t, lo, hi, p)
	}
}

// copyOut copies a range of a tensor's parameters, if it has a copy.
func (e *Engine) copyOut(t *tensor, lo, hi int, p []float32) {
	if !t.copied.IsNil() {
		t.copied.Slice(lo, hi).Narrow(e.table, p)
	}
}

// CopyOut makes all copies of parameters.
func (e *Engine) CopyOut(params [][]float32) {
	e.copying.params = params
	e.share(&e.copying, false)
	e.copying.params = nil
}

// copying copies a unit's parameters.
type copying struct {
	e      *Engine
	params [][]float32
}

func (c *copying) Do(k, _ int) {
	e, u := c.e, &c.e.units[k]
	if u.tensor >= 0 {
		e.copyOut(&e.tensors[u.tensor], u.lo, u.hi, c.params[u.tensor][u.lo:u.hi])
		return
	}
	for _, tensor := range e.groups[u.group].shared[u.lo:u.hi] {
		t := &e.tensors[tensor]
		e.copyOut(t, 0, t.Size, c.params[tensor])
	}
}
