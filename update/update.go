// Package update takes gradients to updated parameters and optimizer state, in
// one pass over flat float32 buffers and in place.
//
// The bits of a result depend on the inputs alone: not on the instruction set,
// the number of workers, or how a buffer is split into ranges. A step allocates
// nothing, and steps small work on the caller's goroutine. Gradients are only
// read. An error means that nothing was written.
//
// A rule is a struct of options, and the packages torch, keras, optax, tensorflow and
// textbook below this one have the rules of each framework under its own names and with
// its defaults.
package update

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Tensor is one parameter tensor of a set: how many elements it has, which of
// the rules is its own, and its state if the caller owns it.
type Tensor struct {
	Name string // in errors and exported state; may be empty
	Size int
	Rule int // index in the rules that NewSet is given

	// State holds the state buffers by name, each of Size elements, as a
	// checkpoint or the caller's arena has them. The optimizer works in them: what is
	// in them counts, also before the first step. A nil State is allocated and given
	// its first values.
	State map[string][]float32
}

// An Optimizer applies rules to parameters: it has their state and counts the
// steps. One goroutine at a time may call its methods, but for Apply; a second one in a
// step gets an error.
type Optimizer struct {
	table   kernels.Table
	groups  []group
	tensors []tensor
	sizes   []int // of the tensors
	units   []unit
	total   int // elements of all tensors

	step      int64
	scale     float64
	maxNorm   float64 // of the gradients
	norm      float64 // of the last step's
	clip      float64 // the factor that follows
	policy    Policy
	skipped   int64
	nonFinite int64
	partial   [][2]float64 // by unit, what is read before the step or measured by a pass
	apart     bool         // tensors have taken different numbers of steps
	missing   bool         // some gradients of this step are nil
	measures  bool         // a rule needs sums of each tensor
	placed    int          // counts how often buffers were elsewhere than before

	input stepInput // room for it
	inUse atomic.Bool
	torn  bool   // a step was not carried to its end
	begun *begun // the step that is carried out by Apply, round its room
	round begun

	states  []interval // all state, in order
	owned   []interval // parameters and state, in order
	known   []known
	gaps    []int // by tensor, where its gradient was among the owned
	present []bool
	one     [2][1][]float32 // params and grads of the only tensor
	whole   kernels.List    // the only tensor, if it is small
	pool    workers
}

// A tensor is a Tensor with its state in the order of its rule's slots.
type tensor struct {
	name   string
	size   int
	group  int
	state  [][]float32
	missed int64  // steps of the optimizer
	units  [2]int // the first of its units and the one behind the last, of its own
	listed int    // place among the small tensors of its group, or -1
	apart  []pass // its own, while it has taken fewer steps than others
}

// A group is a rule at work: its options at this step.
type group struct {
	rule    Rule
	options Options
	base    float64 // learning rate at first, whose ratio to that of others is kept
	lr      float64
	fades   float64 // what a step leaves of the state that fades fastest
	measure bool    // a pass needs sums of each tensor
	plan
	stages

	shared []int       // tensors that share calls
	list   [][]float32 // the buffers of these, one tensor after the other
}

// lists reports whether tensors of the group can share calls: no stage may be around the
// kernel, and nothing of a single tensor be measured.
func (g *group) lists() bool { return !g.penalized() && !g.measure }

// buffers is how many a tensor has.
func (g *group) buffers() int { return 2 + len(g.state) }

// New returns an optimizer for one flat buffer of n parameters.
func New(n int, rule Rule) (*Optimizer, error) {
	return NewSet([]Tensor{{Size: n}}, rule)
}

