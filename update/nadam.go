package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// NAdam is Adam with Nesterov's momentum (Dozat 2016), as PyTorch and Keras have it, and
// with other options as Optax' nadam and TensorFlow's use_nesterov. The momentum of step t
// is μₜ, Pₜ is the product of all so far, and c₂ = 1-β₂ᵗ.
//
//	μₜ = β₁(1 - ½·0.96^(t·MomentumDecay))
//	m ← m + (1-β₁)(g - m)
//	v ← β₂·v + (1-β₂)·g²
//	u = g·(1-μₜ)/(1-Pₜ) + m·μₜ₊₁/(1-Pₜ₊₁)
//	w ← w - lr · u / (√(v/c₂) + Eps)
//
// Its state is "m" and "v", which begin at 0. PyTorch and Keras keep Pₜ as state, in
// float32; here it follows from t.
type NAdam struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam

	// Eps keeps the divisor from 0. It may be 0 where EpsRoot is not, or where
	// AllowZeroEps says that no gradient is 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	EpsRoot float64 // added inside the root, as Optax's eps_root
	EpsHat  bool    // adds Eps before the bias is corrected, as TensorFlow does: see Adam

	// MomentumDecay is PyTorch's momentum_decay, which lets the momentum begin at half of
	// Beta1 and approach it. Keras' is 1.
	MomentumDecay float64

	// ConstantMomentum has Beta1 for the momentum of all steps, as Optax and TensorFlow do.
	ConstantMomentum bool

	// SameCorrection divides m by 1-Pₜ too, and not by the next step's, as TensorFlow does.
	SameCorrection bool
}

// Name is "nadam".
func (NAdam) Name() string { return "nadam" }

func (r NAdam) check() error {
	return firstError(
		r.noProximal(),
		checkRates(r.Beta1, r.Beta2),
		notNegative("EpsRoot", r.EpsRoot),
		checkEpsRoot(r.EpsRoot, r.EpsHat),
		notNegative("MomentumDecay", r.MomentumDecay),
		r.checkMomentum(),
		checkEps(r.Eps, leastRoot(r.Beta2, r.EpsHat || r.EpsRoot != 0), r.AllowZeroEps || float32(r.EpsRoot) > 0, "AllowZeroEps, or an EpsRoot above 0"))
}

func (r NAdam) checkMomentum() error {
	if r.ConstantMomentum && r.MomentumDecay != 0 {
		return &ArgError{"MomentumDecay", r.MomentumDecay, "0 with ConstantMomentum"}
	}
	return nil
}

func (r NAdam) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, false)
}

func (r NAdam) plan() engine.Plan {
	s := nadam{r, newMoments(r.Options, r.Beta1, r.Beta2, max(r.Eps, math.Sqrt(r.EpsRoot)), false), newMomenta(r.MomentumDecay, r.ConstantMomentum)}
	return engine.Plan{State: s.slots("v"), Passes: engine.One(kernels.NAdam, s.scalars)}
}

// A nadam makes the scalars.
type nadam struct {
	NAdam
	moments
	momenta momenta
}

func (s *nadam) scalars(in *engine.StepInput) fallback.NAdamScalars {
	_, c2 := s.corrections(in.T)
	unbias, eps, lr := inRoot(c2, s.Eps, s.EpsRoot, in.LR, s.EpsHat)
	now := s.momenta.part(in.T)
	next := s.momenta.part(in.T + 1)
	left := s.left(in.T)
	leftNext := s.left(in.T + 1)
	if s.SameCorrection {
		leftNext = left
	}
	return fallback.NAdamScalars{
		Common:  in.Common,
		Weight1: s.weight1,
		Beta2:   float32(s.Beta2),
		Root2:   s.root2,
		Small:   s.small,
		Unbias:  float32(unbias),
		EpsIn:   float32(s.EpsRoot),
		Eps:     float32(eps),
		Direct:  float32(lr * (1 - float64(s.Beta1*now)) / left),
		Step:    float32(lr * s.Beta1 * next / leftNext),
	}
}

// left is 1 - Pₜ.
func (s *nadam) left(t int64) float64 {
	kept, lost := s.momenta.product(t)
	return lost + float64(s.power1.oneMinus(t)*kept)
}

// momenta are the parts 1 - ½qᵗ, q = 0.96^MomentumDecay, that momenta are of β₁, and their
// product, or all 1. The product's factors are multiplied in order from the first one, so
// that it depends on t alone.
type momenta struct {
	constant   bool
	fall       power   // qᵗ
	at         int64   // the step whose product this is
	fallen     float64 // 1 - qᵗ there
	kept, lost float64 // the product, and 1 without it
}

const log96 = -0x1.4e69ed6d80eb3p-5 // ln 0.96

func newMomenta(decay float64, constant bool) momenta {
	return momenta{constant: constant, fall: newPower(exponential(float64(decay * log96))), kept: 1}
}

// part is 1 - ½qᵗ.
func (m *momenta) part(t int64) float64 {
	if m.constant {
		return 1
	}
	return .5 + float64(.5*m.fall.oneMinus(t))
}

// product is that of the first t parts, and 1 without it. Parts that are 1 change nothing,
// nor do any that are still to come where next to nothing is left.
func (m *momenta) product(t int64) (kept, lost float64) {
	if t < m.at {
		m.at, m.fallen, m.kept, m.lost = 0, 0, 1, 0
	}
	for m.at < t && m.fallen < 1 && m.kept > 0x1p-60 && !m.constant {
		m.at++
		m.fallen = m.fall.oneMinus(m.at)
		half := .5 - float64(.5*m.fallen)
		m.lost += float64(m.kept * half)
		m.kept = float64(m.kept * (1 - half))
	}
	return m.kept, m.lost
}

// exponential is eˣ for x ≤ 0 within 1e-13, of operations alone that have the same bits
// everywhere.
func exponential(x float64) float64 {
	halved := 0
	for x < -1./16 {
		x /= 2
		halved++
	}
	y := 1.
	for k := 10; k > 0; k-- {
		y = 1 + float64(x*y)/float64(k)
	}
	for range halved {
		y = float64(y * y)
	}
	return y
}
