// Package update takes gradients to updated parameters and optimizer state, in
// one pass over flat float32 buffers and in place.
//
// The bits of a result depend on the inputs alone: not on the instruction set,
// the number of workers, or how a buffer is split into ranges. A step allocates
// nothing, and steps small work on the caller's goroutine. Gradients are only
// read, unless SetZeroGrads says otherwise. An error means that nothing was written.
//
// # Rules
//
// A rule is a struct of options, such as [Adam]; [Options] are those that all have. The packages
// torch, keras, optax, tensorflow and textbook below this one have the rules of each framework
// under its own names and with its defaults:
//
//	rule := torch.AdamW()
//	rule.LR = 3e-4
//
// # Steps
//
// [New] is for one buffer and [Optimizer.Step] its step; [NewSet] for a list of [Tensor], each
// with the rule of its group, and [Optimizer.StepSet] theirs. [Alloc] lays buffers out so that a
// step is fastest, on large pages. [Optimizer.SetLR] and package schedule change the rate,
// [Optimizer.SetRule] any option.
//
// Gradients of several goroutines are added up in the step by [Optimizer.StepShards], those of
// several batches by an [Accumulator]. [StepRows] is for tables of which a batch uses some rows.
//
// A step runs on its own workers ([Optimizer.SetWorkers]), or on the caller's goroutines and as
// gradients arrive: [Optimizer.Begin], [Optimizer.Apply] for each range, [Optimizer.End].
//
// # Around a step
//
// In the same pass over memory: a factor of the gradients ([Optimizer.SetGradScale]); clipping
// by value, by each tensor's norm, by each row's and by the norm of all
// ([Optimizer.SetMaxValue], [Optimizer.SetMaxTensorNorm], [Optimizer.SetAdaptiveClip],
// [Optimizer.SetMaxNorm], which needs no pass for it if gradients are shown to
// [Optimizer.Observe] as they arrive); what becomes of NaN ([Policy], [LossScaler]);
// [Optimizer.SetCentralize] and [Optimizer.SetNoise]; averages of the parameters
// ([Optimizer.SetAverage]) and [Optimizer.SetLookahead]; zeros for the next backward pass
// ([Optimizer.SetZeroGrads]).
//
// # Types
//
// Gradients are float32, bfloat16 or float16 ([Optimizer.StepTyped],
// [Optimizer.StepShardsTyped], [Optimizer.ApplyTyped]), made float32 block by block within the
// step, which can leave the parameters as bfloat16 or float16 beside the float32 ones
// ([Optimizer.SetCopies]), or be given them as bfloat16 and what that lacks
// ([Optimizer.StepSplit]), or as bfloat16 alone, rounded at random ([Optimizer.StepBF16]). All
// arithmetic is float32: the bits are those of float32 gradients with the same numbers. Means of
// gradients and of squares may be kept in bfloat16 or 8 bits ([Optimizer.SetStateTypes]).
//
// # State
//
// State is the optimizer's own or the caller's ([Tensor]), by name ([Optimizer.Buffers],
// [Optimizer.Buffer]); [FrameworkNames] has the frameworks' names for it. [Optimizer.Export] and
// [Optimizer.Import] are for checkpoints, which package checkpoint keeps in files.
//
// # Errors
//
// An [ArgError] names the argument, what it is and what is wanted, a [NonFiniteError] the tensor
// of a step that [Refuse] refused.
package update

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// A Tensor is one parameter tensor of a set: how many elements it has, which of
// the rules is its own, and its state if the caller owns it.
type Tensor struct {
	Name string // in errors and exported state; may be empty
	Size int
	Rule int // index in the rules that NewSet is given

	// Columns is the last dimension of a row-major matrix, of which Size is a multiple, and
	// 0 for a vector. It matters to StepRows, SetAdaptiveClip, SetCentralize, rules whose state has a number for each
	// row or column, such as Adafactor, SOAP, and Muon, which takes matrices alone; the others take any tensor for a vector.
	Columns int

	// State holds the state buffers by name, each of Size elements but for those of rows
	// and columns, and of 1 where a rule has one number for a tensor, as a checkpoint or the
	// caller's arena has them. The optimizer works in them: what is
	// in them counts, also before the first step. A nil State is allocated and given
	// its first values.
	State map[string][]float32
}

