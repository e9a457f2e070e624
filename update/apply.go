package update

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// begun is a step that the caller carries out with Apply.
type begun struct {
	mu      sync.Mutex
	applied [][]span // by tensor, in order and apart
	workers []*engine.Worker
	torn    bool // a part was not carried to its end
}

// A span is a range of a tensor.
type span struct{ lo, hi int }

// Begin begins a step that the caller carries out with Apply, on goroutines of
// its own: it counts the step and computes what depends on it. End says whether it is
// complete. A norm to clip to is that of what Observe has seen, or BeginNorm takes it. No
// policy can be heeded: see CountNonFinite.
func (o *Optimizer) Begin() error {
	if o.clips() && !o.engine.Observed() {
		return &ArgError{"MaxNorm", o.maxNorm, "+Inf with Begin, unless Observe has seen the gradients: BeginNorm takes the sum of squares"}
	}
	return o.begin(func() (float64, error) {
		if o.clips() {
			return o.observed(nil)
		}
		return 0, nil
	})
}

// BeginNorm is Begin where gradients are clipped: squares is the sum of the squares of
// all gradients as they are given, such as the sum of SumSquares of each tensor.
func (o *Optimizer) BeginNorm(squares float64) error {
	if !(squares >= 0) {
		return &ArgError{"squares", squares, "a number of at least 0"}
	}
	return o.begin(func() (float64, error) {
		o.engine.ForgetObserved()
		return squares, nil
	})
}

// begin is Begin with a function that has the sum of squares, once nothing else is wrong.
func (o *Optimizer) begin(measure func() (float64, error)) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	switch {
	case o.begun != nil:
		return &ArgError{"step", o.Steps(), "one that End has ended, before another begins"}
	case o.evaluated:
		return o.checkTraining()
	case o.clipsTensors():
		return &ArgError{"MaxTensorNorm", o.maxTensorNorm, "+Inf with Begin, which sees no gradients"}
	case o.policy != Propagate:
		return &ArgError{"policy", o.policy, "Propagate with Begin, which sees no gradients"}
	case o.Steps() >= mostSteps:
		return &ArgError{"the number of steps", o.Steps(), "one that can be counted on"}
	}
	for k := range o.groups {
		if !o.engine.IsPlain(k) {
			return &ArgError{"rule", o.groups[k].rule.Name(), "one of a single pass over elements, without sums or CautiousUpdate, with Begin: take StepSet"}
		}
	}
	squares, err := measure()
	if err != nil {
		return err
	}
	o.clipTo(squares)
	o.engine.Begin(o.scale*o.clip, nil)
	if o.round.applied == nil {
		o.round.applied = make([][]span, len(o.tensors))
	}
	for k := range o.round.applied {
		o.round.applied[k] = o.round.applied[k][:0]
	}
	o.begun, o.round.torn = &o.round, false
	return nil
}

// Apply carries out the step that was begun on a part of a tensor, the one that
// starts at an offset and is as long as params and grads. Parts may be applied at the
// same time; together they are the same bits as one Step. A part that overlaps one
// before it is an error.
func (o *Optimizer) Apply(tensor, offset int, params, grads []float32) error {
	return o.applyPart(&portion{tensor: tensor, offset: offset, params: kernels.TypedOf(params), grads: kernels.TypedOf(grads)})
}

// ApplyTyped is Apply with a gradient of any type: the bits are those of Apply with the same
// numbers as float32.
func (o *Optimizer) ApplyTyped(tensor, offset int, params []float32, grads Typed) error {
	if o.begun != nil {
		o.fusing.Do(o.fuse)
	}
	return o.applyPart(&portion{tensor: tensor, offset: offset, params: kernels.TypedOf(params), grads: grads})
}

// A portion is what Apply and its like carry a step out on.
type portion struct {
	tensor, offset int
	params         Typed   // float32, or BF16
	rests          []int16 // the other halves of parameters, or nil
	grads          Typed
}

