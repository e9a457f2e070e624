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
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "Adam",
	Samples: []Sample{
		{"adam", torch.AdamW(), 0x044ced5a4be2ff91},
		{"adam l2", update.Adam{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsHat: true}, 0xd3ecd5df23d25d4a},
		{"adam uncorrected", update.Adam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, NoBiasCorrection: true}, 0xc87e0eca0d5c7078},
		{"adam root", update.Adam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsRoot: 1e-6}, 0x3b61692d2077b17d},
		{"adam proximal", update.Adam{Options: update.Options{LR: .01, L1: .1, Proximal: true}, Beta1: .9, Beta2: .99, Eps: 1e-8}, 0xfac9a33b2b6981ae},
		{"adam beta1 small", update.Adam{Options: update.Options{LR: .01}, Beta1: .3, Beta2: .4, Eps: 1e-8}, 0x6e120a8598472ef7},
		{"amsgrad", update.Adam{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true}, 0x555f6dfccb5fdfb4},
		{"amsgrad l1", update.Adam{Options: update.Options{LR: .01, L1: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true}, 0x07ef40e3e0b6859c},
		{"amsgrad proximal", update.Adam{Options: update.Options{LR: .01, L1: .1, L2: .1, Proximal: true}, Beta1: .9, Beta2: .99, Eps: 1e-8, AMSGrad: true}, 0x4b0d10bef7668158},
		{"amsgrad corrected", update.Adam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsRoot: 1e-6, AMSGrad: true, CorrectedMax: true}, 0xa84f6013929d710b},
		{"cautious adam", update.Adam{Options: update.Options{LR: .01, WeightDecay: .1, KeepSubnormals: true, CautiousUpdate: true, CautiousDecay: true}, Beta1: .9, Beta2: .99, Eps: 1e-8}, 0x90f32fdeffcaaf85},
		{"cautious adam beta1 small", update.Adam{Options: update.Options{LR: .01, WeightDecay: 10, L2: .1, KeepSubnormals: true, CautiousUpdate: true}, Beta1: .3, Beta2: .4, Eps: 1e-8}, 0x347d87624ec9c200},
		{"adam cautious decay", update.Adam{Options: update.Options{LR: .01, WeightDecay: 10, L1: .01, KeepSubnormals: true, CautiousDecay: true}, Beta1: .9, Beta2: .99, Eps: 1e-8}, 0xd1cb714097277955},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.Adam{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}},
		{"LR", "1", update.Adam{Options: update.Options{LR: 1, L1: 1, Proximal: true}, Beta1: .9, Beta2: .999, Eps: 1e-40}},
		{"LR", "1e+37", update.Adam{Options: update.Options{LR: 1e37}, Beta1: .9, Beta2: .999, Eps: 1e-8, EpsRoot: 1e-6}},
		{"CorrectedMax", "true", update.Adam{Beta1: .9, Beta2: .999, Eps: 1e-8, CorrectedMax: true}},
		{"EpsRoot", "1", update.Adam{Beta1: .9, Beta2: .999, Eps: 1e-8, EpsRoot: 1, EpsHat: true}},
	},
	Formula: adamFormula,
	Meant:   meantBeta2,
	Random: []Kind{
		{"Adam", func(d Draw) update.Rule { return d.adam() }},
		{"AMSGrad", func(d Draw) update.Rule {
			r := d.adam()
			r.AMSGrad = true
			r.CorrectedMax = !r.EpsHat && !r.NoBiasCorrection && d.IntN(2) == 0
			return r
		}},
		{"Adam, cautious", func(d Draw) update.Rule { return d.cautious(d.adam()) }},
	},
	Presets: []Preset{
		{"torch", "Adam", torch.Adam()}, {"torch", "AdamW", torch.AdamW()}, {"torch", "SparseAdam", torch.SparseAdam()},
		{"keras", "Adam", keras.Adam()}, {"keras", "AdamW", keras.AdamW()},
		{"optax", "Adam", optax.Adam(0)}, {"optax", "AdamW", optax.AdamW(0)}, {"optax", "AMSGrad", optax.AMSGrad(0)},
		{"tensorflow", "Adam", tensorflow.Adam(0, single(.9), single(.999), single(1e-8))},
		{Textbook, "Adam", textbook.Adam(0)}, {Textbook, "CautiousAdamW", textbook.CautiousAdamW(0)},
	},
	Verified: []Sample{
		{Name: "torch Adam", Rule: torch.Adam()}, {Name: "torch AdamW", Rule: torch.AdamW()}, {Name: "keras AdamW", Rule: keras.AdamW()},
		{Name: "torch Adam, AMSGrad, L1", Rule: update.Adam{Options: update.Options{LR: 1e-3, L1: 1e-4}, Beta1: .9, Beta2: .999, Eps: 1e-8, AMSGrad: true}},
		{Name: "optax Adam, eps_root", Rule: update.Adam{Options: update.Options{LR: 1e-2}, Beta1: .9, Beta2: .999, Eps: 1e-8, EpsRoot: 1e-8}},
		{Name: "AMSGrad, proximal L1", Rule: update.Adam{Options: update.Options{LR: 1e-3, L1: 1e-3, Proximal: true}, Beta1: .9, Beta2: .999, Eps: 1e-8, AMSGrad: true}},
		{Name: "CautiousAdamW", Rule: update.Adam{Options: update.Options{LR: 1e-3, WeightDecay: .01, KeepSubnormals: true, CautiousUpdate: true, CautiousDecay: true}, Beta1: .9, Beta2: .999, Eps: 1e-8}},
	},
	Timed: []Timed{
		timed("AdamW", 4, kernels.Adam, fallback.AdamScalars{Common: decaying, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Eps: 1e-8, Step: 1e-8}),
		timed("AdamProx", 4, kernels.AdamProx, timedAdamProx),
		timed("AMSGrad", 5, kernels.AMSGrad, fallback.AMSGradScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Step: 1e-8}),
		timed("AMSGradCorrected", 5, kernels.AMSGradCorrected, fallback.AMSGradCorrectedScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Step: 1e-8}).inFull(),
		timed("AMSGradProx", 5, kernels.AMSGradProx, timedAdamProx).inFull(),
	},
})

