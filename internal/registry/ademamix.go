package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
)

var _ = register(&Entry{
	Name: "AdEMAMix",
	Samples: []Sample{
		{"ademamix", update.AdEMAMix{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Beta3: .999, Alpha: 5, Eps: 1e-8}, 0xfe5bf9b57c709f93},
		{"ademamix warm-up", update.AdEMAMix{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Beta3: .999, Alpha: 5, WarmupAlpha: 30, WarmupBeta3: 25, Eps: 1e-8, EpsRoot: 1e-6}, 0xc7d029e47cc6abcc},
		{"ademamix beta1 small", update.AdEMAMix{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .4, Beta3: .45, Alpha: 5, WarmupBeta3: 20, Eps: 1e-8}, 0x3053ee8fc49e41cc},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.AdEMAMix{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}},
		{"LR", "1e+38", update.AdEMAMix{Options: update.Options{LR: 1e38}, Beta2: .999, Alpha: 5, Eps: 1e-8}},
	},
	Formula: adEMAMixFormula,
	Meant:   meantBeta2,
	Random: []Kind{{"AdEMAMix", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.AdEMAMix{Options: o, Beta1: beta1, Beta2: beta2, Beta3: d.beta(), Alpha: d.Power(-1, 1), Eps: eps, EpsRoot: float64(d.IntN(2)) * d.Power(-20, 0),
			WarmupAlpha: float64(d.IntN(2) * d.IntN(200)), WarmupBeta3: float64(d.IntN(2) * d.IntN(200))}
	}}},
	Presets:  []Preset{{"optax", "AdEMAMix", optax.AdEMAMix(0)}},
	Verified: []Sample{{Name: "optax AdEMAMix", Rule: optax.AdEMAMix(1e-3)}},
	Timed:    []Timed{timed("AdEMAMix", 5, kernels.AdEMAMix, fallback.AdEMAMixScalars{Common: usual, Weight1: .1, Weight3: .0001, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Step: 1e-8, Mix: 1e-9})},
})

// adEMAMixFormula is algorithm 1 of Pagliardini, Ablin and Grangier, with the schedules of
// its appendix A.1.
func adEMAMixFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.AdEMAMix)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, false)
	alpha, beta3, t := r.Alpha, r.Beta3, float64(s.T)
	if t < r.WarmupAlpha {
		alpha *= t / r.WarmupAlpha
	}
	keeps, visible := min(r.Beta1, r.Beta2, r.Beta3), max(r.Eps, math.Sqrt(r.EpsRoot))
	if part := t / r.WarmupBeta3; part < 1 && (r.Beta1 > 0 || r.Beta3 > 0) {
		beta3 = math.Exp(1 / ((1-part)/math.Log(r.Beta1) + part/math.Log(r.Beta3)))
	}
	for i := range tensor {
		e := &tensor[i]
		x, m, slow, v := s.gradient(e), &e.State[0], &e.State[1], &e.State[2]
		*m, *slow, *v = mean(*m, x, r.Beta1), mean(*slow, x, beta3), s.squares(*v, x, r.Beta2, visible)
		root, lr, off := s.corrected(update.Adam{Eps: r.Eps, EpsRoot: r.EpsRoot}, *v, c2)
		u := m.Mul(s.scalar(lr/c1.value, off+c1.off)).Add(slow.Mul(s.scalar(lr*alpha, off)))
		s.move(e, u.Div(root))
		s.forget(v, r.Beta2, visible, keeps)
		s.fade(e, keeps, m, slow)
	}
}

var _ = register(&Entry{
	Name: "SimplifiedAdEMAMix",
	Samples: []Sample{
		{"simplified ademamix", update.SimplifiedAdEMAMix{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .99, Beta2: .95, Alpha: 2, Eps: 1e-8}, 0x0c2f7b74f24b8e2e},
		{"simplified ademamix l2", update.SimplifiedAdEMAMix{Options: update.Options{LR: .01, L2: .1}, Beta1: .3, Beta2: .4, Alpha: .5, Eps: 1e-8, EpsRoot: 1e-6}, 0xb0ef1fd48a445875},
	},
	Refused: []Refused{{"LR", "1e+38", update.SimplifiedAdEMAMix{Options: update.Options{LR: 1e38}, Beta2: .999, Alpha: 5, Eps: 1e-8}}},
	Formula: simplifiedAdEMAMixFormula,
	Meant:   meantBeta2,
	Random: []Kind{{"SimplifiedAdEMAMix", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.SimplifiedAdEMAMix{Options: o, Beta1: min(beta1, .9999), Beta2: beta2, Alpha: d.Power(-1, 1), Eps: eps, EpsRoot: float64(d.IntN(2)) * d.Power(-20, 0)}
	}}},
	Presets:  []Preset{{"optax", "SimplifiedAdEMAMix", optax.SimplifiedAdEMAMix(0)}},
	Verified: []Sample{{Name: "optax SimplifiedAdEMAMix", Rule: optax.SimplifiedAdEMAMix(1e-5)}},
	Timed:    []Timed{timed("SimplifiedAdEMAMix", 4, kernels.SimplifiedAdEMAMix, fallback.SimplifiedAdEMAMixScalars{Common: usual, Beta1: .99, Beta2: .95, Root2: .224, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Alpha: 1, Step: 1e-9})},
})

// simplifiedAdEMAMixFormula is algorithm 1 of Morwani et al.
func simplifiedAdEMAMixFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.SimplifiedAdEMAMix)
	c2 := s.correction(r.Beta2)
	keeps, visible := min(r.Beta1, r.Beta2), max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		*m = m.Mul(bounded.Scalar(r.Beta1)).Add(x)
		if s.ScalarsIn32 { // Optax comes from the square
			square := x.Mul(x)
			*v = square.Add(v.Sub(square).Mul(bounded.Scalar(r.Beta2)))
		} else {
			*v = s.squares(*v, x, r.Beta2, visible)
		}
		root, lr, off := s.corrected(update.Adam{Eps: r.Eps, EpsRoot: r.EpsRoot}, *v, c2)
		s.move(e, m.Mul(s.scalar(lr, off)).Add(x.Mul(s.scalar(lr*r.Alpha, off))).Div(root))
		s.forget(v, r.Beta2, visible, keeps)
		s.fade(e, keeps, m)
	}
}