// NewSet returns an optimizer for many tensors, which a step takes in one call,
// each by one of the rules.
func NewSet(tensors []Tensor, rules ...Rule) (*Optimizer, error) {
	o := &Optimizer{table: kernels.Active(), scale: 1, maxNorm: math.Inf(1), clip: 1}
	for k, r := range rules {
		if v := reflect.ValueOf(r); !v.IsValid() || v.Kind() == reflect.Pointer { // which might change later
			return nil, &ArgError{fmt.Sprintf("rules[%d]", k), fmt.Sprintf("%T", r), "a rule, not a pointer to one"}
		}
		if err := r.check(); err != nil {
			return nil, err
		}
		o.groups = append(o.groups, newGroup(r))
		o.measures = o.measures || o.groups[k].measure
	}
	if err := o.checkSizes(tensors); err != nil {
		return nil, err
	}
	room := smallState(tensors, o.groups)
	var owned []interval
	for k, t := range tensors {
		s, err := o.groups[t.Rule].bind(k, t, &room)
		if err != nil {
			return nil, err
		}
		o.tensors = append(o.tensors, tensor{name: t.Name, size: t.Size, group: t.Rule, state: s, listed: -1})
		for j, slot := range o.groups[t.Rule].state {
			owned = append(owned, interval{address(s[j]), t.Size, slot.name, k, t.Name})
		}
	}
	var err error
	if o.states, err = disjoint(owned); err != nil {
		return nil, err
	}
	o.listSmall()
	o.units = split(o.tensors, o.groups)
	o.growLists()
	o.partial = make([][2]float64, len(o.units))
	o.owned = make([]interval, 0, len(tensors)+len(owned))
	o.known = make([]known, len(tensors))
	o.gaps = make([]int, len(tensors))
	o.present = make([]bool, len(tensors))
	o.pool.init(o)
	return o, o.SetWorkers(0)
}

// checkSizes refuses tensors that cannot be, before any memory is asked for.
func (o *Optimizer) checkSizes(tensors []Tensor) error {
	const most = math.MaxInt / 64 // elements, so that bytes of all state can be counted
	for k, t := range tensors {
		if t.Size < 0 || t.Size > most-o.total {
			return &ArgError{fmt.Sprintf("tensors[%d].Size", k), t.Size, fmt.Sprintf("at least 0, and at most %d elements of all tensors", most)}
		}
		if t.Rule < 0 || t.Rule >= len(o.groups) {
			return &ArgError{fmt.Sprintf("tensors[%d].Rule", k), t.Rule, fmt.Sprintf("the index of one of %d rules", len(o.groups))}
		}
		o.sizes = append(o.sizes, t.Size)
		o.total += t.Size
	}
	return nil
}

func newGroup(r Rule) group {
	o := r.options()
	g := group{rule: r, options: o, base: o.LR, lr: o.LR, fades: 1, plan: r.plan()}
	for _, s := range g.state {
		g.fades = min(g.fades, s.fades)
	}
	for _, p := range g.passes {
		g.measure = g.measure || p.measures()
	}
	return g
}

// listSmall lists the tensors that share calls with others.
func (o *Optimizer) listSmall() {
	for k := range o.tensors {
		t := &o.tensors[k]
		if g := &o.groups[t.group]; len(o.tensors) > 1 && t.size <= tune.SmallLen && !g.measure && g.options.L1 == 0 {
			t.listed = len(g.shared)
			g.shared = append(g.shared, k)
		}
	}
	for k := range o.groups {
		g := &o.groups[k]
		g.list = make([][]float32, len(g.shared)*g.buffers())
		for at, tensor := range g.shared {
			copy(g.list[at*g.buffers()+2:], o.tensors[tensor].state)
		}
	}
}

// growLists makes room for the lists of what is flushed.
func (o *Optimizer) growLists() {
	for k := range o.units {
		if u := &o.units[k]; u.tensor < 0 {
			n, slots := u.hi-u.lo, len(o.groups[u.group].state)
			u.flushed = &flushed{placed: -1, smalls: make([][]float32, 0, n), fades: make([][]float32, 0, 2*n*(slots+1))}
		}
	}
}

// smallState is room for the state of all small tensors, side by side. A tensor
// alone is laid out like a large one.
func smallState(tensors []Tensor, groups []group) []float32 {
	n := 0
	if len(tensors) == 1 {
		return nil
	}
	for _, t := range tensors {
		if t.State == nil && 0 < t.Size && t.Size <= tune.SmallLen {
			n += roundUp(t.Size, lineLen) * len(groups[t.Rule].state)
		}
	}
	return Alloc(n, 1)[0]
}

