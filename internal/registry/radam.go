package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "RAdam",
	Samples: []Sample{
		{"radam", update.RAdam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsHat: true, Threshold: 4.95}, 0xedcfc731a63bc1fe},
		{"radam nesterov", update.RAdam{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .95, Eps: 1e-8, EpsRoot: 1e-6, Threshold: 5.7, Nesterov: true}, 0x16bcce0d00fb8fb4},
		{"radam beta1 small", update.RAdam{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .9, Eps: 1e-8, Threshold: 5.36}, 0x9900ddcd3cc4eadf},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.RAdam{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8, Threshold: 5}},
		{"EpsRoot", "1", update.RAdam{Beta1: .9, Beta2: .999, Eps: 1e-8, EpsRoot: 1, EpsHat: true, Threshold: 5}},
	},
	Formula: radamFormula,
	Random: []Kind{{"RAdam", func(d Draw) update.Rule {
		a := d.adam()
		return update.RAdam{Options: a.Options, Beta1: a.Beta1, Beta2: a.Beta2, Eps: a.Eps, EpsRoot: a.EpsRoot, EpsHat: a.EpsHat,
			Threshold: 4.5 + d.Float64(), Nesterov: d.IntN(3) == 0}
	}}},
	Presets:  []Preset{{"torch", "RAdam", torch.RAdam()}, {"optax", "RAdam", optax.RAdam(0)}},
	Verified: []Sample{{Name: "torch RAdam", Rule: torch.RAdam()}},
	Timed:    []Timed{timed("RAdam", 4, kernels.RAdam, fallback.RAdamScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-8, Step: 1e-8, Adapts: 1})},
})

// radamFormula is algorithm 2 of Liu et al., with Dozat's step where it is Nesterov's.
func radamFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.RAdam)
	rect, rectOff := rectified(s, r, s.correction(r.Beta2))
	if s.Dialect == (Dialect{}) { // but for ρ, ours is the float32 nearest to it
		r.Beta2 = single(r.Beta2)
	}
	c2 := s.correction(r.Beta2)
	direct, step := correction{}, s.correction(r.Beta1)
	step.value = 1 / step.value
	if r.Nesterov {
		direct, step = nadamParts(s, update.NAdam{Beta1: r.Beta1, ConstantMomentum: true})
	}
	keeps, visible := min(r.Beta1, r.Beta2), max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		*m, *v = mean(*m, x, r.Beta1), s.squares(*v, x, r.Beta2, visible)
		root, lr, off := bounded.Float(1), s.LR, 0.
		if rect > 0 {
			root, lr, off = s.corrected(update.Adam{Eps: r.Eps, EpsRoot: r.EpsRoot, EpsHat: r.EpsHat}, *v, c2)
			lr *= rect
		}
		scalar := func(c correction) bounded.Number {
			return s.scalar(lr*c.value, off+c.off).Off(math.Abs(lr*c.value) * rectOff)
		}
		u := m.Mul(scalar(step))
		if r.Nesterov {
			u = x.Mul(scalar(direct)).Add(u)
		}
		s.move(e, u.Div(root))
		s.forget(v, r.Beta2, visible, keeps)
		s.fade(e, keeps, m)
	}
}

// rectified is r, or 0 where ρ is below the threshold, and how far off it is relative to
// itself: what is left of ρ∞ has the errors of numbers as large as that.
func rectified(s *Step, r update.RAdam, c2 correction) (rect, off float64) {
	most := 2/(1-r.Beta2) - 1
	rho := most - 2*float64(s.T)*(1-c2.value)/c2.value
	if rho < max(r.Threshold, 4) {
		return 0, 0
	}
	lost := 0x1p-50
	if s.ScalarsIn32 {
		lost = c2.off + 0x1p-21
	}
	return math.Sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)), most / (rho - 4) * lost
}