// An Optimizer applies rules to parameters: it has their state and counts the
// steps. One goroutine at a time may call its methods, but for Apply and Observe; a second
// one in a step gets an error.
type Optimizer struct {
	engine  *engine.Engine
	groups  []group
	tensors []tensor
	sizes   []int // of the tensors

	scale     float64
	maxNorm   float64 // of the gradients
	maxValue  float64 // of their elements
	norm      float64 // of the last step's
	clip      float64 // the factor that follows
	policy    Policy
	skipped   int64
	nonFinite int64

	maxTensorNorm float64 // of each tensor's gradient
	zeroes        bool    // gradients
	average       Averaging
	lookahead     Lookahead
	noise         Noise
	adaptive      float64 // the clipping by units, and its eps
	adaptiveEps   float64
	centralizes   bool
	stateTypes    map[string]StateType
	stateSeed     uint64
	rounding      uint64

	turn    turn
	torn    bool   // a step was not carried to its end
	swapped bool   // parameters and averages
	begun   *begun // the step that is carried out by Apply, round its room
	round   begun

	evaluated bool // the parameters are what Eval has made of them

	states  []interval // all state, in order
	owned   []interval // parameters and state, in order
	apart   []interval // room for gradients, in order
	blocks  []block    // what is owned, joined
	chart   chart      // of them
	known   []known
	missing bool            // some gradients of this step are nil
	first   [][]float32     // room for the first shard of each tensor
	one     [2][1][]float32 // params and grads of the only tensor
	single  [1][]Typed      // the only shard

	shards     [][][]float32 // of the gradients of this step
	typed      [][]Typed     // or these
	split      split         // what steps on halves of parameters know
	fusing     sync.Once     // kernels for their types, until rules are others
	pairing    sync.Once     // kernels for state of 8 bits
	standing   bool          // what was placed last stands in for gradients
	shardNames []string      // in errors
	numbered   []string      // room for such names
}

// A tensor is a Tensor whose state the engine has.
type tensor struct {
	name     string
	size     int
	columns  int // 0 of a vector
	group    int
	factored bool // it is a matrix that its rule factors
}

// A group is a rule with its slots.
type group struct {
	rule     Rule
	slots    []engine.Slot
	factored factored
	base     float64 // learning rate at first, whose ratio to that of others is kept
}

// factored is what a group has of matrices, if its rule has another plan for them: the
// engine knows it by a number of its own, which is 0 if there is none.
type factored struct {
	rule  int
	slots []engine.Slot
}

// A factorer is a rule with another plan for matrices, or for some.
type factorer interface {
	factors(rows, columns int) bool
	factoredPlan() engine.Plan
}

// A matrixRule is a rule for matrices alone.
type matrixRule interface{ takesMatrices() }

// New returns an optimizer for one flat buffer of n parameters.
func New(n int, rule Rule) (*Optimizer, error) {
	return NewSet([]Tensor{{Size: n}}, rule)
}

// NewSet returns an optimizer for many tensors, which a step takes in one call,
// each by one of the rules.
func NewSet(tensors []Tensor, rules ...Rule) (*Optimizer, error) {
	o := &Optimizer{scale: 1, maxNorm: math.Inf(1), maxValue: math.Inf(1), maxTensorNorm: math.Inf(1), adaptive: math.Inf(1), clip: 1}
	plans, err := o.takeRules(rules)
	if err != nil {
		return nil, err
	}
	if err := o.checkSizes(tensors); err != nil {
		return nil, err
	}
	list := make([]engine.Tensor, len(tensors))
	for k, t := range tensors {
		g := &o.groups[t.Rule]
		o.tensors = append(o.tensors, tensor{t.Name, t.Size, t.Columns, t.Rule, g.factors(t.Size, t.Columns)})
		list[k] = o.tensors[k].shape()
		if list[k].Rule = t.Rule; o.tensors[k].factored {
			list[k].Rule = g.factored.rule
		}
		if list[k].State, err = o.callers(k, t); err != nil {
			return nil, err
		}
	}
	o.engine = engine.New(list, plans)
	if err := o.placeStates(); err != nil {
		return nil, err
	}
	o.known = slices.Repeat([]known{{nowhere, nowhere}}, len(tensors))
	return o, o.SetWorkers(0)
}

// takeRules checks the rules and makes their plans.
func (o *Optimizer) takeRules(rules []Rule) ([]engine.Rule, error) {
	var plans []engine.Rule
	for k, r := range rules {
		if v := reflect.ValueOf(r); !v.IsValid() || v.Kind() == reflect.Pointer { // which might change later
			return nil, &ArgError{fmt.Sprintf("rules[%d]", k), fmt.Sprintf("%T", r), "a rule, not a pointer to one"}
		}
		if err := checkOptions(r); err != nil {
			return nil, err
		}
		g, plan := newGroup(r)
		o.groups, plans = append(o.groups, g), append(plans, plan)
	}
	for k := range o.groups {
		g := &o.groups[k]
		if plan, ok := factoredPlan(g.rule); ok {
			g.factored = factored{len(plans), plan.Kept()}
			plans = append(plans, plan)
		}
	}
	return plans, nil
}

