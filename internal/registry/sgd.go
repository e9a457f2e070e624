package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/tensorflow"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "SGD",
	Samples: []Sample{
		{"sgd", update.SGD{Options: update.Options{LR: .1, L2: .01, WeightDecay: .02}}, 0x6582ff0898b0e82a},
		{"sgd l1", update.SGD{Options: update.Options{LR: .1, L1: .01}}, 0xefa973012af05206},
		{"sgd proximal", update.SGD{Options: update.Options{LR: .1, L1: .01, L2: .02, Proximal: true}}, 0x2dc458e2494cf487},
	},
	Refused: []Refused{
		{"LR", "1e+30", update.SGD{Options: update.Options{LR: 1e30, L2: 1e30}}},
	},
	Formula: func(s *Step, tensor []Element) {
		lr := bounded.Scalar(s.LR)
		for i := range tensor {
			e := &tensor[i]
			s.move(e, s.gradient(e).Mul(lr))
			s.fade(e, 1)
		}
	},
	Random: []Kind{{"SGD", func(d Draw) update.Rule { return update.SGD{Options: d.options()} }}},
	Presets: []Preset{
		{"torch", "SGD", torch.SGD()},
		{"keras", "SGD", keras.SGD()},
		{"optax", "SGD", optax.SGD(0)},
		{"tensorflow", "GradientDescent", tensorflow.GradientDescent(0)},
		{"tensorflow", "ProximalGradientDescent", tensorflow.ProximalGradientDescent(0, single(.01), single(.02))},
		{Textbook, "SGD", textbook.SGD(0)},
	},
	Verified: []Sample{
		{Name: "torch SGD", Rule: torch.SGD()},
		{Name: "SGD, proximal L1", Rule: update.SGD{Options: update.Options{LR: 1e-3, L1: 1e-3, Proximal: true}}},
	},
	Timed: []Timed{timed("SGD", 2, kernels.SGD, fallback.SGDScalars{Common: usual, Step: 1e-8})},
})
