package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// RMSprop divides by the root of the mean square (Tieleman, Hinton 2012), if it is
// Centered by that of the variance (Graves 2013).
//
//	v ← Rho·v + (1-Rho)·g²
//	a ← Rho·a + (1-Rho)·g                  Centered
//	u = g / (√(v - a²) + Eps)
//	w ← w - lr·u
//	b ← Momentum·b + u, w ← w - lr·b       with Momentum
//
// Its state is "v", "mean" a if it is Centered, and with Momentum "momentum" b, which
// begin at 0, or v at InitialScale.
type RMSprop struct {
	Options
	Rho          float64 // in [0, 1 - 3e-8)
	Momentum     float64 // in [0, 1)
	Centered     bool
	InitialScale float64 // where v begins: Optax's initial_scale

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no
	// gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	// EpsInside adds Eps inside the root, √(v + Eps), as Keras and TensorFlow do, and
	// Optax by default.
	EpsInside bool

	// LRInside multiplies what goes into b by the learning rate, as Keras and
	// TensorFlow do.
	LRInside bool
}

// Name is "rmsprop", followed by what changes its state.
func (r RMSprop) Name() string {
	return "rmsprop" + when(r.Centered, ", centered") + when(r.Momentum != 0, ", momentum") + when(r.Momentum != 0 && r.LRInside, ", lr inside")
}

// when is a part of a name that not all have.
func when(has bool, part string) string {
	if has {
		return part
	}
	return ""
}

func (r RMSprop) check() error {
	return firstError(r.noProximal(),
		decayRate("Rho", r.Rho),
		decayRate("Momentum", r.Momentum),
		r.noCautionWithout(r.Momentum),
		notNegative("InitialScale", r.InitialScale),
		checkEps(r.Eps, 1, r.AllowZeroEps, "AllowZeroEps"))
}

func (r RMSprop) plan() engine.Plan {
	_, flush := r.masks()
	p := engine.Plan{State: []engine.Slot{{Name: "v", First: engine.Constant(r.InitialScale), Fades: r.Rho, Square: true, Flushes: flush}}}
	if r.Centered {
		p.State = append(p.State, engine.Slot{Name: "mean", Fades: r.Rho})
	}
	if r.Momentum != 0 {
		p.State = append(p.State, engine.Slot{Name: "momentum", Fades: r.Momentum})
	}
	switch {
	case r.Centered && r.Momentum != 0:
		p.Passes = engine.One(kernels.RMSpropCenteredMomentum, r.centeredMomentum)
	case r.Centered:
		p.Passes = engine.One(kernels.RMSpropCentered, r.centered)
	case r.Momentum != 0:
		p.Passes = engine.One(kernels.RMSpropMomentum, r.momentum)
	default:
		p.Passes = engine.One(kernels.RMSprop, r.scalars)
	}
	return p
}

// masks are those of small squares.
func (r RMSprop) masks() (drop, flush fallback.Mask) {
	eps := r.Eps
	if r.EpsInside {
		eps = math.Sqrt(eps)
	}
	return squareMasks(r.Options, r.Rho, eps)
}

// rates are the learning rate inside the buffer and outside.
func (r RMSprop) rates(in *engine.StepInput) (inside, outside float32) {
	if r.LRInside {
		return float32(in.LR), 1
	}
	return 1, float32(in.LR)
}

func (r RMSprop) scalars(in *engine.StepInput) fallback.RMSpropScalars {
	small, _ := r.masks()
	epsIn, eps := placeEps(r.Eps, r.EpsInside)
	return fallback.RMSpropScalars{Common: in.Common, Beta2: float32(r.Rho), Root2: float32(math.Sqrt(1 - r.Rho)), Small: small, EpsIn: epsIn, Eps: eps, Step: float32(in.LR)}
}

func (r RMSprop) centered(in *engine.StepInput) fallback.RMSpropCenteredScalars {
	c := r.scalars(in)
	return fallback.RMSpropCenteredScalars{Common: c.Common, Beta2: c.Beta2, Root2: c.Root2, Small: c.Small,
		Weight2: fallback.Weight(r.Rho), EpsIn: c.EpsIn, Eps: c.Eps, Step: c.Step}
}

func (r RMSprop) momentum(in *engine.StepInput) fallback.RMSpropMomentumScalars {
	c := r.scalars(in)
	inside, outside := r.rates(in)
	return fallback.RMSpropMomentumScalars{Common: c.Common, Beta2: c.Beta2, Root2: c.Root2, Small: c.Small,
		EpsIn: c.EpsIn, Eps: c.Eps, Momentum: float32(r.Momentum), Input: inside, Step: outside}
}

func (r RMSprop) centeredMomentum(in *engine.StepInput) fallback.RMSpropCenteredMomentumScalars {
	c := r.scalars(in)
	inside, outside := r.rates(in)
	return fallback.RMSpropCenteredMomentumScalars{Common: c.Common, Beta2: c.Beta2, Root2: c.Root2, Small: c.Small,
		Weight2: fallback.Weight(r.Rho), EpsIn: c.EpsIn, Eps: c.Eps, Momentum: float32(r.Momentum), Input: inside, Step: outside}
}
