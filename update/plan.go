package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A plan is a rule as data: what it remembers of each parameter, and the passes of a
// step over parameters, gradient and state.
type plan struct {
	state  []slot
	passes []pass

	// inside says that a kernel applies L1 and L2 of a proximal step itself.
	inside bool
}

// A slot is a state buffer.
type slot struct {
	name    string  // in exported state
	initial float64 // its first value

	// fades is what a step leaves of it where the gradient is 0, as a factor: 1 if it
	// does not fade.
	fades float64

	// Of squares, which are never negative, those go that are small by this mask; of
	// others those that are small where the gradient has ceased.
	square  bool
	flushes fallback.Mask
}

// A pass is one kernel over all tensors of a group.
type pass interface {
	// prepare computes the scalars of a step. Each copy has its own.
	prepare(h *stepInput)
	copy() pass

	// run is called for parts of the buffers, from any goroutine: parameters, gradient
	// and state, of which a pass takes what is its own. The lanes are for its sums.
	run(t kernels.Table, list *kernels.List, lanes *sums)

	// measures reports whether the pass leaves sums of each tensor, and use computes
	// the scalars that follow from them for the next one.
	measures() bool
	use(h *stepInput, of [2]float64)

	// takes are the buffers of the pass among parameters (0), gradient (1) and state;
	// nil stands for all.
	takes() []int
}

// sums are the lanes of the sums of a pass.
type sums [2][fallback.Lanes]float64

// A onePass is the usual pass: one kernel, whose scalars follow from the step.
type onePass[C any] struct {
	kernel  func(kernels.Table, *kernels.List, *C)
	scalars func(h *stepInput) C
	c       C
}

// one makes the passes of a rule that has one.
func one[C any](kernel func(kernels.Table, *kernels.List, *C), scalars func(h *stepInput) C) []pass {
	return []pass{&onePass[C]{kernel: kernel, scalars: scalars}}
}

func (p *onePass[C]) prepare(h *stepInput) { p.c = p.scalars(h) }
func (p *onePass[C]) copy() pass           { return &onePass[C]{kernel: p.kernel, scalars: p.scalars} }
func (p *onePass[C]) run(t kernels.Table, list *kernels.List, _ *sums) {
	p.kernel(t, list, &p.c)
}
func (*onePass[C]) measures() bool             { return false }
func (*onePass[C]) use(*stepInput, [2]float64) {}
func (*onePass[C]) takes() []int               { return nil }

// A stepInput is what the scalars of one step are made from.
type stepInput struct {
	fallback.Common
	t      int64   // the step, from 1
	lr     float64 // at this step
	l1, l2 float64 // of a proximal step that the kernel takes
}
