package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "LARS",
	Samples: []Sample{
		{"lars", update.LARS{Options: update.Options{LR: .1, L2: .5}, Momentum: .9, Trust: .1, TrustEps: .1}, 0x0b47634008f05488},
		{"lars paper", update.LARS{Options: update.Options{LR: .5, L2: .5, WeightDecay: .02}, Momentum: .9, LRInside: true, Trust: .1, SeparateNorms: true}, 0xa3c775d7f7b65565},
		{"lars nesterov", update.LARS{Options: update.Options{LR: .5, L2: .1}, Momentum: .9, Nesterov: true, Trust: .1, TrustEps: .1}, 0xa140e3dacad1693b},
		{"lars nesterov inside", update.LARS{Options: update.Options{LR: .5, L2: .1}, Momentum: .9, Nesterov: true, LRInside: true, Trust: .1}, 0x494613e2b96928cf},
	},
	Refused: []Refused{
		{"L1", "1", update.LARS{Options: update.Options{LR: 1, L1: 1}, Momentum: .9, Trust: 1}},
		{"Momentum", "0", update.LARS{Nesterov: true, Trust: 1}},
		{"Momentum", "1", update.LARS{Momentum: 1, Trust: 1}},
	},
	Formula: larsFormula,
	Random: []Kind{
		{"LARS", func(d Draw) update.Rule {
			return update.LARS{Options: d.options(), Momentum: min(d.beta(), .9999), LRInside: d.IntN(2) == 0, Trust: d.Power(-4, 0), TrustEps: float64(d.IntN(2)) * d.eps(), SeparateNorms: d.IntN(3) == 0}
		}},
		{"LARS, Nesterov", func(d Draw) update.Rule {
			return update.LARS{Options: d.options(), Momentum: max(.1, min(d.beta(), .9999)), Nesterov: true, LRInside: d.IntN(2) == 0, Trust: d.Power(-4, 0)}
		}},
	},
	Presets: []Preset{
		{"optax", "Lars", optax.Lars(0)},
		{Textbook, "LARS", textbook.LARS(0, 0)},
	},
	Verified: []Sample{{Name: "optax LARS", Rule: update.LARS{Options: update.Options{LR: 1, L2: 1e-4}, Momentum: .9, LRInside: true, Trust: 1e-3}}},
	Timed: []Timed{
		timedSums("TensorNorms", 2, kernels.TensorNorms, fallback.TensorNormsScalars{Common: usual}),
	},
})

// larsFormula is b ← μb + lr·φ·u with u = x + L2·w, φ = η‖w‖/(‖u‖ + eps) and w ← w - b, as
// Optax writes it, or the divisor ‖x‖ + L2·‖w‖ of You, Gitman and Ginsburg 2017; the ratio
// is 1 where a norm is 0. With the learning rate outside it is that of w ← w - lr·b.
// Nesterov's step is that of μb + φ·u.
func larsFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.LARS)
	var params, updates, grads []bounded.Number
	for i := range tensor {
		e := &tensor[i]
		params, updates, grads = append(params, e.P), append(updates, s.signed(e)), append(grads, e.G.Mul(s.scale))
	}
	input, outside := s.larsTrust(r, params, updates, grads), s.LR
	if r.LRInside {
		input, outside = input.Mul(bounded.Scalar(s.LR)), 1
	}
	direct := input.Mul(bounded.Scalar(outside))
	for i := range tensor {
		e := &tensor[i]
		b := &e.State[0]
		*b = b.Mul(bounded.Scalar(r.Momentum)).Add(updates[i].Mul(input))
		u := b.Mul(bounded.Scalar(outside))
		if r.Nesterov {
			u = updates[i].Mul(direct).Add(b.Mul(bounded.Scalar(outside * r.Momentum)))
		}
		s.move(e, u)
		s.fade(e, r.Momentum, b)
	}
}

// larsTrust is η‖w‖ over the norm of the updates.
func (s *Step) larsTrust(r update.LARS, params, updates, grads []bounded.Number) bounded.Number {
	w, u := s.norm(params), s.norm(updates)
	if r.SeparateNorms {
		if u = s.norm(grads); u.Exact > 0 {
			u = u.Add(w.Mul(bounded.Scalar(r.L2)))
		}
	}
	if w.Exact == 0 || u.Exact == 0 {
		return bounded.Float(1)
	}
	return bounded.Scalar(r.Trust).Mul(w).Div(u.Add(bounded.Scalar(r.TrustEps)))
}
