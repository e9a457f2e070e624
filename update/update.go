// Package update takes gradients to updated parameters and optimizer state, in
// one pass over flat float32 buffers and in place.
//
// The bits of a result depend on the inputs alone: not on the instruction set,
// the number of workers, or how a buffer is split into ranges. A step allocates
// nothing, and steps small work on the caller's goroutine. Gradients are only
// read. An error means that nothing was written.
package update

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Tensor is one parameter tensor of a set: how many elements it has, which of
// the rules is its own, and its state if the caller owns it.
type Tensor struct {
	Size int
	Rule int // index in the rules that NewSet is given

	// State holds the state buffers by name, each of Size elements, as a
	// checkpoint or the caller's arena has them. The optimizer works in them. A
	// nil State is allocated and given its first values.
	State map[string][]float32
}

// An Optimizer applies rules to parameters: it has their state and counts the
// steps. One goroutine at a time may call its methods, but for Apply.
type Optimizer struct {
	table   *kernels.Table
	groups  []group
	tensors []tensor
	sizes   []int // of the tensors
	units   []unit
	lists   []kernels.List // by unit, those of small tensors
	total   int            // elements of all tensors

	step      int64
	begun     bool // by Begin, for Apply
	scale     float64
	maxNorm   float64 // of the gradients
	norm      float64 // of the last step's
	clip      float64 // the factor that follows
	policy    Policy
	skipped   int64
	nonFinite int64
	partial   []float64 // by unit, what is read of the gradients before the step

	known     []known                      // buffers that are known not to overlap
	intervals []interval                   // room for the check
	scratch   chan *[tune.BlockLen]float32 // blocks that no goroutine uses
	pool      workers
}

// A tensor is a Tensor with its state in the order of its rule's slots.
type tensor struct {
	size  int
	group int
	state state
}

// A group is a rule at work: its options at this step.
type group struct {
	rule    Rule
	options Options
	lr      float64
	slots   []slot
	kept    float64
	inside  bool // the kernel applies L1 and L2
	stepper
	stages

	// The small tensors are listed, their buffers one after the other, as kernels
	// take them for many tensors in one call.
	small []int
	list  [][]float32
}

// lists reports whether tensors of the group can be listed: no stage may be around
// the kernel.
func (g *group) lists() bool {
	return !g.regularizes && !g.shrinks
}

// buffers is how many a tensor has.
func (g *group) buffers() int { return 2 + len(g.slots) }

// New returns an optimizer for one flat buffer of n parameters.
func New(n int, rule Rule) (*Optimizer, error) {
	return NewSet([]Tensor{{Size: n}}, rule)
}

// NewSet returns an optimizer for many tensors, which a step takes in one call,
// each by one of the rules.
func NewSet(tensors []Tensor, rules ...Rule) (*Optimizer, error) {
	o := &Optimizer{table: kernels.Active(), scale: 1, maxNorm: math.Inf(1), clip: 1, scratch: make(chan *[tune.BlockLen]float32, maxBlocks)}
	for k, r := range rules {
		if v := reflect.ValueOf(r); !v.IsValid() || v.Kind() == reflect.Pointer { // which might change later
			return nil, &ArgError{fmt.Sprintf("rules[%d]", k), fmt.Sprintf("%T", r), "a rule, not a pointer to one"}
		}
		if err := r.check(); err != nil {
			return nil, err
		}
		o.groups = append(o.groups, newGroup(r))
	}
	room := smallState(tensors, o.groups)
	var owned []interval
	for k, t := range tensors {
		if t.Size < 0 {
			return nil, &ArgError{fmt.Sprintf("tensors[%d].Size", k), t.Size, "at least 0"}
		}
		if t.Rule < 0 || t.Rule >= len(rules) {
			return nil, &ArgError{fmt.Sprintf("tensors[%d].Rule", k), t.Rule, fmt.Sprintf("the index of one of %d rules", len(rules))}
		}
		s, err := o.groups[t.Rule].state(k, t, &room)
		if err != nil {
			return nil, err
		}
		o.tensors = append(o.tensors, tensor{t.Size, t.Rule, s})
		o.sizes = append(o.sizes, t.Size)
		o.total += t.Size
		if g := &o.groups[t.Rule]; len(tensors) > 1 && t.Size <= tune.SmallLen && g.lists() {
			g.small = append(g.small, k)
		}
		for j, slot := range o.groups[t.Rule].slots {
			owned = append(owned, interval{at: address(s[j]), n: t.Size, name: slot.name, tensor: k})
		}
	}
	if err := disjoint(owned); err != nil {
		return nil, err
	}
	o.known = make([]known, len(tensors))
	o.intervals = make([]interval, 0, (2+maxSlots)*len(tensors))
	for k := range o.groups {
		g := &o.groups[k]
		g.list = make([][]float32, len(g.small)*g.buffers())
		for at, tensor := range g.small {
			copy(g.list[at*g.buffers()+2:], o.tensors[tensor].state[:len(g.slots)])
		}
	}
	o.units = split(o.tensors, o.groups)
	o.partial = make([]float64, len(o.units))
	o.lists = make([]kernels.List, len(o.units))
	o.pool.init(o)
	return o, o.SetWorkers(0)
}

