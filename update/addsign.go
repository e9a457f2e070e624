package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// AddSign takes a longer step where the gradient's sign is that of its running mean, and a
// shorter one where it is not (Bello, Zoph, Vasudevan, Le 2017).
//
//	m ← Beta·m + (1-Beta)·g
//	w ← w - lr·(Alpha + d·sign(g)·sign(m))·g        d = SignDecay·max(0, 1 - (t-1)/SignDecaySteps)
//
// Its state is "m", which begins at 0.
type AddSign struct {
	Options
	Beta  float64 // in [0, 1 - 3e-8)
	Alpha float64 // the factor without the signs

	// SignDecay is the factor of the signs, which falls to 0 in proportion in
	// SignDecaySteps: the paper's linear decay, and none where SignDecaySteps is 0.
	SignDecay, SignDecaySteps float64
}

// Name is "addsign".
func (AddSign) Name() string { return "addsign" }

func (r AddSign) check() error {
	return firstError(r.noProximal(), decayRate("Beta", r.Beta), notNegative("Alpha", r.Alpha),
		notNegative("SignDecay", r.SignDecay), notNegative("SignDecaySteps", r.SignDecaySteps))
}

func (r AddSign) checkOwnRate(arg string, lr float64) error {
	return checkProduct(arg, lr, "Alpha + SignDecay", r.Alpha+r.SignDecay)
}

func (r AddSign) plan() engine.Plan {
	return engine.Plan{State: []engine.Slot{{Name: "m", Fades: r.Beta}}, Passes: engine.One(kernels.AddSign, r.scalars)}
}

func (r AddSign) scalars(in *engine.StepInput) fallback.AddSignScalars {
	d := signDecay(r.SignDecay, r.SignDecaySteps, in.T)
	return fallback.AddSignScalars{
		Common:  in.Common,
		Agree:   float32(in.LR * (r.Alpha + d)),
		Differ:  float32(in.LR * (r.Alpha - d)),
		Neither: float32(in.LR * r.Alpha),
		Weight:  fallback.Weight(r.Beta),
	}
}

// signDecay is what is left of a factor that falls to 0 in some steps, if any.
func signDecay(all, steps float64, t int64) float64 {
	if steps == 0 {
		return all
	}
	return float64(all * (1 - warmed(t-1, steps)))
}

// PowerSign is AddSign with a power in place of the sum (Bello, Zoph, Vasudevan, Le 2017).
//
//	m ← Beta·m + (1-Beta)·g
//	w ← w - lr·exp(LogBase·d·sign(g)·sign(m))·g     d = SignDecay·max(0, 1 - (t-1)/SignDecaySteps)
//
// Its state is "m", which begins at 0.
type PowerSign struct {
	Options
	Beta    float64 // in [0, 1 - 3e-8)
	LogBase float64 // the logarithm of the power's base: 1 for e

	// SignDecay and SignDecaySteps are as those of AddSign.
	SignDecay, SignDecaySteps float64
}

// Name is "powersign".
func (PowerSign) Name() string { return "powersign" }

func (r PowerSign) check() error {
	return firstError(r.noProximal(), decayRate("Beta", r.Beta), notNegative("LogBase", r.LogBase),
		notNegative("SignDecay", r.SignDecay), notNegative("SignDecaySteps", r.SignDecaySteps))
}

func (r PowerSign) checkOwnRate(arg string, lr float64) error {
	const most = 700 // whose exponential is a float64
	if x := float64(r.LogBase * r.SignDecay); !(x <= most && lr/math.MaxFloat32 <= exponential(-min(x, most))) {
		return &ArgError{arg, lr, "one whose product with exp(LogBase times SignDecay) is a float32"}
	}
	return nil
}

func (r PowerSign) plan() engine.Plan {
	return engine.Plan{State: []engine.Slot{{Name: "m", Fades: r.Beta}}, Passes: engine.One(kernels.AddSign, r.scalars)}
}

func (r PowerSign) scalars(in *engine.StepInput) fallback.AddSignScalars {
	less := exponential(-r.LogBase * signDecay(r.SignDecay, r.SignDecaySteps, in.T))
	return fallback.AddSignScalars{
		Common:  in.Common,
		Agree:   float32(in.LR / less),
		Differ:  float32(in.LR * less),
		Neither: float32(in.LR),
		Weight:  fallback.Weight(r.Beta),
	}
}
