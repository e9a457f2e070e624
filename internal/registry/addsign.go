package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/tensorflow"
)

var _ = register(&Entry{
	Name: "AddSign",
	Samples: []Sample{
		{"addsign", update.AddSign{Options: update.Options{LR: .01, WeightDecay: .1}, Beta: .9, Alpha: 1, SignDecay: .7}, 0xf66d0d7432d80fc5},
		{"addsign decay", update.AddSign{Options: update.Options{LR: .01, L2: .1}, Beta: .4, Alpha: 1.5, SignDecay: 1, SignDecaySteps: 30}, 0x2aab966d5f3358e3},
	},
	Refused: []Refused{{"LR", "1e+38", update.AddSign{Options: update.Options{LR: 1e38}, Alpha: 10}}},
	Formula: func(s *Step, tensor []Element) {
		r := s.Rule.(update.AddSign)
		d := signDecay(s, r.SignDecay, r.SignDecaySteps)
		signFormula(s, tensor, r.Beta, r.Alpha+d, r.Alpha-d, r.Alpha)
	},
	Random: []Kind{{"AddSign", func(d Draw) update.Rule {
		return update.AddSign{Options: d.options(), Beta: d.beta(), Alpha: d.Power(-1, 1), SignDecay: d.Power(-1, 1), SignDecaySteps: float64(d.IntN(3) * 40)}
	}}},
	Presets:  []Preset{{"tensorflow", "AddSign", tensorflow.AddSign(0, 1, 1, single(.9))}},
	Verified: []Sample{{Name: "tensorflow AddSign", Rule: tensorflow.AddSign(1e-2, 1, 1, .9)}},
	Timed:    []Timed{timed("AddSign", 3, kernels.AddSign, fallback.AddSignScalars{Common: usual, Agree: 2e-9, Neither: 1e-9, Weight: .1})},
})

var _ = register(&Entry{
	Name: "PowerSign",
	Samples: []Sample{
		{"powersign", update.PowerSign{Options: update.Options{LR: .01, WeightDecay: .1}, Beta: .9, LogBase: 1, SignDecay: .7}, 0xa576fcae3f84cac5},
		{"powersign decay", update.PowerSign{Options: update.Options{LR: .01, L2: .1}, Beta: .4, LogBase: .6, SignDecay: 1, SignDecaySteps: 30}, 0x1ae8e8cc435c41b1},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.PowerSign{Options: update.Options{LR: 1e38}, LogBase: 10, SignDecay: 1}},
		{"LR", "1", update.PowerSign{Options: update.Options{LR: 1}, LogBase: 1e30, SignDecay: 1e30}},
	},
	Formula: func(s *Step, tensor []Element) {
		r := s.Rule.(update.PowerSign)
		x := r.LogBase * signDecay(s, r.SignDecay, r.SignDecaySteps)
		signFormula(s, tensor, r.Beta, math.Exp(x), math.Exp(-x), 1)
	},
	Random: []Kind{{"PowerSign", func(d Draw) update.Rule {
		return update.PowerSign{Options: d.options(), Beta: d.beta(), LogBase: d.Power(-1, .3), SignDecay: d.Power(-1, .3), SignDecaySteps: float64(d.IntN(3) * 40)}
	}}},
	Presets:  []Preset{{"tensorflow", "PowerSign", tensorflow.PowerSign(0, 1, 1, single(.9))}},
	Verified: []Sample{{Name: "tensorflow PowerSign", Rule: tensorflow.PowerSign(1e-2, 1, 1, .9)}},
})

// signDecay is the paper's linear decay of the signs' factor.
func signDecay(s *Step, d, steps float64) float64 {
	if steps == 0 {
		return d
	}
	return d * math.Max(0, 1-float64(s.T-1)/steps)
}

// signFormula is a step along the gradient, times a factor by whether its sign is that of
// its mean.
func signFormula(s *Step, tensor []Element, beta, agree, differ, neither float64) {
	of := func(factor float64) bounded.Number { return s.scalar(s.LR*factor, 0) }
	for i := range tensor {
		e := &tensor[i]
		x, m := s.gradient(e), &e.State[0]
		*m = mean(*m, x, beta)
		same := x.Pick(m.Sign().Neg(), bounded.Float(0), m.Sign())
		s.move(e, x.Mul(same.Pick(of(differ), of(neither), of(agree))))
		s.fade(e, beta, m)
	}
}