// bind takes over the caller's buffers of a tensor or makes new ones, those of
// small tensors in the room for them.
func (g *group) bind(k int, t Tensor, room *[]float32) ([][]float32, error) {
	if t.State != nil {
		return g.callers(k, t)
	}
	s := make([][]float32, len(g.state))
	if t.Size > tune.SmallLen || *room == nil {
		const others = 2 // the parameters and the gradients
		copy(s, alloc(t.Size, len(g.state), others))
	} else {
		for j := range s {
			s[j] = (*room)[:t.Size:t.Size]
			*room = (*room)[roundUp(t.Size, lineLen):]
		}
	}
	for j, slot := range g.state {
		for i := range s[j] {
			if slot.initial == 0 {
				break
			}
			s[j][i] = float32(slot.initial)
		}
	}
	return s, nil
}

// callers takes over the caller's buffers.
func (g *group) callers(k int, t Tensor) ([][]float32, error) {
	var s [][]float32
	for _, slot := range g.state {
		b, ok := t.State[slot.name]
		name := fmt.Sprintf("tensors[%d].State[%q]", k, slot.name)
		if !ok {
			return nil, &ArgError{name, "absent", "a buffer of the " + g.rule.Name() + " rule"}
		}
		if len(b) != t.Size {
			return nil, &ArgError{"len(" + name + ")", len(b), fmt.Sprint(t.Size)}
		}
		if err := slot.check(name, b); err != nil {
			return nil, err
		}
		s = append(s, b)
	}
	if len(t.State) != len(g.state) {
		return nil, &ArgError{fmt.Sprintf("len(tensors[%d].State)", k), len(t.State), fmt.Sprintf("the %d buffers of the %s rule", len(g.state), g.rule.Name())}
	}
	return s, nil
}

// check refuses state that no step can have left: NaN, infinities, and squares below 0.
func (s slot) check(name string, b []float32) error {
	least, want := float32(-math.MaxFloat32), "finite numbers"
	if s.square {
		least, want = 0, "finite numbers of at least 0"
	}
	for i, x := range b {
		if !(x >= least && x <= math.MaxFloat32) {
			return &ArgError{fmt.Sprintf("%s[%d]", name, i), x, want}
		}
	}
	return nil
}

// Len is the number of parameters of all tensors.
func (o *Optimizer) Len() int { return o.total }

// SetWorkers sets how many goroutines a step may use at most; 0 means
// runtime.GOMAXPROCS. Small steps use the caller's alone. The bits of the
// result are the same for any number.
func (o *Optimizer) SetWorkers(n int) error {
	const most = 1 << 12
	if n < 0 || n > most {
		return &ArgError{"n", n, fmt.Sprintf("from 0 to %d", most)}
	}
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), most)
	}
	o.pool.setLimit(n)
	return nil
}

// enter keeps a second goroutine out, and what follows a step that a panic has torn.
func (o *Optimizer) enter() error {
	if !o.inUse.CompareAndSwap(false, true) {
		return &ArgError{"the optimizer", "in use by another goroutine", "one at a time"}
	}
	if o.torn {
		o.inUse.Store(false)
		return &ArgError{"the last step", "torn by a panic", "one that was carried to its end: import a state"}
	}
	return nil
}

func (o *Optimizer) leave() { o.inUse.Store(false) }

// Step updates params, the only tensor, from its gradient.
func (o *Optimizer) Step(params, grads []float32) error {
	if len(o.tensors) != 1 {
		return &ArgError{"the number of tensors", len(o.tensors), "1: a set takes StepSet"}
	}
	if grads == nil && o.sizes[0] > 0 {
		return &ArgError{"grads", "nil", "a gradient"}
	}
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if o.isSimple(params, grads) {
		o.simple(params, grads)
		return nil
	}
	o.one = [2][1][]float32{{params}, {grads}}
	err := o.stepSet(o.one[0][:], o.one[1][:])
	o.one = [2][1][]float32{}
	return err
}

// isSimple reports whether a step of the only tensor is that of the step before, and
// small.
func (o *Optimizer) isSimple(params, grads []float32) bool {
	n := o.sizes[0]
	return n < tune.ParallelLen && len(params) == n && len(grads) == n && o.known[0] == (known{address(params), address(grads)}) &&
		o.policy == Propagate && !o.clips() && !o.measures && o.begun == nil && o.step < math.MaxInt64
}