func newGroup(r Rule) (group, engine.Rule) {
	plan := engine.Rule{Plan: r.plan(), Options: engine.Options(r.options()), Name: r.Name()}
	return group{rule: r, slots: plan.Kept(), base: plan.LR}, plan
}

// factoredPlan is a rule's plan for matrices, if it has one.
func factoredPlan(r Rule) (plan engine.Rule, ok bool) {
	f, ok := r.(factorer)
	if !ok {
		return engine.Rule{}, false
	}
	return engine.Rule{Plan: f.factoredPlan(), Options: engine.Options(r.options()), Name: r.Name()}, true
}

// factors reports whether the rule factors a tensor.
func (g *group) factors(size, columns int) bool {
	f, ok := g.rule.(factorer)
	return ok && columns > 0 && f.factors(size/columns, columns)
}

// slotsOf are a tensor's.
func (o *Optimizer) slotsOf(t *tensor) []engine.Slot {
	return o.groups[t.group].slotsOf(t)
}

func (g *group) slotsOf(t *tensor) []engine.Slot {
	if t.factored {
		return g.factored.slots
	}
	return g.slots
}

// shape is a tensor as slots measure it.
func (t *tensor) shape() engine.Tensor {
	return engine.Tensor{Size: t.size, Columns: t.columns}
}

// checkSizes refuses tensors that cannot be, before any memory is asked for.
func (o *Optimizer) checkSizes(tensors []Tensor) error {
	// Elements of all, so that Go can be asked for the bytes of their state: it has
	// addresses for 2⁴⁸ at the most.
	const most = min(math.MaxInt/64, 1<<43)
	total := 0
	for k, t := range tensors {
		if t.Size < 0 || t.Size > most-total {
			return &ArgError{fmt.Sprintf("tensors[%d].Size", k), t.Size, fmt.Sprintf("at least 0, and at most %d elements of all tensors", most)}
		}
		if t.Rule < 0 || t.Rule >= len(o.groups) {
			return &ArgError{fmt.Sprintf("tensors[%d].Rule", k), t.Rule, fmt.Sprintf("the index of one of %d rules", len(o.groups))}
		}
		if t.Columns < 0 || t.Columns > 0 && t.Size%t.Columns != 0 {
			return &ArgError{fmt.Sprintf("tensors[%d].Columns", k), t.Columns, fmt.Sprintf("0, or a divisor of the tensor's size, %d", t.Size)}
		}
		if _, ok := o.groups[t.Rule].rule.(matrixRule); ok && t.Columns == 0 && t.Size > 0 {
			return &ArgError{fmt.Sprintf("tensors[%d].Columns", k), 0, "those of a matrix: the " + o.groups[t.Rule].rule.Name() + " rule has no step of vectors"}
		}
		o.sizes = append(o.sizes, t.Size)
		total += t.Size
	}
	return nil
}

// callers takes over the caller's buffers, if there are.
func (o *Optimizer) callers(k int, t Tensor) ([][]float32, error) {
	if t.State == nil {
		return nil, nil
	}
	g, s := &o.groups[t.Rule], [][]float32{}
	slots, shape := o.slotsOf(&o.tensors[k]), o.tensors[k].shape()
	for _, slot := range slots {
		b, ok := t.State[slot.Name]
		name := fmt.Sprintf("tensors[%d].State[%q]", k, slot.Name)
		if !ok {
			return nil, &ArgError{name, "absent", "a buffer of the " + g.rule.Name() + " rule"}
		}
		if n := slot.Len(shape); len(b) != n {
			return nil, &ArgError{"len(" + name + ")", len(b), fmt.Sprint(n)}
		}
		if err := checkSlot(slot, name, b); err != nil {
			return nil, err
		}
		s = append(s, b)
	}
	if len(t.State) != len(slots) {
		return nil, &ArgError{fmt.Sprintf("len(tensors[%d].State)", k), len(t.State), fmt.Sprintf("the %d buffers of the %s rule", len(slots), g.rule.Name())}
	}
	return s, nil
}

// checkSlot refuses state that no step can have left: NaN, infinities, and squares below 0.
func checkSlot(s engine.Slot, name string, b []float32) error {
	least, want := float32(-math.MaxFloat32), "finite numbers"
	if s.Square {
		least, want = 0, "finite numbers of at least 0"
	}
	for i, x := range b {
		if !(x >= least && x <= math.MaxFloat32) {
			return &ArgError{fmt.Sprintf("%s[%d]", name, i), x, want}
		}
	}
	return nil
}

