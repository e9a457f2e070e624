package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "ASGD",
	Samples: []Sample{
		{"asgd", update.ASGD{Options: update.Options{LR: .1, WeightDecay: .1}, Lambda: .3, Alpha: .75, T0: 5.5}, 0x5428e9b448100414},
		{"asgd l2", update.ASGD{Options: update.Options{LR: .1, L2: .1}, Lambda: 1e-2, Alpha: 2, T0: 3}, 0x5c34ab45d238b421},
	},
	Refused: []Refused{{"LR", "1e+38", update.ASGD{Options: update.Options{LR: 1e38}, Lambda: 10}}},
	Formula: asgdFormula,
	Random: []Kind{{"ASGD", func(d Draw) update.Rule {
		return update.ASGD{Options: d.options(), Lambda: d.Power(-6, 0), Alpha: d.Power(-1, .5), T0: float64(d.IntN(60))}
	}}},
	Presets:  []Preset{{"torch", "ASGD", torch.ASGD()}},
	Verified: []Sample{{Name: "torch ASGD", Rule: torch.ASGD()}},
	Timed:    []Timed{timed("ASGD", 3, kernels.ASGD, fallback.ASGDScalars{Common: decaying, Step: 1e-8, Weight: .01})},
})

// asgdFormula is PyTorch's, with the rates of a learning rate that stays.
func asgdFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.ASGD)
	before := float64(s.T - 1)
	eta := s.LR / math.Pow(1+r.Lambda*s.LR*before, r.Alpha)
	mu := 1 / math.Max(1, before-r.T0)
	decay := eta*r.Lambda + s.LR*r.WeightDecay
	for i := range tensor {
		e := &tensor[i]
		u, ax := s.gradient(e).Mul(bounded.Scalar(eta)), &e.State[0]
		if s.DecayFactor {
			e.P = e.P.Mul(bounded.Scalar(1 - decay)).Sub(u)
		} else {
			e.P = e.P.Sub(u.Add(e.P.Mul(bounded.Scalar(decay))))
		}
		*ax = mean(*ax, e.P, 1-mu)
		s.fade(e, 1)
	}
}