func (o *Optimizer) applyPart(x *portion) error {
	if err := o.checkTensorIndex(x.tensor); err != nil {
		return err
	}
	t, n := &o.tensors[x.tensor], x.params.Len()
	if x.offset < 0 || x.offset > t.size {
		return &ArgError{"offset", x.offset, fmt.Sprintf("within the %d elements of the tensor", t.size)}
	}
	if n > t.size-x.offset {
		return &ArgError{"len(params)", n, fmt.Sprintf("at most the %d elements from the offset on", t.size-x.offset)}
	}
	if x.grads.Len() != n {
		return &ArgError{"len(grads)", length(x.grads), fmt.Sprintf("len(params) = %d", n)}
	}
	if o.begun == nil {
		return &ArgError{"step", o.Steps(), "one that Begin began"}
	}
	if err := firstError(o.checkWholeRows(t, x.offset, n), o.checkWholeBlocks(x.tensor, x.offset, n)); err != nil {
		return err
	}
	if err := o.apartFromState(x); err != nil {
		return err
	}
	w, err := o.begun.take(x.tensor, span{x.offset, x.offset + n})
	if err != nil {
		return err
	}
	whole := false
	defer func() { o.begun.give(w, whole) }()
	if x.params.Element() == kernels.Float32 {
		o.engine.Part(w, x.tensor, x.offset, x.params.Float32(), x.grads)
	} else {
		o.engine.PartSplit(w, x.tensor, x.offset, x.params.BF16(), x.rests, x.grads)
	}
	whole = true
	return nil
}

// take notes that a part is applied, and lends what its goroutine needs.
func (b *begun) take(tensor int, s span) (*engine.Worker, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.applied[tensor]
	at, _ := slices.BinarySearchFunc(list, s.lo, func(x span, lo int) int { return x.hi - lo })
	for at < len(list) && list[at].hi <= s.lo {
		at++
	}
	if s.lo < s.hi && at < len(list) && list[at].lo < s.hi {
		return nil, &ArgError{"offset", s.lo, fmt.Sprintf("of a part apart from %d to %d, which this step has been applied to", list[at].lo, list[at].hi)}
	}
	if s.lo < s.hi {
		b.applied[tensor] = slices.Insert(list, at, s)
	}
	if n := len(b.workers); n > 0 {
		w := b.workers[n-1]
		b.workers = b.workers[:n-1]
		return w, nil
	}
	return new(engine.Worker), nil
}

// give takes back what was lent for a part.
func (b *begun) give(w *engine.Worker, whole bool) {
	w.Forget()
	b.mu.Lock()
	b.torn = b.torn || !whole
	b.workers = append(b.workers, w)
	b.mu.Unlock()
}

// End ends the step that was begun. If a part was left out it says which, and the step
// goes on: it can be applied yet. A step of which a part has panicked is over, and torn.
func (o *Optimizer) End() error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if o.begun == nil {
		return &ArgError{"step", o.Steps(), "one that Begin began"}
	}
	if o.begun.torn {
		o.begun, o.torn = nil, true
		return tornError()
	}
	for k, list := range o.begun.applied {
		at := 0
		for _, s := range list {
			if s.lo > at {
				break
			}
			at = s.hi
		}
		if t := &o.tensors[k]; at < t.size {
			return &ArgError{fmt.Sprintf("tensor %d%s", k, quoted(t.name)), fmt.Sprintf("not applied from %d on", at), fmt.Sprintf("all of its %d elements", t.size)}
		}
	}
	o.engine.End()
	o.begun, o.clip = nil, 1
	return nil
}

// apartFromState checks that a part's buffers overlap neither each other nor any state.
func (o *Optimizer) apartFromState(x *portion) error {
	list := [...]interval{
		o.interval(x.params, "params", x.tensor),
		o.interval(x.grads, "grads", x.tensor),
		o.interval(kernels.TypedOf(engine.Uppers(x.rests)), "rests", x.tensor),
	}
	for j, a := range list {
		for _, b := range list[j+1:] {
			if a.overlaps(b) {
				return overlap(a, b)
			}
		}
		k, _ := slices.BinarySearchFunc(o.states, a.at, func(s interval, at uintptr) int { return cmp.Compare(s.end(), at+1) })
		if k < len(o.states) && a.overlaps(o.states[k]) {
			return overlap(a, o.states[k])
		}
	}
	return nil
}
