package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Rprop steps along the sign of the gradient, by a size of each parameter's own, which
// grows while that sign stays and shrinks where it changes (Riedmiller, Braun 1993). There
// the parameter stays where it is, and in the next step its size does (Riedmiller 1994:
// Rprop⁻ of Igel, Hüsken 2003). It is for gradients of a whole data set, whose signs have no noise.
//
//	step ← clamp(EtaMinus·step, MinStep, MaxStep), g ← 0    if g·prev < 0
//	step ← clamp(EtaPlus·step, MinStep, MaxStep)            if g·prev > 0
//	w ← w - step·sign(g)
//	prev ← g
//
// Signs are compared as they are: the product of two small gradients is not 0, as in
// float32 it is in PyTorch and Optax. LR is where steps begin, and a later one changes
// nothing but WeightDecay's part.
//
// Its state is "prev", which begins at 0 and of which the sign alone counts, and "step".
type Rprop struct {
	Options

	EtaMinus float64 // the step size's factor where signs differ, above 0 and at most 1
	EtaPlus  float64 // and where they are the same, above 1 if it is to grow

	MinStep, MaxStep float64 // the limits of step sizes

	// ClampFirst has steps begin within MinStep and MaxStep, as in PyTorch. Optax takes LR
	// as it is until the step size changes.
	ClampFirst bool

	// OptaxLate takes in each step what the gradient before had to say, if the sign is still
	// the same, as Optax does: the first step moves nothing.
	OptaxLate bool
}

// Name is "rprop".
func (Rprop) Name() string { return "rprop" }

func (r Rprop) check() error {
	return firstError(r.noProximal(), r.noCautiousUpdate(), r.checkEtas(), notNegative("MinStep", r.MinStep), notNegative("MaxStep", r.MaxStep), r.checkLimits())
}

// checkEtas refuses factors of which the one grows, or more than the other.
func (r Rprop) checkEtas() error {
	if !(float32(r.EtaMinus) > 0 && r.EtaMinus <= 1) {
		return &ArgError{"EtaMinus", r.EtaMinus, "a number above 0, at most 1"}
	}
	if err := notNegative("EtaPlus", r.EtaPlus); err != nil {
		return err
	}
	if r.EtaPlus < r.EtaMinus {
		return &ArgError{"EtaPlus", r.EtaPlus, "at least EtaMinus"}
	}
	return nil
}

func (r Rprop) checkLimits() error {
	if r.MinStep > r.MaxStep {
		return &ArgError{"MinStep", r.MinStep, "at most MaxStep"}
	}
	return nil
}

func (r Rprop) plan() engine.Plan {
	return engine.Plan{
		State:  []engine.Slot{{Name: "prev", Fades: 1}, {Name: "step", First: engine.Constant(r.first()), Fades: 1}},
		Passes: engine.One(kernels.Rprop, r.scalars),
	}
}

// first is where step sizes begin.
func (r Rprop) first() float64 {
	if r.ClampFirst {
		return max(min(r.LR, r.MaxStep), r.MinStep)
	}
	return r.LR
}

func (r Rprop) scalars(in *engine.StepInput) fallback.RpropScalars {
	late := float32(0)
	if r.OptaxLate {
		late = 1
	}
	return fallback.RpropScalars{
		Common:   in.Common,
		EtaMinus: float32(r.EtaMinus),
		EtaPlus:  float32(r.EtaPlus),
		MinStep:  float32(r.MinStep),
		MaxStep:  float32(r.MaxStep),
		Late:     late,
	}
}
