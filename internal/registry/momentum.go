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
	Name: "Momentum",
	Samples: []Sample{
		{"momentum", update.Momentum{Options: update.Options{LR: .1}, Momentum: .9, Dampening: .5}, 0x771deb264fa0d04e},
		{"momentum l2", update.Momentum{Options: update.Options{LR: .1, L2: .01}, Momentum: .9, LRInside: true}, 0x2a528c2cc7eb9d58},
		{"nesterov", update.Momentum{Options: update.Options{LR: .1}, Momentum: .9, Nesterov: true}, 0x0ff351361da4d7a1},
		{"nesterov inside", update.Momentum{Options: update.Options{LR: .1, WeightDecay: .02}, Momentum: .9, Nesterov: true, LRInside: true}, 0x9ad3bb71c027a7fa},
		{"nesterov proximal", update.Momentum{Options: update.Options{LR: .1, L1: .01, Proximal: true}, Momentum: .9, Nesterov: true}, 0x38c649e653cc8621},
		{"cautious nesterov", update.Momentum{Options: update.Options{LR: .1, L2: .01, WeightDecay: .2, CautiousUpdate: true, CautiousDecay: true}, Momentum: .9, Nesterov: true}, 0x002115051a98e90f},
	},
	Refused: []Refused{
		{"Momentum", "0", update.Momentum{Nesterov: true}},
		{"Dampening", "1.5", update.Momentum{Momentum: .9, Dampening: 1.5}},
		{"Dampening", "0.5", update.Momentum{Momentum: .9, Dampening: .5, Nesterov: true}},
		{"Dampening", "0.5", update.Momentum{Momentum: .9, Dampening: .5, LRInside: true}},
	},
	Formula: momentumFormula,
	Random: []Kind{
		{"Momentum", func(d Draw) update.Rule {
			return update.Momentum{Options: d.options(), Momentum: min(d.beta(), .9999), Dampening: float64(d.IntN(2)) / 2}
		}},
		{"Nesterov", func(d Draw) update.Rule {
			return update.Momentum{Options: d.options(), Momentum: max(.1, min(d.beta(), .9999)), Nesterov: true, LRInside: d.IntN(3) == 0}
		}},
	},
	Presets: []Preset{
		{"torch", "Momentum", torch.Momentum(.9)},
		{"keras", "Momentum", keras.Momentum(.9)},
		{"optax", "Momentum", optax.Momentum(0, .9)},
		{"tensorflow", "Momentum", tensorflow.Momentum(0, single(.9))},
		{"tensorflow", "KerasMomentum", tensorflow.KerasMomentum(0, single(.9))},
		{Textbook, "Momentum", textbook.Momentum(0, .9)},
	},
	Verified: []Sample{
		{Name: "torch SGD, momentum", Rule: torch.Momentum(.9)},
		{Name: "torch SGD, Nesterov, L2", Rule: update.Momentum{Options: update.Options{LR: 1e-3, L2: 1e-4}, Momentum: .9, Nesterov: true}},
		{Name: "keras SGD, momentum", Rule: keras.Momentum(.9)},
	},
	Timed: []Timed{
		timed("Momentum", 3, kernels.Momentum, fallback.MomentumScalars{Common: usual, Beta: .9, Input: 1, Step: 1e-9}),
		timed("Nesterov", 3, kernels.Nesterov, fallback.NesterovScalars{Common: usual, Beta: .9, Input: 1, Direct: 1e-9, Step: 1e-9}),
	},
})

// momentumFormula is b ← μb + (1-dampening)x with the learning rate outside, PyTorch's, or
// b ← μb + lr·x with it inside, Keras'. Nesterov's step is lr·x + lr·μb, or lr·x + μb.
func momentumFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Momentum)
	input, outside := 1-r.Dampening, s.LR
	switch {
	case r.LRInside:
		input, outside = s.LR, 1
	case s.T == 1:
		input = 1
	}
	for i := range tensor {
		e := &tensor[i]
		x, b := s.gradient(e), &e.State[0]
		*b = b.Mul(bounded.Scalar(r.Momentum)).Add(x.Mul(bounded.Scalar(input)))
		u := b.Mul(bounded.Scalar(outside))
		if r.Nesterov {
			u = x.Mul(bounded.Scalar(s.LR)).Add(b.Mul(bounded.Scalar(outside * r.Momentum)))
		}
		s.move(e, u)
		s.fade(e, r.Momentum, b)
	}
}
