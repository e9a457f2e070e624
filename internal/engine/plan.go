// Package engine carries out a rule that is data: a Plan, which says what state the rule
// keeps and which passes a step takes over parameters, gradients and state.
//
// It cuts the work into units, shares them among goroutines, hands small tensors to a
// kernel in lists, has stages around the kernel, block by block (sums of gradients, clipping,
// penalties, averages and copies of parameters, zeros for gradients), makes zeros of state that has
// faded, makes float32 of state in fewer bits and packs it anew, and adds up what passes
// measure. The bits of a result depend on the plan and the numbers alone, not on the number of
// goroutines.
//
// What it is called with it takes for checked: buffers have the lengths of their tensors,
// those that are written overlap no others, and one goroutine at a time is in a step.
package engine

import (
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
)

// A Plan is a rule as data. Most have one pass:
//
//	engine.Plan{
//		State:  []engine.Slot{{Name: "momentum", Fades: r.Momentum}},
//		Passes: engine.One(kernels.Momentum, r.scalars),
//	}
type Plan struct {
	State  []Slot
	Passes []Pass // one after the other, each over all tensors

	// FusesProximal says that the kernel applies L1 and L2 of a proximal step itself, as
	// StepInput gives them. Otherwise a stage does after the last pass.
	FusesProximal bool

	// Hessian is for a rule whose second slot is a mean of estimates that the caller makes:
	// the part by which one of them moves it. It is 0 for others.
	Hessian float64

	// Mean is for a rule that takes gradients elsewhere than it is evaluated: the factor
	// of its first slot that the parameters lack to their mean. It is 0 for others.
	Mean float64
}

// A Slot is a state buffer, which a rule keeps of each of its tensors.
type Slot struct {
	Name   string // in exported state and for Elements
	Extent Extent
	First  First

	// Fades is what a step leaves of it where the gradient is 0, as a factor: 1 if it
	// does not fade. What fades ends as zeros (see FlushEvery), but for squares.
	Fades float64

	// Square says that it holds squares, which are never negative. Of these the small
	// ones by the mask Flushes become zeros: see FlushMasks. All slots of a plan have one
	// such mask.
	Square  bool
	Flushes fallback.Mask

	// Most is the most rows of a slot PerRowPair, or columns of one PerColumnPair, that have
	// any: of tensors with more the slot is empty.
	Most int

	// Scratch says that it holds what a step's passes make for one another and that no
	// step begins with: nobody gives or keeps it. Such slots are the last of a plan.
	Scratch bool
}

// Kept are the slots whose content lasts from step to step.
func (p *Plan) Kept() []Slot {
	n := slices.IndexFunc(p.State, func(s Slot) bool { return s.Scratch })
	if n < 0 {
		return p.State
	}
	return p.State[:n:n]
}

// An Extent is what a slot has one number of. The engine flushes only slots of the extent
// PerElement: the others are so small that it is their kernels' to do.
type Extent uint8

const (
	PerElement Extent = iota
	PerRow            // of a row-major matrix; a vector is one row
	PerColumn
	PerTensor     // StepInput has these for the scalars
	PerRowPair    // a square matrix of as many rows and columns as the matrix has rows
	PerColumnPair // the same of columns
)

// A First is what a slot holds before the first step; the zero First is zeros.
type First struct {
	value  float64
	params bool
}

// Constant is a First of one number everywhere.
func Constant(x float64) First { return First{value: x} }

// Params is the First of a slot PerElement that begins as the parameters, which are not
// known before the first step that its tensor takes part in.
var Params = First{params: true}

// Len is how many numbers a slot has of a tensor.
func (s *Slot) Len(t Tensor) int {
	switch s.Extent {
	case PerRow:
		return t.rows()
	case PerColumn:
		return t.columns()
	case PerTensor:
		return 1
	case PerRowPair, PerColumnPair:
		return s.side(t) * s.side(t)
	}
	return t.Size
}

// side is how many rows and columns a slot has that is a square matrix, and 0 of others.
func (s *Slot) side(t Tensor) int {
	n := 0
	switch {
	case t.Size == 0:
	case s.Extent == PerRowPair:
		n = t.rows()
	case s.Extent == PerColumnPair:
		n = t.columns()
	}
	if n > s.Most {
		return 0
	}
	return n
}

// side is the longest of a tensor's slots.
func (p *Plan) side(t Tensor) int {
	n := 0
	for k := range p.State {
		n = max(n, p.State[k].side(t))
	}
	return n
}

// BeginsAsParams reports whether its First is Params.
func (s *Slot) BeginsAsParams() bool { return s.First.params }

// Options are what all rules have: see Options of package update.
type Options struct {
	LR                                 float64
	WeightDecay                        float64
	L2                                 float64
	L1                                 float64
	Proximal, Maximize, KeepSubnormals bool
	CautiousUpdate, CautiousDecay      bool // of a plan whose one kernel takes elements and looks at parameters for nothing but their decay
}

// A Rule is a plan with its options.
type Rule struct {
	Plan
	Options
	Name string // what rules share that have sums OverAll together
}

// A Tensor is one parameter tensor.
type Tensor struct {
	Size    int
	Columns int // of a row-major matrix, which divide Size; 0 for a vector
	Rule    int // index

	// State has a buffer for each slot if the caller owns them: what is in them counts.
	// A nil State is allocated.
	State [][]float32
}

func (t *Tensor) columns() int {
	if t.Columns == 0 {
		return t.Size
	}
	return t.Columns
}

func (t *Tensor) rows() int { return t.Size / max(1, t.columns()) }
