package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/tensorflow"
)

var _ = register(&Entry{
	Name: "AdaGradDA",
	Samples: []Sample{
		{"adagradda", update.AdaGradDA{Options: update.Options{LR: .1, L1: .02, L2: .2, Proximal: true}, InitialAccumulator: .1}, 0x3a2373d133c6c74a},
		{"adagradda l2", update.AdaGradDA{Options: update.Options{LR: .1, L1: .01, L2: .3}, InitialAccumulator: .01}, 0x322d4ea5165be1e0},
	},
	Refused: []Refused{
		{"WeightDecay", "0.1", update.AdaGradDA{Options: update.Options{LR: .1, WeightDecay: .1}, InitialAccumulator: .1}},
		{"InitialAccumulator", "0", update.AdaGradDA{Options: update.Options{LR: .1}}},
	},
	Formula: adaGradDAFormula,
	Random: []Kind{{"AdaGradDA", func(d Draw) update.Rule {
		o := d.options()
		o.WeightDecay = 0
		return update.AdaGradDA{Options: o, InitialAccumulator: d.Power(-6, 0)}
	}}},
	Presets:  []Preset{{"tensorflow", "AdagradDA", tensorflow.AdagradDA(0, single(.1), single(.01), single(.02))}},
	Verified: []Sample{{Name: "tensorflow AdagradDA", Rule: tensorflow.AdagradDA(1e-2, .1, 1e-4, 1e-4)}},
	Timed:    []Timed{timed("AdaGradDA", 4, kernels.AdaGradDA, fallback.AdaGradDAScalars{Common: usual, Small: fallback.DropSquare, Step: 1e-8})},
})

// adaGradDAFormula is the primal-dual subgradient update of Duchi, Hazan and Singer with a
// diagonal matrix, without their δ.
func adaGradDAFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.AdaGradDA)
	t, l1, l2 := float64(s.T), 0., 0.
	if r.Proximal {
		l1, l2 = t*r.L1, t*s.LR*r.L2
	}
	for i := range tensor {
		e := &tensor[i]
		x, sum, a := s.gradient(e), &e.State[0], &e.State[1]
		*sum = sum.Add(x)
		*a = a.Add(s.square(x, 1, math.Sqrt(r.InitialAccumulator)))
		e.P = sum.Neg().Soft(s.scalar(l1, 0)).Mul(s.scalar(s.LR, 0)).Div(a.Sqrt().Add(s.scalar(l2, 0)))
		s.fade(e, 1)
	}
}
