package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Lion steps along the sign of a mean of momentum and gradient (Chen et al. 2023).
//
//	w ← w - lr·sign(β₁·m + (1-β₁)·g)
//	m ← β₂·m + (1-β₂)·g
//
// Its state is "m", which begins at 0.
type Lion struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)
}

// Name is "lion".
func (Lion) Name() string { return "lion" }

func (r Lion) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2))
}

func (r Lion) plan() engine.Plan {
	// The smallest m has a sign, and so none is flushed.
	return engine.Plan{State: []engine.Slot{{Name: "m", Fades: 1}}, Passes: engine.One(kernels.Lion, r.scalars)}
}

func (r Lion) scalars(in *engine.StepInput) fallback.LionScalars {
	return fallback.LionScalars{Common: in.Common, Weight1: fallback.Weight(r.Beta1), Weight2: fallback.Weight(r.Beta2), Step: float32(in.LR)}
}
