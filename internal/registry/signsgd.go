package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
)

var _ = register(&Entry{
	Name: "SignSGD",
	Samples: []Sample{
		{"signsgd", update.SignSGD{Options: update.Options{LR: .01, WeightDecay: .1}}, 0x947b6172f2657c29},
		{"signsgd l2", update.SignSGD{Options: update.Options{LR: .01, L2: .5}}, 0x4551c16add31283e},
		{"signum", update.SignSGD{Options: update.Options{LR: .01, WeightDecay: .1}, Momentum: .9}, 0x91eeb1433fad6416},
	},
	Formula: func(s *Step, tensor []Element) {
		r, lr := s.Rule.(update.SignSGD), bounded.Scalar(s.LR)
		if s.ScalarsIn32 { // as Optax has it, and 1 less it
			r.Momentum = single(r.Momentum)
		}
		for i := range tensor {
			e := &tensor[i]
			m := s.signed(e)
			if r.Momentum != 0 {
				m = mean(e.State[0], m, r.Momentum)
				e.State[0] = m
			}
			s.move(e, m.Sign().Mul(lr))
			s.fade(e, 1)
		}
	},
	Random: []Kind{
		{"SignSGD", func(d Draw) update.Rule { return update.SignSGD{Options: d.options()} }},
		{"Signum", func(d Draw) update.Rule { return update.SignSGD{Options: d.options(), Momentum: d.beta()} }},
	},
	Presets: []Preset{
		{"optax", "SignSGD", optax.SignSGD(0)},
		{"optax", "Signum", optax.Signum(0)},
	},
	Verified: []Sample{{Name: "optax SignSGD", Rule: optax.SignSGD(1e-3)}, {Name: "optax Signum", Rule: optax.Signum(1e-3)}},
	Timed:    []Timed{timed("SignSGD", 2, kernels.SignSGD, fallback.SignSGDScalars{Common: usual, Step: 1e-9})},
})
