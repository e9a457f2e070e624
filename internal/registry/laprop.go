package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "LaProp",
	Samples: []Sample{
		{"laprop", update.LaProp{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8}, 0xe5e8a4ed08743b53},
		{"laprop l2", update.LaProp{Options: update.Options{LR: .01, L2: .1}, Beta1: .3, Beta2: .4, Eps: 1e-8}, 0xc5e7c6c87e6d0d87},
	},
	Refused:  []Refused{{"LR", "1e+38", update.LaProp{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}}},
	Formula:  laPropFormula,
	Meant:    meantBeta2,
	Presets:  []Preset{{Textbook, "LaProp", textbook.LaProp(0)}},
	Verified: []Sample{{Name: "LaProp", Rule: textbook.LaProp(4e-4)}},
	Timed:    []Timed{timed("LaProp", 4, kernels.LaProp, fallback.LaPropScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Input: 1, Eps: 1e-8, Weight1: .1, Step: 1e-8})},
})

// laPropFormula is algorithm 1 of Ziyin, Wang and Ueda, with √c₂ in numerator and ε.
func laPropFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.LaProp)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, false)
	input := s.scalar(math.Sqrt(c2.value), c2.off/2)
	keeps := min(r.Beta1, r.Beta2)
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		*v = s.squares(*v, x, r.Beta2, r.Eps)
		root, _, _ := adamRoot(s, update.Adam{Eps: r.Eps}, *v, c2)
		*m = mean(*m, x.Mul(input).Div(root), r.Beta1)
		s.move(e, m.Mul(s.scalar(s.LR/c1.value, c1.off)))
		s.forget(v, r.Beta2, r.Eps, keeps)
		s.fade(e, keeps, m)
	}
}