func newGroup(r Rule) group {
	g := group{rule: r, options: r.options(), lr: r.options().LR, slots: r.slots(), kept: r.kept(), stepper: r.stepper()}
	if g.options.penalties() {
		g.inside = r.takes()
		g.shrinks = !g.inside && g.options.Proximal
		g.regularizes = !g.inside && !g.options.Proximal
	}
	return g
}

// smallState is room for the state of all small tensors, side by side. A tensor
// alone is laid out like a large one.
func smallState(tensors []Tensor, groups []group) []float32 {
	n := 0
	if len(tensors) == 1 {
		return nil
	}
	for _, t := range tensors {
		if t.State == nil && 0 <= t.Rule && t.Rule < len(groups) && 0 < t.Size && t.Size <= tune.SmallLen {
			n += roundUp(t.Size, lineLen) * len(groups[t.Rule].slots)
		}
	}
	return Alloc(n, 1)[0]
}

// state takes over the caller's buffers of a tensor or makes new ones, those of
// small tensors in the room for them.
func (g *group) state(k int, t Tensor, room *[]float32) (s state, err error) {
	if t.State != nil {
		return s, g.bind(k, t, &s)
	}
	var buffers [][]float32
	if t.Size > tune.SmallLen || *room == nil {
		const others = 2 // the parameters and the gradients
		buffers = alloc(t.Size, len(g.slots), others)
	}
	for j, slot := range g.slots {
		if buffers != nil {
			s[j] = buffers[j]
		} else {
			s[j] = (*room)[:t.Size:t.Size]
			*room = (*room)[roundUp(t.Size, lineLen):]
		}
		if slot.initial != 0 {
			for i := range s[j] {
				s[j][i] = float32(slot.initial)
			}
		}
	}
	return s, nil
}

func (g *group) bind(k int, t Tensor, s *state) error {
	for j, slot := range g.slots {
		b, ok := t.State[slot.name]
		name := fmt.Sprintf("tensors[%d].State[%q]", k, slot.name)
		if !ok {
			return &ArgError{name, "absent", "a buffer of the " + g.rule.Name() + " rule"}
		}
		if len(b) != t.Size {
			return &ArgError{"len(" + name + ")", len(b), fmt.Sprint(t.Size)}
		}
		s[j] = b
	}
	if len(t.State) != len(g.slots) {
		return &ArgError{fmt.Sprintf("len(tensors[%d].State)", k), len(t.State), fmt.Sprintf("the %d buffers of the %s rule", len(g.slots), g.rule.Name())}
	}
	return nil
}

// Len is the number of parameters of all tensors.
func (o *Optimizer) Len() int { return o.total }

// SetLR sets the learning rate of every rule from the next step on.
func (o *Optimizer) SetLR(lr float64) error {
	for k := range o.groups {
		if err := o.groups[k].checkLR(lr); err != nil {
			return err
		}
	}
	for k := range o.groups {
		o.groups[k].lr = lr
	}
	return nil
}

