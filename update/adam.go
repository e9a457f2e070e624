package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Adam is Adam (Kingma, Ba 2015), and AdamW (Loshchilov, Hutter 2019) where
// WeightDecay is not 0. c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias.
//
//	m ← m + (1-β₁)(g - m)
//	v ← β₂·v + (1-β₂)·g²
//	w ← w - lr/c₁ · m / (√(v/c₂) + Eps)
//
// Its state is "m", "v", and with AMSGrad "max_v", which begin at 0.
type Adam struct {
	Options

	// Beta1 and Beta2 are in [0, 1 - 3e-8). β₂ is the float32 nearest to Beta2, in 1-β₂
	// and c₂ too, so that v settles at the mean square of a steady gradient; without c₂,
	// which makes up for it, 1-β₂ is that of Beta2 as given.
	Beta1, Beta2 float64

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on. Small state is
	// flushed (see KeepSubnormals) from some 1e-17/√(1-β₂) on.
	Eps          float64
	AllowZeroEps bool

	// EpsRoot is added inside the root, √(v/c₂ + EpsRoot), as Optax's eps_root.
	EpsRoot float64

	// EpsHat adds Eps before the bias is corrected, as Keras and TensorFlow do
	// and the end of section 2 of the paper: lr·√c₂/c₁ · m / (√v + Eps). With
	// the same number it is the larger of the two while t is small.
	EpsHat bool

	// AMSGrad divides by the largest v so far (Reddi, Kale, Kumar 2018), taken
	// before its bias is corrected, as PyTorch, Keras and TensorFlow do.
	AMSGrad bool

	// CorrectedMax has AMSGrad take the largest of v/c₂, as Optax does. So a large
	// gradient of the first steps counts for more, and for good.
	CorrectedMax bool

	// NoBiasCorrection sets c₁ and c₂ to 1.
	NoBiasCorrection bool
}

// Name is "adam", or "amsgrad" or "amsgrad, corrected", whose state has one buffer more.
func (r Adam) Name() string {
	switch {
	case r.CorrectedMax:
		return "amsgrad, corrected"
	case r.AMSGrad:
		return "amsgrad"
	}
	return "adam"
}

func (r Adam) check() error {
	return firstError(
		checkRates(r.Beta1, r.Beta2),
		notNegative("EpsRoot", r.EpsRoot),
		checkEpsRoot(r.EpsRoot, r.EpsHat),
		r.checkCorrectedMax(),
		checkEps(r.Eps, leastRoot(r.Beta2, r.NoBiasCorrection || r.EpsHat || r.EpsRoot != 0 || r.CorrectedMax), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

// checkCorrectedMax refuses what no framework has.
func (r Adam) checkCorrectedMax() error {
	if r.CorrectedMax && (!r.AMSGrad || r.EpsHat || r.NoBiasCorrection || r.proximal()) {
		return &ArgError{"CorrectedMax", true, "false without AMSGrad, and with EpsHat, NoBiasCorrection or Proximal"}
	}
	return nil
}

func (r Adam) checkOwnRate(arg string, lr float64) error {
	if err := checkFirst(arg, lr, r.Beta1, r.NoBiasCorrection); err != nil {
		return err
	}
	if r.proximal() || r.EpsRoot != 0 && !r.AMSGrad {
		return checkStep(arg, lr, r.Eps+math.Sqrt(r.EpsRoot), "the least divisor")
	}
	return nil
}

func (r Adam) proximal() bool { return r.Proximal && r.penalties() }

func (r Adam) plan() engine.Plan {
	s := adam{r, newMoments(r.Options, r.Beta1, r.Beta2, max(r.Eps, math.Sqrt(r.EpsRoot)), r.NoBiasCorrection)}
	p := engine.Plan{State: s.slots("v")}
	if r.AMSGrad {
		p.State = append(p.State, engine.Slot{Name: "max_v", Fades: 1, Square: true})
	}
	switch {
	case r.CorrectedMax:
		p.Passes = engine.One(kernels.AMSGradCorrected, s.corrected)
	case r.AMSGrad && r.proximal():
		p.FusesProximal, p.Passes = true, engine.One(kernels.AMSGradProx, s.prox)
	case r.AMSGrad:
		p.Passes = engine.One(kernels.AMSGrad, s.amsGrad)
	case r.proximal() || r.EpsRoot != 0:
		p.FusesProximal, p.Passes = r.proximal(), engine.One(kernels.AdamProx, s.prox)
	default:
		p.Passes = engine.One(kernels.Adam, s.scalars)
	}
	return p
}

// An adam makes the scalars of Adam's kernels, of which some are always the same.
type adam struct {
	Adam
	moments
}

func (s *adam) scalars(in *engine.StepInput) fallback.AdamScalars {
	c1, c2 := s.corrections(in.T)
	_, eps, step := s.inRoot(in, c2)
	return fallback.AdamScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Eps:     float32(eps),
		Step:    float32(step / c1),
	}
}

func (s *adam) amsGrad(in *engine.StepInput) fallback.AMSGradScalars {
	c1, c2 := s.corrections(in.T)
	unbias, eps, step := s.inRoot(in, c2)
	return fallback.AMSGradScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Unbias:  float32(unbias),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(eps),
		Step:    float32(step / c1),
	}
}

func (s *adam) corrected(in *engine.StepInput) fallback.AMSGradCorrectedScalars {
	c1, c2 := s.corrections(in.T)
	return fallback.AMSGradCorrectedScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Unbias:  float32(1 / c2),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(s.Eps),
		Step:    float32(in.LR / c1),
	}
}

// inRoot are the root's factor, eps and step size but for c₁.
func (s *adam) inRoot(in *engine.StepInput, c2 float64) (unbias, eps, step float64) {
	return inRoot(c2, s.Eps, s.EpsRoot, in.LR, s.EpsHat)
}

func (s *adam) prox(in *engine.StepInput) fallback.AdamProxScalars {
	c1, c2 := s.corrections(in.T)
	unbias, eps, step := s.inRoot(in, c2)
	return fallback.AdamProxScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Unbias:  float32(unbias),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(eps),
		Moment:  float32(1 / c1),
		Step:    float32(step),
		ProxL1:  float32(in.ProxL1),
		ProxL2:  float32(in.ProxL2),
	}
}
