package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Pass is one kernel over all tensors of a rule. It is made by Elements, Summing, ByRows
// or Whole, of which each takes a function that makes the kernel's scalars: a function of
// nothing but StepInput and the rule's options, in float64 and rounded once.
type Pass struct {
	call  call
	walk  walk
	sums  Scope
	names []string
}

// A walk says what a kernel is handed.
type walk uint8

const (
	elements walk = iota // any range of a tensor, or tensors in a list
	rows                 // whole rows
	whole                // all state of a tensor
)

// A Scope says what the sums of a pass are of. Sums are float64, added up in one order
// for any number of goroutines.
type Scope uint8

const (
	NoSums     Scope = iota
	ByColumn         // a number for each column of each tensor: see Matrix
	OverTensor       // for each tensor
	OverRule         // over all tensors of the rule
	OverAll          // over all tensors of all rules whose pass of this number has this Scope
)

// MaxSums is the most sums that a pass leaves, beside those by column.
const MaxSums = 2

// Sums are the lanes in which a kernel adds up its sums: see fallback.Lanes.
type Sums [MaxSums][fallback.Lanes]float64

// A StepInput is what the scalars of a pass are made from.
type StepInput struct {
	fallback.Common
	T  int64   // the step, from 1: the tensor's own if it was left out of some
	LR float64 // at this step

	// ProxL1 and ProxL2 are the penalties of a proximal step, if the plan says that its
	// kernel takes it.
	ProxL1, ProxL2 float64

	// Sums are those of the pass before, over so many Elements that took part in it; both
	// are 0 in the first pass and after a pass without.
	Sums     [MaxSums]float64
	Elements int

	// PerTensor are the tensor's slots of this extent, in order, to be read.
	PerTensor []float32
}

// Names of what is no slot for Elements.
const (
	ParamsName = "params"
	GradsName  = "grads"
)

// One makes the passes of a rule that has one, over all its buffers.
func One[C any](kernel func(kernels.Table, *kernels.List, *C), scalars func(*StepInput) C) []Pass {
	return []Pass{Elements(kernel, scalars)}
}

// Elements is a pass of a kernel that takes elements in parts of any length. buffers names
// those that are its parameters, in order: ParamsName, GradsName, slots. Without
// names it takes parameters, gradients and all slots PerElement.
func Elements[C any](kernel func(kernels.Table, *kernels.List, *C), scalars func(*StepInput) C, buffers ...string) Pass {
	return Pass{call: &elementCall[C]{maker[C]{of: scalars}, kernel}, names: buffers}
}

// Summing is Elements of a kernel that leaves sums.
func Summing[C any](over Scope, kernel func(kernels.Table, *kernels.List, *C, *Sums), scalars func(*StepInput) C, buffers ...string) Pass {
	return Pass{call: &summingCall[C]{maker[C]{of: scalars}, kernel}, sums: over, names: buffers}
}

// ByRows is a pass of a kernel that takes whole rows.
func ByRows[C any](over Scope, kernel func(kernels.Table, *Matrix, *C), scalars func(*StepInput) C) Pass {
	return Pass{call: &matrixCall[C]{maker[C]{of: scalars}, kernel}, walk: rows, sums: over}
}

// Whole is a pass of a kernel that is called once for each tensor that is not empty, with
// all of its state and neither parameters nor gradients: for what follows from sums.
// After sums over more than a tensor it has the tensors without a gradient too, so that
// what follows is the same in all of them.
func Whole[C any](over Scope, kernel func(kernels.Table, *Matrix, *C), scalars func(*StepInput) C) Pass {
	return Pass{call: &matrixCall[C]{maker[C]{of: scalars}, kernel}, walk: whole, sums: over}
}

// A Matrix is whole rows of a tensor as a kernel sees them.
type Matrix struct {
	Rows, Columns int
	Params, Grads []float32 // row-major; nil in a pass Whole

	// State has each slot: of elements and rows what is of these rows, of columns and the
	// tensor all. A kernel by rows only reads the latter, since others do at the same time.
	State [][]float32

	// Sums are for the kernel to add to, if its pass has some, element i of a row to
	// lane i mod fallback.Lanes.
	Sums *Sums

	// ColumnSums are for the kernel to add to, row after row, in a pass with sums ByColumn;
	// in a pass Whole after such a one they are all of the tensor's.
	ColumnSums []float64
}

// hasSums reports whether a pass leaves sums that StepInput has.
func (p *Pass) hasSums() bool { return p.sums >= OverTensor }
