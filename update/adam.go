package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
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
	Beta1, Beta2 float64 // in [0, 1)

	// Eps keeps the divisor from 0: with 0, a gradient that has always been 0
	// gives NaN. As long as small state is flushed, gradients below some
	// 1e-15/√(1-β₂) have v begin again at 0 every 16 steps, when they are divided
	// by Eps alone, which should therefore be 1e-12 or more.
	Eps float64

	// EpsRoot is added inside the root, √(v/c₂ + EpsRoot), as Optax's eps_root.
	EpsRoot float64

	// EpsHat adds Eps before the bias is corrected, as Keras and TensorFlow do
	// and the end of section 2 of the paper: lr·√c₂/c₁ · m / (√v + Eps). With
	// the same number it is the larger of the two while t is small.
	EpsHat bool

	// AMSGrad divides by the largest v so far (Reddi, Kale, Kumar 2018), taken
	// before its bias is corrected, as PyTorch, Keras and TensorFlow do.
	AMSGrad bool

	// NoBiasCorrection sets c₁ and c₂ to 1.
	NoBiasCorrection bool
}

// Name is "adam", or "amsgrad", whose state has one buffer more.
func (r Adam) Name() string {
	if r.AMSGrad {
		return "amsgrad"
	}
	return "adam"
}

func (r Adam) check() error {
	return firstError(r.Options.check(),
		belowOne("Beta1", r.Beta1),
		belowOne("Beta2", r.Beta2),
		notNegative("Eps", r.Eps),
		notNegative("EpsRoot", r.EpsRoot),
		r.checkEpsRoot())
}

// checkEpsRoot refuses what no framework has: an eps inside the root of a v whose
// bias is not corrected.
func (r Adam) checkEpsRoot() error {
	if r.EpsRoot != 0 && r.EpsHat {
		return &ArgError{"EpsRoot", r.EpsRoot, "0 with EpsHat"}
	}
	return nil
}

func (r Adam) slots() []slot {
	list := []slot{{name: "m"}, {name: "v"}}
	if r.AMSGrad {
		list = append(list, slot{name: "max_v"})
	}
	return list
}

func (r Adam) takes() bool { return r.Proximal }

func (r Adam) kept() float64 { return min(r.Beta1, r.Beta2) }

func (r Adam) stepper() stepper {
	b := bias{newPower(r.Beta1), newPower(r.Beta2), r.NoBiasCorrection}
	if r.AMSGrad || r.EpsRoot != 0 || r.Proximal && r.penalties() {
		return &adamProx{r: r, bias: b}
	}
	return &adam{r: r, bias: b}
}

// A bias is what the moments of Adam lack at first because they begin at 0.
type bias struct {
	beta1, beta2 *power
	uncorrected  bool
}

// corrections are c₁ and c₂ at step t.
func (b bias) corrections(t int64) (c1, c2 float64) {
	if b.uncorrected {
		return 1, 1
	}
	return b.beta1.oneMinus(t), b.beta2.oneMinus(t)
}

// folded are eps and the step size for a root whose bias is not corrected: both
// are multiplied by √c₂, which corrects the quotient with one rounding less.
func (r Adam) folded(lr, c1, c2 float64) (eps, step float64) {
	root := math.Sqrt(c2)
	if eps = r.Eps; !r.EpsHat {
		eps *= root
	}
	return eps, lr * root / c1
}

type adam struct {
	r Adam
	bias
	c fallback.AdamScalars
}

func (s *adam) prepare(h hyper) {
	c1, c2 := s.corrections(h.t)
	eps, step := s.r.folded(h.lr, c1, c2)
	decay := float32(h.decay)
	s.c = fallback.AdamScalars{
		Scale:  float32(h.scale),
		Alpha1: float32(1 - s.r.Beta1),
		Beta2:  float32(s.r.Beta2),
		Alpha2: float32(1 - s.r.Beta2),
		Eps:    float32(eps),
		Decay:  decay,
		Step:   float32(step),
		Keep:   h.keep,
		Lasts:  h.lasts(decay),
		Counts: h.squares,
	}
}

func (s *adam) run(k *kernels.Table, p, g []float32, mv state) { k.Adam(p, g, mv[0], mv[1], &s.c) }

type adamProx struct {
	r Adam
	bias
	c fallback.AdamProxScalars
}

func (s *adamProx) prepare(h hyper) {
	c1, c2 := s.corrections(h.t)
	unbias := 1.0
	eps, step := s.r.folded(h.lr, c1, c2)
	if s.r.EpsRoot != 0 {
		unbias, eps, step = 1/c2, s.r.Eps, h.lr/c1
	}
	decay := float32(h.decay)
	s.c = fallback.AdamProxScalars{
		Scale:  float32(h.scale),
		Alpha1: float32(1 - s.r.Beta1),
		Beta2:  float32(s.r.Beta2),
		Alpha2: float32(1 - s.r.Beta2),
		Unbias: float32(unbias),
		EpsIn:  float32(s.r.EpsRoot),
		Eps:    float32(eps),
		Decay:  decay,
		Step:   float32(step),
		Keep:   h.keep,
		Lasts:  h.lasts(decay),
		Counts: h.squares,
		L1:     float32(h.l1),
		L2:     float32(h.l2),
	}
}

func (s *adamProx) run(k *kernels.Table, p, g []float32, mv state) {
	if s.r.AMSGrad {
		k.AMSGrad(p, g, mv[0], mv[1], mv[2], &s.c)
		return
	}
	k.AdamProx(p, g, mv[0], mv[1], &s.c)
}

func (s *adam) many(k *kernels.Table, list *kernels.List) { k.AdamMany(list, &s.c) }

func (s *adamProx) many(k *kernels.Table, list *kernels.List) {
	if s.r.AMSGrad {
		k.AMSGradMany(list, &s.c)
		return
	}
	k.AdamProxMany(list, &s.c)
}