// simple takes such a step, without all that others ask for.
func (o *Optimizer) simple(params, grads []float32) {
	o.torn, o.missing, o.norm = true, false, 0
	o.step++
	o.prepare()
	g, t := &o.groups[o.tensors[0].group], &o.tensors[0]
	if g.penalized() || t.missed != 0 {
		o.apply(&o.pool.own, t, 0, 0, len(params), params, grads)
	} else {
		g.passes[0].run(o.table, &o.whole, &o.pool.own.sums)
		if g.flushes(o.step) {
			g.flush(o.table, &o.pool.own, t, 0, len(params), params, grads)
		}
	}
	o.torn = false
}

// StepSet updates every tensor from its gradient, params[k] and grads[k] being
// those of the k-th. A tensor whose gradient is nil is left out of the step and keeps
// its own count of steps, as in PyTorch. Tensors may share a gradient. Of small tensors
// the optimizer keeps both until a step with other buffers, because it lists them for
// the kernels once and not in each step.
func (o *Optimizer) StepSet(params, grads [][]float32) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	return o.stepSet(params, grads)
}

// stepSet is StepSet once no other goroutine can enter.
func (o *Optimizer) stepSet(params, grads [][]float32) error {
	if o.begun != nil {
		return &ArgError{"step", o.step, "one that is not begun: its ranges are the caller's to Apply"}
	}
	if err := o.checkSet(params, grads); err != nil {
		return err
	}
	if o.step == math.MaxInt64 {
		return &ArgError{"the number of steps", o.step, "one that can be counted on"}
	}
	o.measure(grads)
	if o.policy != Propagate {
		if skip, err := o.refuse(grads); skip || err != nil {
			o.clip = 1
			return err
		}
	}
	o.torn = true
	o.count(grads)
	o.prepare()
	o.carryOut(params, grads)
	o.clip, o.torn = 1, false
	return nil
}

// count counts the step, of each tensor that has a gradient.
func (o *Optimizer) count(grads [][]float32) {
	o.step++
	if !o.missing {
		return
	}
	for k := range o.tensors {
		t := &o.tensors[k]
		o.present[k] = grads[k] != nil || t.size == 0
		if !o.present[k] {
			t.missed++
			o.apart = true
		}
	}
}

// takes reports whether a tensor takes part in the step.
func (o *Optimizer) takes(k int) bool { return !o.missing || o.present[k] }

// prepare computes the scalars of a step: once for all tensors that have taken it
// together, and for each of the others.
func (o *Optimizer) prepare() {
	scale := float64(o.scale * o.clip)
	for k := range o.groups {
		g := &o.groups[k]
		o.input = g.input(o.step, scale)
		for _, p := range g.passes {
			p.prepare(&o.input)
		}
	}
	if !o.apart {
		return
	}
	for k := range o.tensors {
		t := &o.tensors[k]
		if t.missed == 0 || !o.takes(k) {
			continue
		}
		g := &o.groups[t.group]
		t.own(g)
		o.input = g.input(o.step-t.missed, scale)
		for _, p := range t.apart {
			p.prepare(&o.input)
		}
	}
}

// carryOut runs the passes of the step that is prepared.
func (o *Optimizer) carryOut(params, grads [][]float32) {
	o.pool.run(firstPass, params, grads)
	if o.measures {
		o.useSums()
		o.pool.run(secondPass, params, grads)
	}
}

// useSums gives what the first passes have measured to the second ones.
func (o *Optimizer) useSums() {
	for k := range o.tensors {
		t := &o.tensors[k]
		g := &o.groups[t.group]
		if !g.measure || !o.takes(k) {
			continue
		}
		t.own(g)
		o.input = g.input(o.step-t.missed, float64(o.scale*o.clip))
		second := t.apart[1]
		second.prepare(&o.input)
		second.use(&o.input, o.measured(t))
	}
}

// measured adds up what a pass has measured of a tensor, unit by unit.
func (o *Optimizer) measured(t *tensor) (of [2]float64) {
	for k := range of {
		of[k] = sumPairs(o.partial[t.units[0]:t.units[1]], k)
	}
	return of
}

// own gives a tensor passes of its own.
func (t *tensor) own(g *group) {
	for _, p := range g.passes[len(t.apart):] {
		t.apart = append(t.apart, p.copy())
	}
}

// pass is one of a tensor's passes: the group's, unless its scalars are its own.
func (o *Optimizer) pass(t *tensor, k int) pass {
	if k > 0 || t.missed != 0 {
		return t.apart[k]
	}
	return o.groups[t.group].passes[k]
}
