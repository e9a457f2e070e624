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
	Name: "Yogi",
	Samples: []Sample{
		{"yogi", update.Yogi{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, InitialAccumulator: 1e-6, Eps: 1e-3}, 0x6fcf5bd167a93c60},
		{"yogi l2", update.Yogi{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsRoot: 1e-6}, 0x388850357d1c8c45},
		{"yogi beta1 small", update.Yogi{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .4, Eps: 1e-8}, 0x9268e35d9e80d637},
	},
	Refused: []Refused{{"LR", "1e+38", update.Yogi{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}}},
	Formula: yogiFormula,
	Random: []Kind{{"Yogi", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.Yogi{Options: o, Beta1: beta1, Beta2: beta2, Eps: eps, EpsRoot: float64(d.IntN(2)) * d.Power(-20, 0), InitialAccumulator: float64(d.IntN(2)) * d.Power(-9, 0)}
	}}},
	Presets:  []Preset{{"optax", "Yogi", optax.Yogi(0)}},
	Verified: []Sample{{Name: "optax Yogi", Rule: optax.Yogi(1e-3)}},
	Timed:    []Timed{timed("Yogi", 4, kernels.Yogi, fallback.YogiScalars{Common: usual, Weight1: .1, Root2: .0316, Small: fallback.DropSquare, Unbias: 1, Eps: 1e-3, Step: 1e-8})},
})

// yogiFormula is algorithm 2 of Zaheer et al., with Adam's corrections of bias, as Optax
// has them.
func yogiFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Yogi)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, false)
	visible := max(r.Eps, math.Sqrt(r.EpsRoot))
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		*m = mean(*m, x, r.Beta1)
		*v = v.Sub(signOf(*v, x.Mul(x)).Mul(s.square(x, 1-r.Beta2, visible)))
		root, lr, off := s.corrected(update.Adam{Eps: r.Eps, EpsRoot: r.EpsRoot}, *v, c2)
		s.move(e, m.Mul(s.scalar(lr/c1.value, off+c1.off)).Div(root))
		s.fade(e, r.Beta1, m)
	}
}

// signOf is the sign of the difference of two numbers that are not negative, which is 0 of
// infinities.
func signOf(x, y bounded.Number) bounded.Number {
	if math.IsInf(x.Exact, 1) && math.IsInf(y.Exact, 1) {
		return bounded.Float(0)
	}
	return x.Sub(y).Sign()
}
