package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "Rprop",
	Samples: []Sample{
		{"rprop", update.Rprop{Options: update.Options{LR: .01, WeightDecay: .1}, EtaMinus: .5, EtaPlus: 1.2, MinStep: 1e-3, MaxStep: .02}, 0x3417453a9599bd64},
		{"rprop clamped", update.Rprop{Options: update.Options{LR: .1, L2: .1}, EtaMinus: .7, EtaPlus: 1.5, MinStep: .02, MaxStep: .05, ClampFirst: true}, 0xbc66a6147ec07d80},
		{"rprop late", update.Rprop{Options: update.Options{LR: .01, L1: .1}, EtaMinus: .6, EtaPlus: 1.3, MinStep: 5e-3, MaxStep: .03, OptaxLate: true}, 0x5ef1f79f1ffdaf11},
	},
	Refused: []Refused{
		{"EtaMinus", "0", update.Rprop{EtaPlus: 1.2, MaxStep: 1}},
		{"EtaMinus", "1.1", update.Rprop{EtaMinus: 1.1, EtaPlus: 1.2, MaxStep: 1}},
		{"EtaPlus", "0.4", update.Rprop{EtaMinus: .5, EtaPlus: .4, MaxStep: 1}},
		{"MinStep", "2", update.Rprop{EtaMinus: .5, EtaPlus: 1.2, MinStep: 2, MaxStep: 1}},
	},
	Formula: rpropFormula,
	Random: []Kind{{"Rprop", func(d Draw) update.Rule {
		return update.Rprop{Options: d.options(), EtaMinus: .1 + .8*d.Float64(), EtaPlus: 1 + d.Power(-2, 0),
			MinStep: d.Power(-9, -4), MaxStep: d.Power(-3, 1), ClampFirst: d.IntN(2) == 0, OptaxLate: d.IntN(3) == 0}
	}}},
	Presets: []Preset{
		{"torch", "Rprop", torch.Rprop()},
		{"optax", "Rprop", optax.Rprop(0)},
	},
	Verified: []Sample{{Name: "torch Rprop", Rule: rpropFrom(1e-4)}},
	Timed:    []Timed{timed("Rprop", 4, kernels.Rprop, fallback.RpropScalars{Common: usual, EtaMinus: .5, EtaPlus: 1.2, MinStep: 1e-9, MaxStep: 1e-8})},
})

// rpropFrom is PyTorch's with other step sizes at first.
func rpropFrom(lr float64) update.Rprop {
	r := torch.Rprop()
	r.LR = lr
	return r
}

// rpropFormula is Rprop⁻ of Igel and Hüsken.
func rpropFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Rprop)
	zero := bounded.Float(0)
	for i := range tensor {
		e := &tensor[i]
		x, prev, step := s.signed(e), &e.State[0], &e.State[1]
		u := prev.Pick(step.Neg(), zero, *step)
		same := x.Pick(prev.Sign().Neg(), zero, prev.Sign())
		*step = same.Pick(rpropStep(r, *step, r.EtaMinus), *step, rpropStep(r, *step, r.EtaPlus))
		*prev = same.Pick(zero, x, x)
		if r.OptaxLate {
			u = same.Pick(zero, u, u)
		} else {
			u = prev.Pick(step.Neg(), zero, *step)
		}
		s.move(e, u)
		s.fade(e, 1)
	}
}

// rpropStep is a step size times a factor, within its limits.
func rpropStep(r update.Rprop, step bounded.Number, eta float64) bounded.Number {
	most := bounded.Scalar(r.MaxStep).Neg()
	return step.Mul(bounded.Scalar(eta)).Neg().Max(most).Neg().Max(bounded.Scalar(r.MinStep))
}
