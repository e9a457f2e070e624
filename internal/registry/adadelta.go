package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/tensorflow"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "Adadelta",
	Samples: []Sample{
		{"adadelta", update.Adadelta{Options: update.Options{LR: 1, WeightDecay: .001}, Rho: .9, Eps: 1e-6}, 0xdff118b0f581ac86},
		{"adadelta l2", update.Adadelta{Options: update.Options{LR: 1, L2: .1}, Rho: .4, Eps: 1e-3}, 0x597cb5173cafdf15},
	},
	Formula: adadeltaFormula,
	Random: []Kind{{"Adadelta", func(d Draw) update.Rule {
		return update.Adadelta{Options: d.options(), Rho: d.beta(), Eps: d.eps()}
	}}},
	Presets: []Preset{
		{"torch", "Adadelta", torch.Adadelta()},
		{"keras", "Adadelta", keras.Adadelta()},
		{"optax", "Adadelta", optax.Adadelta(0)},
		{"tensorflow", "Adadelta", tensorflow.Adadelta(0, single(.95), single(1e-6))},
	},
	Verified: []Sample{{Name: "torch Adadelta", Rule: torch.Adadelta()}},
	Timed:    []Timed{timed("Adadelta", 4, kernels.Adadelta, fallback.AdadeltaScalars{Common: usual, Beta2: .9, Root2: .316, Small: fallback.DropSquare, EpsIn: 1e-6, Step: 1e-8})},
})

// adadeltaFormula is algorithm 1 of Zeiler, with a learning rate.
func adadeltaFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Adadelta)
	visible := math.Sqrt(r.Eps)
	for i := range tensor {
		e := &tensor[i]
		x, v, delta := s.gradient(e), &e.State[0], &e.State[1]
		*v = s.squares(*v, x, r.Rho, visible)
		u := x.Mul(rooted(*delta, r.Eps, true).Div(rooted(*v, r.Eps, true)))
		*delta = s.squares(*delta, u, r.Rho, visible)
		s.move(e, u.Mul(bounded.Scalar(s.LR)))
		s.forget(v, r.Rho, visible, r.Rho)
		s.forget(delta, r.Rho, visible, r.Rho)
		s.fade(e, r.Rho)
	}
}
