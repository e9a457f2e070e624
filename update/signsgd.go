package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// SignSGD steps along the sign of the gradient (Bernstein et al. 2018), or with Momentum
// along that of its running mean, which is Signum.
//
//	m ← Momentum·m + (1-Momentum)·g
//	w ← w - lr·sign(m)
//
// Its state is "m", which begins at 0, if there is a Momentum.
type SignSGD struct {
	Options
	Momentum float64 // in [0, 1 - 3e-8); 0 for the gradient itself
}

// Name is "signsgd" or "signum".
func (r SignSGD) Name() string {
	if r.Momentum != 0 {
		return "signum"
	}
	return "signsgd"
}

func (r SignSGD) check() error {
	return firstError(r.noProximal(), decayRate("Momentum", r.Momentum), r.noCautionWithout(r.Momentum))
}

func (r SignSGD) plan() engine.Plan {
	p := engine.Plan{Passes: engine.One(kernels.SignSGD, r.scalars)}
	if r.Momentum != 0 {
		// The smallest m has a sign, and so none is flushed.
		p.State, p.Passes = []engine.Slot{{Name: "m", Fades: 1}}, engine.One(kernels.Lion, r.signum)
	}
	return p
}

func (r SignSGD) scalars(in *engine.StepInput) fallback.SignSGDScalars {
	return fallback.SignSGDScalars{Common: in.Common, Step: float32(in.LR)}
}

// signum are those of Lion whose direction is the mean that it keeps.
func (r SignSGD) signum(in *engine.StepInput) fallback.LionScalars {
	return fallback.LionScalars{Common: in.Common, Weight1: fallback.Weight(r.Momentum), Weight2: fallback.Weight(r.Momentum), Step: float32(in.LR)}
}
