package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "Lion",
	Samples: []Sample{
		{"lion", update.Lion{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99}, 0xad69cdfb3994e31b},
		{"lion beta1 small", update.Lion{Options: update.Options{LR: .01, L2: .1}, Beta1: .3, Beta2: .99}, 0x951b10f237a7d327},
		{"cautious lion", update.Lion{Options: update.Options{LR: .01, WeightDecay: .1, CautiousUpdate: true, CautiousDecay: true}, Beta1: .9, Beta2: .99}, 0x0c0b6e8c20b89177},
		{"cautious lion beta1 small", update.Lion{Options: update.Options{LR: .01, WeightDecay: 10, L2: .1, CautiousUpdate: true}, Beta1: .3, Beta2: .99}, 0xbe1234d36927d270},
		{"lion cautious decay", update.Lion{Options: update.Options{LR: .01, WeightDecay: 10, L1: .01, CautiousDecay: true}, Beta1: .9, Beta2: .99}, 0x318142940f0b32cd},
	},
	Formula: func(s *Step, tensor []Element) {
		r, lr := s.Rule.(update.Lion), bounded.Scalar(s.LR)
		for i := range tensor {
			e := &tensor[i]
			x, m := s.signed(e), &e.State[0]
			s.move(e, mean(*m, x, r.Beta1).Sign().Mul(lr))
			*m = mean(*m, x, r.Beta2)
			s.fade(e, 1)
		}
	},
	Random: []Kind{
		{"Lion", func(d Draw) update.Rule { return d.lion() }},
		{"Lion, cautious", func(d Draw) update.Rule { return d.cautious(d.lion()) }},
	},
	Presets: []Preset{
		{"keras", "Lion", keras.Lion()},
		{"optax", "Lion", optax.Lion(0)},
		{Textbook, "CautiousLion", textbook.CautiousLion(0)},
	},
	Verified: []Sample{
		{Name: "optax Lion", Rule: optax.Lion(1e-3)},
		{Name: "CautiousLion", Rule: update.Lion{Options: update.Options{LR: 1e-3, WeightDecay: .01, CautiousUpdate: true, CautiousDecay: true}, Beta1: .9, Beta2: .99}},
	},
	Timed: []Timed{timed("Lion", 3, kernels.Lion, fallback.LionScalars{Common: usual, Weight1: .1, Weight2: .01, Step: 1e-9})},
})

func (d Draw) lion() update.Lion {
	return update.Lion{Options: d.options(), Beta1: d.beta(), Beta2: d.beta()}
}
