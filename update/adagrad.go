package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// AdaGrad divides by the root of the sum of all squared gradients (Duchi,
// Hazan, Singer 2011).
//
//	a ← a + g²
//	w ← w - lr/(1 + (t-1)·LRDecay) · g / (√a + Eps)
//
// Its state is "accumulator", a.
type AdaGrad struct {
	Options
	LRDecay            float64
	InitialAccumulator float64 // where a begins

	// Eps keeps the divisor from 0. It may be 0 where InitialAccumulator is not, or
	// where AllowZeroEps says that no gradient is ever 0.
	Eps          float64
	AllowZeroEps bool

	// EpsInside adds Eps inside the root, √(a + Eps), as Keras does.
	EpsInside bool
}

// Name is "adagrad".
func (AdaGrad) Name() string { return "adagrad" }

func (r AdaGrad) check() error {
	return firstError(
		r.noCautiousUpdate(),
		notNegative("LRDecay", r.LRDecay),
		notNegative("InitialAccumulator", r.InitialAccumulator),
		checkEps(r.Eps, 1, r.AllowZeroEps || float32(r.InitialAccumulator) > 0, "AllowZeroEps, or an InitialAccumulator above 0"))
}

func (r AdaGrad) checkOwnRate(arg string, lr float64) error {
	if r.proximal() {
		inside, outside := placeEps(r.Eps, r.EpsInside)
		return checkStep(arg, lr, math.Sqrt(r.InitialAccumulator+float64(inside))+float64(outside), "the least divisor")
	}
	return nil
}

func (r AdaGrad) proximal() bool { return r.Proximal && r.penalties() }

func (r AdaGrad) plan() engine.Plan {
	p := engine.Plan{State: []engine.Slot{{Name: "accumulator", First: engine.Constant(r.InitialAccumulator), Fades: 1, Square: true}}}
	if r.proximal() {
		p.FusesProximal, p.Passes = true, engine.One(kernels.AdaGradProx, r.prox)
	} else {
		p.Passes = engine.One(kernels.AdaGrad, r.scalars)
	}
	return p
}

// small are the gradients whose squares do not count: below 2⁻⁶³, of which a million
// million steps add up to 1e-13, and which are nothing beside what the accumulator began
// with.
func (r AdaGrad) small() fallback.Mask {
	least := 1e-12
	if r.EpsInside {
		least *= least
	}
	if !r.KeepSubnormals && (r.Eps >= least || r.InitialAccumulator >= 1e-20) {
		return fallback.DropSquare
	}
	return 0
}

// rate is the learning rate of a step.
func (r AdaGrad) rate(in *engine.StepInput) float32 {
	return float32(in.LR / (1 + float64(float64(in.T-1)*r.LRDecay)))
}

// placeEps is eps inside the root and outside.
func placeEps(eps float64, isInside bool) (inside, outside float32) {
	if isInside {
		return float32(eps), 0
	}
	return 0, float32(eps)
}

func (r AdaGrad) scalars(in *engine.StepInput) fallback.AdaGradScalars {
	inside, outside := placeEps(r.Eps, r.EpsInside)
	return fallback.AdaGradScalars{Common: in.Common, Small: r.small(), EpsIn: inside, Eps: outside, Step: r.rate(in)}
}

func (r AdaGrad) prox(in *engine.StepInput) fallback.AdaGradProxScalars {
	inside, outside := placeEps(r.Eps, r.EpsInside)
	return fallback.AdaGradProxScalars{
		Common: in.Common,
		Small:  r.small(),
		EpsIn:  inside,
		Eps:    outside,
		Step:   r.rate(in),
		ProxL1: float32(in.ProxL1),
		ProxL2: float32(in.ProxL2),
	}
}
