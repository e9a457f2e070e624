package engine

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// An Engine carries out steps of rules over tensors. It has their state and counts.
type Engine struct {
	table   kernels.Table
	groups  []group
	tensors []tensor
	units   []unit
	total   int // elements of all tensors
	passes  int // of the rule that has most

	step     int64
	apart    bool      // tensors have taken different numbers of steps
	missing  bool      // some tensors are left out of this step
	absent   []bool    // without a gradient in this step
	late     bool      // some tensors have yet to begin as their parameters
	owns     bool      // some passes have scalars of each tensor
	counts   bool      // some steps are as cautious as a part of their tensor agrees
	shards   shards    // of the gradients
	numbers  []float32 // of elements, as bits, if there is noise
	hashes   []float32 // of the places of a block, as bits, once there is something to round
	zeroes   bool      // steps leave zeros of the gradients
	copies   bool      // some tensors have copies of their parameters
	packSeed uint64    // of the rounding of packed state
	rounding uint64    // the seed of that of parameters
	packers  packers
	placed   int // counts how often buffers were elsewhere than before, or what is flushed of them

	partial [][MaxSums]float64 // by unit
	many    [][MaxSums]float64 // room for the sums of tensors
	input   StepInput          // room for that of a tensor
	values  []float32          // room for its PerTensor
	only    kernels.List       // the only tensor, if it is small
	pool    *workers.Pool
	workers []*Worker // the caller's first

	clipping  clipping // of all groups
	following following

	team      Team
	stepping  stepping
	squaring  squaring
	measuring measuring
	exceeding exceeding
	observing observing
	zeroing   zeroing
	swapping  swapping
	copying   copying
	splitting workers.Task // a splitting, whose kernels all programs would link if its type were here

	estimating estimating
	agreeing   agreeing

	accumulating accumulating
	rows         rowSet
}

// A tensor is a Tensor whose State is there.
type tensor struct {
	Tensor
	owned    bool   // its state is the caller's
	begins   bool   // slots have yet to begin as the parameters
	missed   int64  // steps of the engine
	units    [2]int // the first of its units and the one behind the last, of its own
	number   int    // its place among all
	listed   int    // place among the small tensors of its group, or -1
	own      []call // of each pass, while it has scalars of its own
	sums     [MaxSums]float64
	factor   float64 // what clips its gradient in this step, if tensors are clipped
	clip     fallback.ClipScalars
	trust    float32   // the factor of what agrees in this step, if it is cautious
	average  []float32 // of its parameters
	slow     []float32
	packed   []packed      // slots that are, or nil for none: their State is nil
	copied   kernels.Typed // its parameters in another type, the caller's
	byColumn []float64     // sums by column, of each unit; after the pass the first are the tensor's
}

// A group is a rule at work.
type group struct {
	Rule
	passes []pass
	plain  bool    // its one kernel takes elements of all buffers in any parts, and has no sums
	fades  float64 // what a step leaves of the state that fades fastest
	input  StepInput
	scale  float64 // of the gradients that input is for
	clipping
	clip fallback.ClipScalars // which has all of the gradient's scale
	Stages
	fused  Fused  // if the rule has one
	paired Paired // likewise

	shared []int       // tensors that share calls
	list   [][]float32 // the buffers of these, one tensor after the other
}

// New makes an engine of tensors, each with one of the rules.
func New(tensors []Tensor, rules []Rule) *Engine {
	e := &Engine{table: kernels.Active(), clipping: unclipped()}
	for _, r := range rules {
		e.groups = append(e.groups, newGroup(r))
	}
	e.survey()
	room := newRoom(tensors, e.groups)
	for k, t := range tensors {
		g := &e.groups[t.Rule]
		s := tensor{Tensor: t, number: k, listed: -1, owned: t.State != nil}
		if t.State == nil {
			s.State, s.begins = g.allocate(t, room), g.beginsAsParams()
		} else {
			s.State = append(slices.Clip(t.State), g.scratch(t)...)
		}
		e.late = e.late || s.begins
		e.total += t.Size
		e.tensors = append(e.tensors, s)
	}
	e.listSmall()
	e.units = unitsOf(e.tensors, e.groups)
	e.growLists()
	e.growSums()
	e.absent = make([]bool, len(tensors))
	e.stepping.e, e.squaring.e, e.measuring.e, e.exceeding.e, e.zeroing.e, e.accumulating.e, e.swapping.e, e.copying.e, e.estimating.e, e.agreeing.e = e, e, e, e, e, e, e, e, e, e
	e.pool = workers.New(tune.ParallelLen, tune.ApartLen)
	e.team.e, e.team.pool = e, e.pool
	e.team.bases.Use(e.pool)
	e.growRoom()
	e.SetWorkers(1)
	return e
}

