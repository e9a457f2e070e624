package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "Adan",
	Samples: []Sample{
		{"adan", update.Adan{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .98, Beta2: .92, Beta3: .99, Eps: 1e-8}, 0xaebdb7f6bcc5aa5e},
		{"adan optax", update.Adan{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .8, Beta3: .95, OptaxAhead: true, Eps: 1e-8, EpsRoot: 1e-6}, 0x89d39f38b92e95cb},
		{"adan betas small", update.Adan{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .2, Beta3: .4, Eps: 1e-8}, 0x1358bf2d8fead731},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.Adan{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta3: .999, Eps: 1e-8}},
		{"LR", "1e+38", update.Adan{Options: update.Options{LR: 1e38}, Beta2: .9999, Beta3: .999, Eps: 1e-8}},
	},
	Formula: adanFormula,
	Meant: func(r update.Rule) update.Rule {
		a := r.(update.Adan)
		a.Beta3 = single(a.Beta3)
		return a
	},
	Random: []Kind{{"Adan", func(d Draw) update.Rule {
		o, beta1, beta3, eps := d.moments()
		return update.Adan{Options: o, Beta1: beta1, Beta2: d.beta(), Beta3: beta3, OptaxAhead: d.IntN(2) == 0, Eps: eps, EpsRoot: float64(d.IntN(2)) * d.Power(-20, 0)}
	}}},
	Presets:  []Preset{{"optax", "Adan", optax.Adan(0)}, {Textbook, "Adan", textbook.Adan(0)}},
	Verified: []Sample{{Name: "Adan", Rule: textbook.Adan(1e-3)}, {Name: "optax Adan", Rule: optax.Adan(1e-3)}},
	Timed:    []Timed{timed("Adan", 6, kernels.Adan, fallback.AdanScalars{Common: usual, Started: 1, Weight1: .02, Weight2: .08, Beta3: .99, Root3: .1, Small: fallback.DropSquare, Ahead: .92, Unbias: 1, Eps: 1e-8, Step: 1e-8, Direct: 1e-8})},
})

// adanFormula is algorithm 1 of Xie et al., with corrections of bias as its authors' code
// and Optax have them.
func adanFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Adan)
	c1, c2, c3 := s.correction(r.Beta1), s.correction(r.Beta2), s.correction(r.Beta3)
	ahead := r.Beta2
	if r.OptaxAhead {
		ahead = 1 - r.Beta2
	}
	keeps, visible := min(r.Beta1, r.Beta2, r.Beta3), max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		x, m, diff, v, prev := s.gradient(e), &e.State[0], &e.State[1], &e.State[2], &e.State[3]
		y := bounded.Float(0)
		if s.T > 1 {
			y = x.Sub(*prev)
		}
		*m, *diff, *prev = mean(*m, x, r.Beta1), mean(*diff, y, r.Beta2), x
		*v = s.squares(*v, x.Add(y.Mul(bounded.Scalar(ahead))), r.Beta3, visible)
		root, lr, off := s.corrected(update.Adam{Eps: r.Eps, EpsRoot: r.EpsRoot}, *v, c3)
		u := m.Mul(s.scalar(lr/c1.value, off+c1.off)).Add(diff.Mul(s.scalar(lr*ahead/c2.value, off+c2.off)))
		s.move(e, u.Div(root))
		s.forget(v, r.Beta3, visible, keeps)
		s.fade(e, keeps, m, diff)
	}
}
