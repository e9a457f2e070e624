package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "Sophia",
	Samples: []Sample{
		{"sophia", update.Sophia{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Gamma: .01, Eps: 2, Clip: 1, BiasCorrected: true}, 0x8d425895eede399d},
		{"sophia authors", update.Sophia{Options: update.Options{LR: .01, L2: .1}, Beta1: .3, Beta2: .9, Gamma: 40, Eps: .5, Clip: .5}, 0xf22a8f2ede6c84a5},
	},
	Refused: []Refused{
		{"Clip", "0", update.Sophia{Options: update.Options{LR: .1}, Beta1: .9, Beta2: .99, Eps: 1}},
		{"LR", "1e+38", update.Sophia{Options: update.Options{LR: 1e38}, Beta1: .9, Beta2: .99, Eps: 1, Clip: 10}},
		{"LR", "0", update.Sophia{Beta1: .9, Beta2: .99, AllowZeroEps: true, Clip: 1}},
		{"LR", "0.01", update.Sophia{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1, Clip: 1e-44}},
		{"LR", "1e+38", update.Sophia{Options: update.Options{LR: 1e38}, Beta1: .999, Beta2: .99, Eps: 1, Clip: 1, BiasCorrected: true}},
	},
	Formula: sophiaFormula,
	Random: []Kind{{"Sophia", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.Sophia{Options: o, Beta1: beta1, Beta2: beta2, Gamma: d.Float64(), Eps: eps, Clip: .1 + d.Float64(), BiasCorrected: d.IntN(2) == 0}
	}}},
	Presets: []Preset{
		{"optax", "Sophia", optax.Sophia(0)},
		{Textbook, "SophiaG", textbook.SophiaG(0, 480)},
	},
	Verified: []Sample{{Name: "optax Sophia", Rule: optax.Sophia(1e-3)}},
	Timed:    []Timed{timed("Sophia", 4, kernels.Sophia, fallback.SophiaScalars{Common: usual, Weight1: .035, Gamma: .01, Eps: 1e-8, Step: 1e-9, Clip: 1e-9})},
})

// sophiaFormula is algorithm 3 of Liu et al., with Optax' correction of bias.
func sophiaFormula(s *Step, tensor []Element) {
	r, clip := s.Rule.(update.Sophia), bounded.Scalar(s.LR*s.Rule.(update.Sophia).Clip).Neg()
	step := bounded.Scalar(s.LR)
	if r.BiasCorrected {
		c := s.correction(r.Beta1)
		step = s.scalar(s.LR/c.value, c.off)
	}
	for i := range tensor {
		e := &tensor[i]
		x, m, h := s.gradient(e), &e.State[0], e.State[1]
		*m = mean(*m, x, r.Beta1)
		u := m.Mul(step).Div(h.Mul(bounded.Scalar(r.Gamma)).Max(bounded.Scalar(r.Eps)))
		s.move(e, u.Max(clip).Neg().Max(clip).Neg())
		s.fade(e, r.Beta1, m)
	}
}
