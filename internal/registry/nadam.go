package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/tensorflow"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "NAdam",
	Samples: []Sample{
		{"nadam", update.NAdam{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, MomentumDecay: .004}, 0x9930a009ea96fd92},
		{"nadam decay", update.NAdam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-7, MomentumDecay: 1}, 0x2181e77d57336c46},
		{"nadam constant", update.NAdam{Options: update.Options{LR: .01, L1: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsRoot: 1e-6, ConstantMomentum: true}, 0xc3c6c63d5c7baa60},
		{"nadam same correction", update.NAdam{Options: update.Options{LR: .01}, Beta1: .3, Beta2: .4, Eps: 1e-8, EpsHat: true, ConstantMomentum: true, SameCorrection: true}, 0xa7eac81509ca6abb},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.NAdam{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}},
		{"EpsRoot", "1", update.NAdam{Beta1: .9, Beta2: .999, Eps: 1e-8, EpsRoot: 1, EpsHat: true}},
		{"MomentumDecay", "0.004", update.NAdam{Beta1: .9, Beta2: .999, Eps: 1e-8, MomentumDecay: .004, ConstantMomentum: true}},
	},
	Formula: nadamFormula,
	Meant:   meantBeta2,
	Random: []Kind{{"NAdam", func(d Draw) update.Rule {
		a := d.adam()
		r := update.NAdam{Options: a.Options, Beta1: a.Beta1, Beta2: a.Beta2, Eps: a.Eps, EpsRoot: a.EpsRoot, EpsHat: a.EpsHat, SameCorrection: d.IntN(4) == 0}
		if r.ConstantMomentum = d.IntN(3) == 0; !r.ConstantMomentum {
			r.MomentumDecay = float64(d.IntN(4)) * d.Power(-5, 2)
		}
		return r
	}}},
	Presets: []Preset{
		{"torch", "NAdam", torch.NAdam()},
		{"keras", "Nadam", keras.Nadam()},
		{"optax", "NAdam", optax.NAdam(0)}, {"optax", "NAdamW", optax.NAdamW(0)},
		{"tensorflow", "NesterovAdam", tensorflow.NesterovAdam(0, single(.9), single(.999), single(1e-8))},
	},
	Verified: []Sample{{Name: "torch NAdam", Rule: torch.NAdam()}, {Name: "optax NAdamW", Rule: optax.NAdamW(1e-3)}},
	Timed:    []Timed{timed("NAdam", 4, kernels.NAdam, fallback.NAdamScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Direct: 1e-9, Step: 1e-8})},
})

// nadamFormula is the algorithm in PyTorch's documentation, with the momenta of section 5
// of Sutskever et al. 2013 as Dozat has them, or with constant ones. PyTorch takes the two
// parts of a step one after the other.
func nadamFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.NAdam)
	if s.RatesIn32 {
		r.Beta1, r.Beta2 = single(r.Beta1), single(r.Beta2)
	}
	direct, step := nadamParts(s, r)
	keeps, visible := min(r.Beta1, r.Beta2), max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		*m, *v = mean(*m, x, r.Beta1), s.squares(*v, x, r.Beta2, visible)
		root, lr, off := s.corrected(update.Adam{Eps: r.Eps, EpsRoot: r.EpsRoot, EpsHat: r.EpsHat}, *v, s.correction(r.Beta2))
		x, u := x.Mul(nadamScalar(s, lr*direct.value, direct.off+off)), m.Mul(nadamScalar(s, lr*step.value, step.off+off))
		if s.DecayFactor {
			s.move(e, x.Div(root))
			e.P = e.P.Sub(u.Div(root))
		} else {
			s.move(e, x.Add(u).Div(root))
		}
		s.forget(v, r.Beta2, visible, keeps)
		s.fade(e, keeps, m)
	}
}

// nadamScalar is scalar, off by the product's error too where all else is float64.
func nadamScalar(s *Step, x, off float64) bounded.Number {
	if s.ProductIn32 {
		return bounded.Scalar(x).Off(math.Abs(x) * off)
	}
	return s.scalar(x, off)
}

// corrected is adamRoot, but that frameworks correct the bias inside the root.
func (s *Step) corrected(r update.Adam, v bounded.Number, c2 correction) (root bounded.Number, lr, off float64) {
	if r.EpsHat || r.EpsRoot != 0 || s.Dialect == (Dialect{}) {
		return adamRoot(s, r, v, c2)
	}
	v = v.Mul(s.scalar(1/c2.value, c2.off))
	return v.Sqrt().Add(bounded.Scalar(r.Eps)), s.LR, 0
}

// nadamParts are the factors of gradient and mean in a step of length 1.
func nadamParts(s *Step, r update.NAdam) (direct, step correction) {
	now, left := nadamMomentum(s, r, s.T)
	next, leftNext := nadamMomentum(s, r, s.T+1)
	if r.SameCorrection {
		leftNext = left
	}
	off := 0.
	if s.ScalarsIn32 {
		off = momentumOff
	}
	return correction{(1 - now) / left.value, left.off + now/(1-now)*off}, correction{next / leftNext.value, leftNext.off + off}
}

// momentumOff is how far off momenta are in float32, relative to themselves: by a few
// roundings, and those of t·qᵗ.
const momentumOff = 16 * 0x1p-24

// nadamMomentum is the momentum of a step, and 1 less the product of all up to it: in
// float32 a product is off by what its factors are, and a rounding more for each.
func nadamMomentum(s *Step, r update.NAdam, t int64) (momentum float64, left correction) {
	if r.ConstantMomentum {
		at := *s
		at.T = t
		return r.Beta1, at.correction(r.Beta1)
	}
	product := 1.
	for k := range t {
		momentum = r.Beta1 * (1 - .5*math.Pow(.96, float64(k+1)*r.MomentumDecay))
		product *= momentum
	}
	left = correction{1 - product, 0}
	switch {
	case s.ScalarsIn32:
		left.off = float64(t) * (momentumOff + 0x1p-23) * product / (1 - product)
	case s.ProductIn32:
		left.off = float64(t) * 0x1p-23 * product / (1 - product)
	}
	return momentum, left
}
