package registry

import (
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
	Name: "Adamax",
	Samples: []Sample{
		{"adamax", update.Adamax{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-7}, 0xb996e3613d5331c2},
		{"adamax inside", update.Adamax{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, EpsInside: true}, 0xac182645963d00db},
		{"adamax beta1 small", update.Adamax{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .4, Eps: 1e-3}, 0xd10d499e8f7198e0},
	},
	Refused: []Refused{{"LR", "1e+38", update.Adamax{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}}},
	Formula: adamaxFormula,
	Random: []Kind{{"Adamax", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.Adamax{Options: o, Beta1: beta1, Beta2: beta2, Eps: eps, EpsInside: d.IntN(2) == 0}
	}}},
	Presets: []Preset{
		{"torch", "Adamax", torch.Adamax()},
		{"keras", "Adamax", keras.Adamax()},
		{"optax", "Adamax", optax.Adamax(0)}, {"optax", "AdamaxW", optax.AdamaxW(0)},
		{"tensorflow", "AdaMax", tensorflow.AdaMax(0, single(.9), single(.999), single(1e-7))},
	},
	Verified: []Sample{{Name: "torch Adamax", Rule: torch.Adamax()}, {Name: "keras Adamax", Rule: keras.Adamax()}},
	Timed:    []Timed{timed("Adamax", 4, kernels.Adamax, fallback.AdamaxScalars{Common: usual, Weight1: .1, Beta2: .999, Eps: 1e-8, Step: 1e-8})},
})

// adamaxFormula is algorithm 2 of Kingma and Ba, with ε in the divisor, or as PyTorch and
// Optax have it in the maximum.
func adamaxFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Adamax)
	c1, inside, outside := s.correction(r.Beta1), bounded.Float(0), bounded.Scalar(r.Eps)
	if r.EpsInside {
		inside, outside = outside, inside
	}
	for i := range tensor {
		e := &tensor[i]
		x, m, u := s.gradient(e), &e.State[0], &e.State[1]
		*m = mean(*m, x, r.Beta1)
		*u = u.Mul(bounded.Scalar(r.Beta2)).Max(x.Max(x.Neg()).Add(inside))
		s.move(e, m.Mul(s.scalar(s.LR/c1.value, c1.off)).Div(u.Add(outside)))
		if fading := []*bounded.Number{m}; r.Eps < 0x1p-88 {
			s.fade(e, r.Beta1, fading...)
		} else {
			s.fade(e, min(r.Beta1, r.Beta2), append(fading, u)...)
		}
	}
}
