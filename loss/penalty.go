package loss

import (
	"fmt"

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
//
// Both parts are computed even where a coefficient is 0. So an infinite weight
// makes the value NaN unless both are positive, because 0·∞ is NaN, and likewise
// its own gradient where L2 is 0: where weights overflow, it shows.
func (p Penalty) Eval(w, grad []float32) (float64, error) {
	if err := checkCoefficient("L1", p.L1); err != nil {
		return 0, err
	}
	if err := checkCoefficient("L2", p.L2); err != nil {
		return 0, err
	}
	if grad != nil && len(grad) != len(w) {
		return 0, &ArgError{"len(grad)", len(grad), fmt.Sprintf("len(w) = %d", len(w))}
	}
	if buffers.Overlap(grad, w) {
		return 0, &ArgError{"grad", fmt.Sprintf("%d elements at %p", len(grad), grad), "a buffer apart from w"}
	}
	own := rooms.Get().(*room)
	defer rooms.Put(own)
	own.table = kernels.Active()
	own.penalty = fallback.PenaltyScalars{L2: float32(p.L2), L1: float32(p.L1)}
	var absolute, squares float64
	for lo := 0; lo < len(w); lo += kernels.MaxLen {
		part := w[lo:min(lo+kernels.MaxLen, len(w))]
		clear(own.sum[:])
		clear(own.squares[:])
		if grad != nil {
			own.list.Set(grad[lo:lo+len(part)], part)
			kernels.Penalty(own.table, &own.list, &own.penalty, &own.sum, &own.squares)
		} else {
			own.list.Set(part)
			kernels.SumAbs(own.table, &own.list, &own.sum)
			kernels.SumSquares(own.table, &own.list, &own.squares)
		}
		absolute += fallback.Total(&own.sum)
		squares += fallback.Total(&own.squares)
	}
	own.list.Forget()
	// The conversions keep the compiler from fusing, which would change bits.
	return float64(p.L1*absolute) + float64(p.L2/2*squares), nil
}
