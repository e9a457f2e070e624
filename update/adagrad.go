package update

import (
	"github.com/lockstep-go/lockstep/fallback"
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
	return firstError(r.Options.check(),
		notNegative("LRDecay", r.LRDecay),
		notNegative("InitialAccumulator", r.InitialAccumulator),
		checkEps(r.Eps, 1, r.AllowZeroEps || float32(r.InitialAccumulator) > 0),
		r.checkOwnRate("LR", r.LR))
}

func (r AdaGrad) checkOwnRate(arg string, lr float64) error {
	if r.proximal() && r.Eps > 0 && !r.EpsInside {
		return checkStep(arg, lr, r.Eps, "Eps")
	}
	return nil
}

func (r AdaGrad) proximal() bool { return r.Proximal && r.penalties() }

func (r AdaGrad) plan() plan {
	p := plan{state: []slot{{name: "accumulator", initial: r.InitialAccumulator, fades: 1, square: true}}}
	if r.proximal() {
		p.inside, p.passes = true, one(kernels.AdaGradProx, r.prox)
	} else {
		p.passes = one(kernels.AdaGrad, r.scalars)
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
func (r AdaGrad) rate(h *stepInput) float32 {
	return float32(h.lr / (1 + float64(float64(h.t-1)*r.LRDecay)))
}

// placeEps is eps inside the root and outside.
func placeEps(eps float64, isInside bool) (inside, outside float32) {
	if isInside {
		return float32(eps), 0
	}
	return 0, float32(eps)
}

func (r AdaGrad) scalars(h *stepInput) fallback.AdaGradScalars {
	inside, outside := placeEps(r.Eps, r.EpsInside)
	return fallback.AdaGradScalars{Common: h.Common, Small: r.small(), EpsIn: inside, Eps: outside, Step: r.rate(h)}
}

func (r AdaGrad) prox(h *stepInput) fallback.AdaGradProxScalars {
	inside, outside := placeEps(r.Eps, r.EpsInside)
	return fallback.AdaGradProxScalars{
		Common: h.Common,
		Small:  r.small(),
		EpsIn:  inside,
		Eps:    outside,
		Step:   r.rate(h),
		ProxL1: float32(h.l1),
		ProxL2: float32(h.l2),
	}
}
