package loss

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Penalty is L1·‖w‖₁ + ½·L2·‖w‖², the elastic net. The gradient of its second
// part is L2·w, as of PyTorch's weight_decay.
type Penalty struct {
	L1, L2 float64
}

// KerasL1L2 is keras.regularizers.L1L2, whose second part has no factor ½.
func KerasL1L2(l1, l2 float64) Penalty { return Penalty{L1: l1, L2: 2 * l2} }

// Eval returns the penalty of w and adds its gradient to grad, where it is not
// nil. The gradient of |0| is 0.
func (p Penalty) Eval(w, grad []float32) (float64, error) {
	for _, x := range []struct {
		name  string
		value float64
	}{{"L1", p.L1}, {"L2", p.L2}} {
		if !(x.value >= 0 && x.value <= math.MaxFloat32) {
			return 0, &ArgError{x.name, x.value, "a finite float32 of at least 0"}
		}
	}
	if grad != nil && len(grad) != len(w) {
		return 0, &ArgError{"len(grad)", len(grad), fmt.Sprintf("len(w) = %d", len(w))}
	}
	if buffers.Overlap(grad, w) {
		return 0, &ArgError{"grad", fmt.Sprintf("%d elements at %p", len(grad), grad), "a buffer apart from w"}
	}
	k := kernels.Active()
	c := fallback.PenaltyScalars{L2: float32(p.L2), L1: float32(p.L1)}
	var absolute, squares float64
	for lo := 0; lo < len(w); lo += kernels.MaxLen {
		part := w[lo:min(lo+kernels.MaxLen, len(w))]
		var a, s [fallback.Lanes]float64
		if grad != nil {
			k.Penalty(grad[lo:lo+len(part)], part, &c, &a, &s)
		} else {
			k.SumAbs(part, &a)
			k.SumSquares(part, &s)
		}
		absolute += fallback.Total(&a)
		squares += fallback.Total(&s)
	}
	// The conversions keep the compiler from fusing, which would change bits.
	return float64(p.L1*absolute) + float64(p.L2/2*squares), nil
}
