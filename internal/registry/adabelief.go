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
	Name: "AdaBelief",
	Samples: []Sample{
		{"adabelief", update.AdaBelief{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsRoot: 1e-6}, 0x4e2aa8dacad3d0c4},
		{"adabelief l2", update.AdaBelief{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8}, 0x363b4d319228e4a6},
		{"adabelief beta1 small", update.AdaBelief{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .4, Eps: 1e-8}, 0xb1f38120d1fbe1f3},
	},
	Formula: adaBeliefFormula,
	Meant: func(r update.Rule) update.Rule {
		given, a := r.(update.AdaBelief), meantBeta2(r).(update.AdaBelief)
		a.EpsRoot *= (1 - a.Beta2) / (1 - given.Beta2)
		return a
	},
	Presets:  []Preset{{"optax", "AdaBelief", optax.AdaBelief(0)}},
	Verified: []Sample{{Name: "optax AdaBelief", Rule: optax.AdaBelief(1e-3)}},
	Timed:    []Timed{timed("AdaBelief", 4, kernels.AdaBelief, fallback.AdaBeliefScalars{Common: usual, Beta2: .999, Root2: .0285, Small: fallback.DropSquare, EpsIn: 1e-16, Weight1: .1, Eps: 1e-16, Step: 1e-8})},
})

// adaBeliefFormula is algorithm 2 of Zhuang et al., in which s_t has its ε before the bias
// is corrected.
func adaBeliefFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.AdaBelief)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, false)
	keeps, visible := min(r.Beta1, r.Beta2), max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		*m = mean(*m, x, r.Beta1)
		*v = s.squares(*v, x.Sub(*m), r.Beta2, visible).Add(bounded.Scalar(r.EpsRoot))
		root, step, off := adamRoot(s, update.Adam{Eps: r.Eps}, *v, c2)
		s.move(e, m.Mul(s.scalar(step/c1.value, off+c1.off)).Div(root))
		s.forget(v, r.Beta2, visible, keeps)
		s.fade(e, keeps, m)
	}
}