var timedAdamProx = fallback.AdamProxScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Moment: 1, Step: 1e-8, ProxL1: 1e-9, ProxL2: 1e-9}

func (d Draw) adam() update.Adam {
	o, beta1, beta2, eps := d.moments()
	r := update.Adam{Options: o, Beta1: beta1, Beta2: beta2, Eps: eps}
	switch d.IntN(6) {
	case 0:
		r.EpsHat = true
	case 1:
		r.EpsRoot = d.Power(-20, 0)
	case 2:
		r.NoBiasCorrection = true
	}
	return r
}

// adamFormula is Adam as at the end of section 2 of Kingma and Ba, which has the
// corrections of bias in the step size: lr·√c₂/c₁ · m/(√v + ε̂), where ε̂ is eps·√c₂, or
// what is given as such. With eps_root it is Optax's, m/c₁ · lr/(√(v/c₂ + eps_root) + eps).
func adamFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Adam)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, r.NoBiasCorrection)
	keeps, visible := min(r.Beta1, r.Beta2), max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		m, v := s.moments(e, r.Beta1, r.Beta2, visible)
		if r.AMSGrad {
			largest := *v
			if r.CorrectedMax {
				largest = v.Mul(s.scalar(1/c2.value, c2.off))
			}
			e.State[2] = e.State[2].Max(largest)
			v = &e.State[2]
		}
		if root, step, off := adamRoot(s, r, *v, c2); r.Proximal || r.EpsRoot != 0 && !r.AMSGrad {
			rate := s.scalar(step, off).Div(root)
			s.moveProximally(e, m.Mul(s.scalar(1/c1.value, c1.off)).Mul(rate), rate)
		} else {
			s.move(e, m.Mul(s.scalar(step/c1.value, off+c1.off)).Div(root))
		}
		s.forget(&e.State[1], r.Beta2, visible, keeps)
		s.fade(e, keeps, m)
	}
}

// adamRoot is what m is divided by, and the step size but for c₁, which is off by that
// much relative to itself.
func adamRoot(s *Step, r update.Adam, v bounded.Number, c2 correction) (root bounded.Number, step, off float64) {
	if r.CorrectedMax {
		return v.Add(bounded.Scalar(r.EpsRoot)).Sqrt().Add(bounded.Scalar(r.Eps)), s.LR, 0
	}
	if r.EpsRoot != 0 {
		v = v.Mul(s.scalar(1/c2.value, c2.off)).Add(bounded.Scalar(r.EpsRoot))
		return v.Sqrt().Add(bounded.Scalar(r.Eps)), s.LR, 0
	}
	eps := bounded.Scalar(r.Eps)
	if !r.EpsHat {
		eps = s.scalar(r.Eps*math.Sqrt(c2.value), c2.off/2)
	}
	return v.Sqrt().Add(eps), s.LR * math.Sqrt(c2.value), c2.off / 2
}

func (s *Step) corrections(beta1, beta2 float64, none bool) (c1, c2 correction) {
	if none {
		return correction{value: 1}, correction{value: 1}
	}
	return s.correction(beta1), s.correction(beta2)
}

// moments are the running means of gradient and square, which are an element's first
// state.
func (s *Step) moments(e *Element, beta1, beta2, eps float64) (m, v *bounded.Number) {
	x := s.gradient(e)
	m, v = &e.State[0], &e.State[1]
	*m, *v = mean(*m, x, beta1), s.squares(*v, x, beta2, eps)
	return m, v
}