// Tensors returns the tensors as NewSet was given them, but for their State, which Export
// copies and Buffer has.
func (o *Optimizer) Tensors() []Tensor {
	list := make([]Tensor, len(o.tensors))
	for k, t := range o.tensors {
		list[k] = Tensor{Name: t.name, Size: t.size, Columns: t.columns, Rule: t.group}
	}
	return list
}

// Len is the number of parameters of all tensors.
func (o *Optimizer) Len() int { return o.engine.Len() }

// SetWorkers sets how many goroutines a step may use at most; 0 means
// runtime.GOMAXPROCS. Small steps use the caller's alone, and steps of so many
// optimizers at the same time use so much less each. The bits of the result are the
// same for any number.
//
// A panic of one of them, such as debug.SetPanicOnFault asks for, is the caller's of Step
// once none is at work any more.
func (o *Optimizer) SetWorkers(n int) error {
	const most = 1 << 12
	if n < 0 || n > most {
		return &ArgError{"n", n, fmt.Sprintf("from 0 to %d", most)}
	}
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), most)
	}
	o.engine.SetWorkers(n)
	return nil
}

// enter keeps a second goroutine out, and what follows a step that a panic has torn.
func (o *Optimizer) enter() error {
	if err := o.enterSwapped(); err != nil {
		return err
	}
	if o.swapped {
		o.turn.give()
		return o.notNow()
	}
	return nil
}

// enterSwapped is enter also while parameters and averages are swapped.
func (o *Optimizer) enterSwapped() error {
	if !o.turn.take() {
		return &ArgError{"the optimizer", "in use by another goroutine", "one at a time"}
	}
	if o.torn {
		o.turn.give()
		return tornError()
	}
	return nil
}

// notNow is why there is no step while they are.
func (o *Optimizer) notNow() error {
	return &ArgError{"the parameters", "swapped for their averages", "those of the last step: SwapAverage"}
}

func tornError() error {
	return &ArgError{"the last step", "torn by a panic", "one that was carried to its end: import a state"}
}

func (o *Optimizer) leave() { o.turn.give() }

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
		!o.standing && !o.evaluated && o.policy == Propagate && !o.clips() && !o.clipsTensors() && o.begun == nil && o.engine.IsPlain(o.tensors[0].group) && o.engine.Steps() < mostSteps
}

// simple takes such a step, without all that others ask for.
func (o *Optimizer) simple(params, grads []float32) {
	o.torn, o.norm = true, 0
	o.engine.Begin(o.scale*o.clip, nil)
	o.engine.RunSmall(params, grads)
	o.torn = false
}

// StepSet updates every tensor from its gradient, params[k] and grads[k] being
// those of the k-th. A tensor whose gradient is nil is left out of the step and keeps
// its own count of steps, as in PyTorch. Tensors may share a gradient, unless it is
// zeroed. Of small tensors the optimizer keeps both until a step with other buffers, because
// it lists them for the kernels once and not in each step.
func (o *Optimizer) StepSet(params, grads [][]float32) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if len(o.tensors) == 1 && len(params) == 1 && len(grads) == 1 && o.isSimple(params[0], grads[0]) {
		o.simple(params[0], grads[0])
		return nil
	}
	return o.stepSet(params, grads)
}

// stepSet is StepSet once no other goroutine can enter.
func (o *Optimizer) stepSet(params, grads [][]float32) error {
	if o.begun != nil {
		return &ArgError{"step", o.Steps(), "one that is not begun: its ranges are the caller's to Apply"}
	}
	if err := o.checkTraining(); err != nil {
		return err
	}
	if err := o.checkSet(params, grads); err != nil {
		return err
	}
	if err := o.checkShards(); err != nil {
		return err
	}
	if o.Steps() >= mostSteps {
		return &ArgError{"the number of steps", o.Steps(), "one that can be counted on"}
	}
	if err := o.measure(grads); err != nil {
		return err
	}
	if o.policy != Propagate {
		if skip, err := o.refuse(grads); skip || err != nil {
			o.clip = 1
			if err == nil && o.zeroes {
				o.engine.ZeroGrads(grads)
			}
			return err
		}
	}
	o.torn = true
	o.carryOut(params, grads)
	o.clip, o.torn = 1, false
	return nil
}

// carryOut takes the step, without the tensors whose gradient is missing.
func (o *Optimizer) carryOut(params, grads [][]float32) {
	var some [][]float32
	if o.missing {
		some = grads
	}
	o.engine.Begin(o.scale*o.clip, some)
	o.engine.Run(params, grads)
}