// SetRuleLR sets the learning rate of one rule from the next step on.
func (o *Optimizer) SetRuleLR(rule int, lr float64) error {
	if rule < 0 || rule >= len(o.groups) {
		return &ArgError{"rule", rule, fmt.Sprintf("the index of one of %d rules", len(o.groups))}
	}
	if err := o.groups[rule].checkLR(lr); err != nil {
		return err
	}
	o.groups[rule].lr = lr
	return nil
}

func (g *group) checkLR(lr float64) error {
	return firstError(notNegative("lr", lr), g.options.checkRate("lr", lr))
}

// SetGradScale sets the factor of all gradients from the next step on, before
// penalties are added: one over a loss scale, a batch size, or the product of
// both. It is 1 at first.
func (o *Optimizer) SetGradScale(scale float64) error {
	if !(scale > 0 && float32(scale) > 0 && scale <= math.MaxFloat32) {
		return &ArgError{"scale", scale, "a finite float32 above 0"}
	}
	o.scale = scale
	return nil
}

// Steps is the number of steps taken, those that were skipped not counted.
func (o *Optimizer) Steps() int64 { return o.step }

// SetSteps sets the number of steps taken, as when a checkpoint is loaded or
// the caller counts for itself. The next step is number steps+1.
func (o *Optimizer) SetSteps(steps int64) error {
	if steps < 0 {
		return &ArgError{"steps", steps, "at least 0"}
	}
	o.step, o.begun = steps, false
	return nil
}

// SetWorkers sets how many goroutines a step may use at most; 0 means
// runtime.GOMAXPROCS. Small steps use the caller's alone. The bits of the
// result are the same for any number.
func (o *Optimizer) SetWorkers(n int) error {
	if n < 0 {
		return &ArgError{"n", n, "at least 0"}
	}
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	o.pool.setLimit(n)
	if slices.ContainsFunc(o.groups, func(g group) bool { return !g.lists() }) {
		for len(o.scratch) < min(n, maxBlocks) {
			o.release(new([tune.BlockLen]float32))
		}
	}
	return nil
}

// Step updates params, the only tensor, from its gradient.
func (o *Optimizer) Step(params, grads []float32) error {
	if len(o.tensors) != 1 {
		return &ArgError{"the number of tensors", len(o.tensors), "1: a set takes StepSet"}
	}
	if n := o.sizes[0]; n < tune.ParallelLen && len(params) == n && len(grads) == n && !o.reads() && o.known[0] == (known{address(params), address(grads)}) {
		if err := o.Begin(); err != nil {
			return err
		}
		t := &o.tensors[0]
		o.groups[t.group].apply(o, t, 0, n, params, grads)
		o.begun, o.norm = false, 0
		return nil
	}
	o.pool.one = [2][1][]float32{{params}, {grads}}
	err := o.StepSet(o.pool.one[0][:], o.pool.one[1][:])
	o.pool.one = [2][1][]float32{}
	return err
}

// StepSet updates every tensor from its gradient, params[k] and grads[k] being
// those of the k-th. Of small tensors the optimizer keeps both until a step with
// other buffers, because it lists them for the kernels once and not in each step.
func (o *Optimizer) StepSet(params, grads [][]float32) error {
	if err := o.checkSet(params, grads); err != nil {
		return err
	}
	if o.step == math.MaxInt64 {
		return o.Begin()
	}
	o.measure(params, grads)
	if o.policy != Propagate {
		if skip, err := o.refuse(params, grads); skip || err != nil {
			o.clip = 1
			return err
		}
	}
	if err := o.Begin(); err != nil {
		return err
	}
	o.pool.run(stepOf, params, grads)
	o.begun, o.clip = false, 1
	return nil
}

// reads reports whether the gradients are read before the step.
func (o *Optimizer) reads() bool { return o.policy != Propagate || o.clips() }

// Begin begins a step that the caller carries out with Apply, on goroutines of
// its own: it counts the step and computes what depends on it. The step is
// complete, and may be exported, when each element has been applied once.
func (o *Optimizer) Begin() error {
	if o.step == math.MaxInt64 {
		return &ArgError{"the number of steps", o.step, "one that can be counted on"}
	}
	o.step++
	o.begun = true
	for k := range o.groups {
		o.groups[k].prepare(o.step, float64(o.scale*o.clip))
	}
	return nil
}

