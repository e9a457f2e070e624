package update

import (
	"fmt"
	"math"
)

// SetAdaptiveClip clips the gradient of each unit, a row of a matrix (see Tensor.Columns) or
// a whole vector, by how large its parameters are (Brock, De, Smith, Simonyan 2021): where the
// Euclidean norm of a row, scaled as SetGradScale says and clipped to other norms, is not
// below
//
//	most = clipping·max(‖w‖, eps)
//
// it is multiplied by most/max(norm, 1e-6). It is optax.adaptive_grad_clip with its eps of
// 1e-3 for matrices whose rows are what leads to one output, as PyTorch and Optax' convolutions
// over flattened kernels have them; of a matrix with columns for outputs, as Flax has it,
// rows are other units. Clipping by value follows. +Inf for clipping, at first, is for none.
//
// A row is looked at while it is in the cache, so that memory is crossed no more often than
// without, unless it is longer than that. Each takes some calls: short rows, of less than a
// few hundred elements, make steps slower. A range of Apply must be of whole rows.
func (o *Optimizer) SetAdaptiveClip(clipping, eps float64) error {
	if !(clipping > 0) {
		return &ArgError{"clipping", clipping, "a number above 0, or +Inf for no clipping"}
	}
	if !(eps >= 0 && eps <= math.MaxFloat32) {
		return &ArgError{"eps", eps, "a finite float32 of at least 0"}
	}
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if o.packsState() && !math.IsInf(clipping, 1) {
		return &ArgError{"clipping", clipping, "+Inf with state that is not float32: SetStateTypes"}
	}
	o.adaptive, o.adaptiveEps = clipping, eps
	o.setUnits()
	return nil
}

// AdaptiveClip is what SetAdaptiveClip has set, +Inf at first.
func (o *Optimizer) AdaptiveClip() (clipping, eps float64) { return o.adaptive, o.adaptiveEps }

// SetCentralize takes the mean of each row off the gradient of a matrix (see Tensor.Columns),
// before all that follows but for norms of whole tensors, which are of the gradients as they
// are given (Yong, Huang, Hua, Zhang 2020). Vectors stay as they are. It is optax.centralize
// over the first dimension's rows. Means are float64 in a fixed order, rounded once; else
// all of SetAdaptiveClip holds.
func (o *Optimizer) SetCentralize(on bool) error {
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if o.packsState() && on {
		return &ArgError{"on", on, "false with state that is not float32: SetStateTypes"}
	}
	o.centralizes = on
	o.setUnits()
	return nil
}

// Centralize is what SetCentralize has set, false at first.
func (o *Optimizer) Centralize() bool { return o.centralizes }

// setUnits hands both to the engine, whose units of work are then of whole rows.
func (o *Optimizer) setUnits() {
	ratio := o.adaptive
	if math.IsInf(ratio, 1) {
		ratio = 0
	}
	o.engine.SetUnits(ratio, o.adaptiveEps, o.centralizes)
	o.owned = nil // so that the next step places all buffers
}

// checkWholeRows refuses a range that is not of whole rows where rows are looked at.
func (o *Optimizer) checkWholeRows(t *tensor, offset, n int) error {
	row := t.columns
	switch {
	case row == 0 && math.IsInf(o.adaptive, 1), math.IsInf(o.adaptive, 1) && !o.centralizes:
		return nil
	case row == 0:
		row = t.size
	}
	if row > 0 && (offset%row != 0 || n%row != 0) {
		return &ArgError{"offset", offset, fmt.Sprintf("with the length, %d, a multiple of the %d elements of a row, with SetAdaptiveClip or SetCentralize", n, row)}
	}
	return nil
}
