package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Pass is one kernel over all tensors of a rule. It is made by Elements, Summing, MeanByRow,
// TrustByRow, ByRows, Whole, Together or Keep, of which each takes a function that makes the kernel's
// scalars: a function of nothing but StepInput and the rule's options, in float64 and rounded
// once.
type Pass struct {
	call  call
	walk  walk
	sums  Scope
	mean  bool // it is MeanByRow or TrustByRow
	names []string

	// room is how many elements of Room a matrix takes, in a pass together: side is the rows
	// of its largest slot that is a square matrix, or 0.
	room func(t kernels.Table, rows, columns, side int) int
}

// Scalars makes those of a step, a value of the kernel's type.
func (p *Pass) Scalars(in *StepInput) any {
	p.call.prepare(in)
	return p.call.scalars()
}

// RowScalars makes those of a row of a pass by rows whose first slot has become s, a value of the
// kernel's type.
func (p *Pass) RowScalars(in *StepInput, s float64) any {
	p.call.prepare(in)
	return p.call.(interface{ rowScalars(float64) any }).rowScalars(s)
}

// A walk says what a kernel is handed.
type walk uint8

const (
	elements walk = iota // any range of a tensor, or tensors in a list
	rows                 // whole rows
	whole                // all state of a tensor
	together             // the same, and the goroutines of the step
)

// A Scope says what the sums of a pass are of. Sums are float64, added up in one order
// for any number of goroutines.
type Scope uint8

const (
	NoSums     Scope = iota
	ByColumn         // a number for each column of each tensor: see Matrix
	OverTensor       // for each tensor
	OverRule         // over all tensors of the rule
	OverAll          // over all tensors of all rules of this name, whose options differ
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

	// Rows and Columns are the tensor's where it has scalars of its own: in passes after sums
	// OverTensor, in those Together and after one, and if there are slots PerTensor.
	Rows, Columns int

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

// MeanByRow is a pass of a kernel that takes rows one by one, after the first slot, which is
// PerRow, has become keep·s + add·(the mean of the squares of the row's gradient): scaled, and
// with the gradients of penalties. A row's scalars are made from it and from what scalars
// makes for all rows. The kernel has parameters, gradients and the slots PerElement.
func MeanByRow[S, C any](kernel func(kernels.Table, *kernels.List, *C), keep, add float64, scalars func(*StepInput) S, row func(*S, float64) C) Pass {
	return Pass{call: &meanCall[S, C]{of: scalars, row: row, kernel: kernel, keep: keep, add: add}, walk: rows, mean: true}
}

// TrustByRow is MeanByRow of rows whose steps are as long as they are themselves, as those of
// tensors in LAMB. The second slot, m, is PerElement and takes the gradient in as fallback.Muon
// has it. The direction of a row is u = m·Ahead + p·decay, and its step LR·‖p‖/‖u‖·u, or LR·u
// where a norm is 0.
func TrustByRow[S any](keep, add, decay float64, scalars func(*StepInput) S, row func(*S, float64) fallback.MuonScalars) Pass {
	call := &trustCall[S]{of: scalars, row: row, kernel: kernels.Muon, keep: keep, add: add, decay: decay}
	return Pass{call: call, walk: rows, mean: true}
}

// Whole is a pass of a kernel that is called once for each tensor that is not empty, with
// all of its state and neither parameters nor gradients: for what follows from sums.
// After sums over more than a tensor it has the tensors without a gradient too, so that
// what follows is the same in all of them.
func Whole[C any](over Scope, kernel func(kernels.Table, *Matrix, *C), scalars func(*StepInput) C) Pass {
	return Pass{call: &matrixCall[C]{maker[C]{of: scalars}, kernel}, walk: whole, sums: over}
}

// Together is a pass of a kernel that is called once for each tensor that is not empty, one
// after the other, and shares its work with the goroutines of the step itself: see Team. It
// has the tensor's state, neither parameters nor gradients, and the room that it asks for,
// which is that of all tensors in turn. It leaves no sums, and another pass follows.
func Together[C any](kernel func(kernels.Table, *Matrix, *C), scalars func(*StepInput) C, room func(t kernels.Table, rows, columns, side int) int) Pass {
	return Pass{call: &matrixCall[C]{maker[C]{of: scalars}, kernel}, walk: together, room: room}
}

// A Kept is what a pass Keep gives the slots PerTensor, in their order.
type Kept struct{ First, Second, Third, Fourth float32 }

// Keep is a pass Whole that makes a tensor's slots PerTensor anew, of which there are at
// most 4, from what its scalars would be made from: what a rule remembers of sums.
func Keep(of func(*StepInput) Kept) Pass {
	return Pass{call: &keepCall{maker[Kept]{of: of}}, walk: whole}
}

// A Matrix is whole rows of a tensor as a kernel sees them.
type Matrix struct {
	Rows, Columns int
	Params, Grads []float32 // row-major; nil in a pass Whole

	// State has each slot: of elements and rows what is of these rows, of columns and the
	// tensor all. A kernel by rows only reads the latter, since others do at the same time.
	State [][]float32

	// PerTensor are the slots of this extent, to be written in a pass Whole.
	PerTensor [][]float32

	// Sums are for the kernel to add to, if its pass has some, element i of a row to
	// lane i mod fallback.Lanes.
	Sums *Sums

	// ColumnSums are for the kernel to add to, row after row, in a pass with sums ByColumn;
	// in a pass Whole after such a one they are all of the tensor's.
	ColumnSums []float64

	// Room is for the kernel's own use. In a pass with sums ByColumn it is as long as a row,
	// and for sums as float32, which become zeros after every tune.FactorRows rows of a unit
	// and are added to ColumnSums then.
	Room []float32

	Team *Team // in a pass Together

	slots []Slot
	calls *[]any // of the worker
}

// set makes the list of a kernel that takes elements of all buffers.
func (m *Matrix) set(list *kernels.List, lo, hi int) {
	var all [8][]float32
	buffers := append(all[:0], m.Params[lo:hi], m.Grads[lo:hi])
	for j, s := range m.State {
		if m.slots[j].Extent == PerElement {
			buffers = append(buffers, s[lo:hi])
		}
	}
	list.Set(buffers...)
}

// hasSums reports whether a pass leaves sums that StepInput has.
func (p *Pass) hasSums() bool { return p.sums >= OverTensor }