func newGroup(r Rule) group {
	g := group{Rule: r, passes: r.Plan.passes(), clipping: unclipped(), fades: 1, plain: len(r.Passes) == 1}
	for _, s := range g.State {
		switch {
		case s.Extent == PerElement:
			g.fades = min(g.fades, s.Fades)
		case s.First.params:
			panic(fmt.Sprintf("engine: the slot %q begins as the parameters, but is not PerElement", s.Name))
		}
	}
	for _, s := range g.State[len(g.Kept()):] {
		if !s.Scratch {
			panic(fmt.Sprintf("engine: the slot %q comes after scratch", s.Name))
		}
	}
	for _, p := range g.passes {
		g.plain = g.plain && p.walk == elements && p.sums == NoSums && p.buffers == nil
	}
	if g.cautious() && !g.plain {
		panic("engine: a cautious step takes more than a pass over elements")
	}
	return g
}

// survey looks at what the rules ask for.
func (e *Engine) survey() {
	e.passes, e.owns, e.counts = 0, false, false
	for k := range e.groups {
		g := &e.groups[k]
		e.counts = e.counts || g.CautiousUpdate
		e.passes = max(e.passes, len(g.passes))
		for _, p := range g.passes {
			e.owns = e.owns || p.own
		}
	}
}

// SetRule changes a rule to one whose plan has the same slots and kinds of passes.
func (e *Engine) SetRule(rule int, to Rule) {
	next := newGroup(to)
	next.clipping = e.groups[rule].clipping
	next.shared, next.list = e.groups[rule].shared, e.groups[rule].list
	e.groups[rule] = next
	e.placed++ // other slots may be flushed
	e.survey()
	e.growRoom()
	for k := range e.tensors {
		if e.tensors[k].Rule == rule {
			e.tensors[k].own = nil
		}
	}
}

// SetTable sets the table of kernels, which can run here.
func (e *Engine) SetTable(t kernels.Table) {
	e.table = t
	e.growRoom()
}

// Table is the table of kernels.
func (e *Engine) Table() kernels.Table { return e.table }

// SetLR sets the learning rate of a rule from the next step on.
func (e *Engine) SetLR(rule int, lr float64) { e.groups[rule].LR = lr }

// LR is the learning rate of a rule.
func (e *Engine) LR(rule int) float64 { return e.groups[rule].LR }

// SetWorkers sets how many goroutines, at least 1, a step may use.
func (e *Engine) SetWorkers(n int) {
	e.pool.SetLimit(n)
	for len(e.workers) < n {
		e.workers = append(e.workers, new(Worker))
	}
}

// share has the units carried out. more says that another pass goes on with the step.
func (e *Engine) share(t workers.Task, more bool) {
	e.pool.Run(t, len(e.units), e.total, more)
	for _, w := range e.workers[:min(len(e.workers), max(1, len(e.units)))] {
		w.Forget()
		if e.total < tune.ParallelLen {
			break // the caller's, which is the only one that was at work
		}
	}
}

// IsPlain reports whether a step of the rule can be taken in parts, one apart from the
// other: its one kernel takes elements and leaves no sums, and nothing is counted.
func (e *Engine) IsPlain(rule int) bool {
	return e.groups[rule].plain && !e.groups[rule].CautiousUpdate
}

// Len is the number of elements of all tensors.
func (e *Engine) Len() int { return e.total }

// Steps is the number of steps taken.
func (e *Engine) Steps() int64 { return e.step }

// TensorSteps is the number of those that a tensor took part in.
func (e *Engine) TensorSteps(tensor int) int64 { return e.step - e.tensors[tensor].missed }

// SetSteps sets the number of steps that all tensors have taken. After none, slots that begin
// as the parameters have not begun, but for those of tensors whose state is the caller's.
func (e *Engine) SetSteps(steps int64) {
	e.step, e.apart = steps, false
	for k := range e.tensors {
		t := &e.tensors[k]
		t.missed = 0
		t.begins = t.begins || steps == 0 && !t.owned && e.groups[t.Rule].beginsAsParams()
		e.late = e.late || t.begins
	}
}
