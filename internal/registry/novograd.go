package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "NovoGrad",
	Samples: []Sample{
		{"novograd", update.NovoGrad{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .9, Eps: .1, EpsRoot: 1e-6, Decay: .1}, 0xfc8e21ed95e1022b},
		{"novograd averaging", update.NovoGrad{Options: update.Options{LR: .01, WeightDecay: .02}, Beta1: .9, Beta2: .25, Eps: 1e-3, Averaging: true}, 0xf83d281ea8c7f700},
	},
	Refused: []Refused{
		{"L1", "1", update.NovoGrad{Options: update.Options{LR: 1, L1: 1}, Eps: 1}},
		{"L2", "1", update.NovoGrad{Options: update.Options{LR: 1, L2: 1}, Eps: 1}},
	},
	Formula: novoGradFormula,
	Random: []Kind{{"NovoGrad", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		o.L2 = 0
		return update.NovoGrad{Options: o, Beta1: min(beta1, .9999), Beta2: beta2, Eps: eps, Decay: float64(d.IntN(2)) * d.Power(-9, 0), Averaging: d.IntN(2) == 0}
	}}},
	Presets: []Preset{
		{"optax", "Novograd", optax.Novograd(0)},
		{Textbook, "NovoGrad", textbook.NovoGrad(0)},
	},
	Verified: []Sample{{Name: "optax NovoGrad", Rule: update.NovoGrad{Options: update.Options{LR: 1e-2}, Beta1: .9, Beta2: .25, Eps: 1e-6, Decay: 1e-4}}},
	Timed: []Timed{
		timedSum("GradNorm", 2, kernels.GradNorm, fallback.GradNormScalars{Common: usual}),
	},
})

// novoGradFormula is v ← β₂v + (1-β₂)‖x‖², or ‖x‖² in the first step, m ← β₁m + u with
// u = x/(√(v + eps_root) + eps) + decay·w, or (1-β₁)u, and w ← w - lr·m: Ginsburg et al.
// 2019 as Optax writes it.
func novoGradFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.NovoGrad)
	var grads []bounded.Number
	for i := range tensor {
		grads = append(grads, s.signed(&tensor[i]))
	}
	norm := s.norm(grads)
	v := norm.Mul(norm)
	if s.T > 1 {
		v = tensor[0].State[1].Mul(bounded.Scalar(r.Beta2)).Add(v.Mul(bounded.Scalar(1 - r.Beta2)))
	}
	root := v.Add(bounded.Scalar(r.EpsRoot)).Sqrt().Add(bounded.Scalar(r.Eps))
	part := bounded.Float(1)
	if r.Averaging {
		part = bounded.Scalar(1 - r.Beta1)
	}
	lost := 0.
	if math.Abs(s.Scale) > .99*root.Exact*math.MaxFloat32 { // the gradient's factor is no float32, and u 2⁻²⁴ of itself until it is added to m
		lost = 0x1p-125
	}
	for i, x := range grads {
		e := &tensor[i]
		u := x.Div(root).Add(e.P.Mul(bounded.Scalar(r.Decay))).Off(lost).Mul(part)
		e.State[0], e.State[1] = e.State[0].Mul(bounded.Scalar(r.Beta1)).Add(u), v
		s.move(e, e.State[0].Mul(bounded.Scalar(s.LR)))
		if r.Decay == 0 {
			s.fade(e, r.Beta1, &e.State[0])
		} else {
			s.fade(e, 1)
		}
	}
}