// Apply carries out the step that was begun on a part of a tensor, the one that
// starts at an offset and is as long as params and grads. Parts that do not
// overlap may be applied at the same time; together they are the same bits as
// one Step. The policy for NaN and Inf and the clipping of the norm are the
// caller's here: see CountNonFinite, SumSquares and SetGradScale.
func (o *Optimizer) Apply(tensor, offset int, params, grads []float32) error {
	if tensor < 0 || tensor >= len(o.tensors) {
		return &ArgError{"tensor", tensor, fmt.Sprintf("the index of one of %d tensors", len(o.tensors))}
	}
	t := &o.tensors[tensor]
	if offset < 0 || offset > t.size {
		return &ArgError{"offset", offset, fmt.Sprintf("within the %d elements of the tensor", t.size)}
	}
	if len(params) > t.size-offset {
		return &ArgError{"len(params)", len(params), fmt.Sprintf("at most the %d elements from the offset on", t.size-offset)}
	}
	if len(grads) != len(params) {
		return &ArgError{"len(grads)", len(grads), fmt.Sprintf("len(params) = %d", len(params))}
	}
	if !o.begun {
		return &ArgError{"step", o.step, "one that Begin began"}
	}
	if err := o.apart(tensor, params, grads); err != nil {
		return err
	}
	o.groups[t.group].apply(o, t, offset, offset+len(params), params, grads)
	return nil
}

// prepare computes the scalars of a step.
func (g *group) prepare(t int64, scale float64) {
	r := &g.options
	if r.Maximize {
		scale = -scale
	}
	// Go may fuse a product and a sum, which would change bits: hence float64(…)
	// here and in the rules.
	h := hyper{t: t, lr: g.lr, scale: scale, decay: 1 - float64(g.lr*r.WeightDecay)}
	h.bits(r.KeepSubnormals, g.kept)
	switch {
	case g.inside:
		h.l1, h.l2 = r.L1, r.L2
	case g.shrinks:
		shrink := float32(1 / (1 + float64(g.lr*r.L2)))
		g.shrink = fallback.ShrinkScalars{Threshold: float32(g.lr * r.L1), Shrink: shrink, Lasts: h.lasts(shrink)}
	case g.regularizes:
		g.regularize = fallback.RegularizeScalars{Scale: float32(scale), L2: float32(r.L2), L1: float32(r.L1)}
		h.scale = 1
	}
	g.stepper.prepare(h)
}

// stages are the kernels around a rule's own, for penalties that it does not
// apply itself. They work block by block, so that memory is crossed once.
type stages struct {
	regularizes, shrinks bool
	regularize           fallback.RegularizeScalars
	shrink               fallback.ShrinkScalars
}

// maxBlocks is how many blocks an optimizer keeps for its goroutines. A sync.Pool
// would not do: the garbage collector empties it.
const maxBlocks = 256

// block takes a block that no goroutine uses, or a new one.
func (o *Optimizer) block() *[tune.BlockLen]float32 {
	select {
	case x := <-o.scratch:
		return x
	default:
		return new([tune.BlockLen]float32)
	}
}

// release gives a block back.
func (o *Optimizer) release(x *[tune.BlockLen]float32) {
	select {
	case o.scratch <- x:
	default:
	}
}

// apply updates the elements lo to hi of a tensor, whose parameters and
// gradients are p and g.
func (g *group) apply(o *Optimizer, t *tensor, lo, hi int, p, grad []float32) {
	if !g.regularizes && !g.shrinks {
		g.run(o.table, p, grad, t.part(lo, hi))
		return
	}
	x := o.block()
	for at := 0; at < len(p); at += tune.BlockLen {
		end := min(at+tune.BlockLen, len(p))
		q, d := p[at:end], grad[at:end]
		if g.regularizes {
			o.table.Regularize(x[:len(q)], d, q, &g.regularize)
			d = x[:len(q)]
		}
		g.run(o.table, q, d, t.part(lo+at, lo+end))
		if g.shrinks {
			o.table.Shrink(q, &g.shrink)
		}
	}
	o.release(x)
}

// part is a range of the state buffers.
func (t *tensor) part(lo, hi int) state {
	s := t.state
	for k := range s {
		if s[k] != nil {
			s[k] = s[k][lo:hi]
		}
	}
	return s
}
