package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
)

var _ = register(&Entry{
	Name: "LAMB",
	Samples: []Sample{
		{"lamb", update.LAMB{Options: update.Options{LR: .01, L2: .01}, Beta1: .9, Beta2: .99, Eps: 1e-6, Decay: .1}, 0x2cf551a230bf6984},
	},
	Refused: []Refused{
		{"L1", "1", update.LAMB{Options: update.Options{LR: 1, L1: 1}, Beta1: .9, Beta2: .999, Eps: 1e-6}},
		{"WeightDecay", "1", update.LAMB{Options: update.Options{LR: 1, WeightDecay: 1}, Beta1: .9, Beta2: .999, Eps: 1e-6}},
	},
	Formula: lambFormula,
	Meant:   meantBeta2,
	Random: []Kind{{"LAMB", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		o.WeightDecay = 0
		return update.LAMB{Options: o, Beta1: beta1, Beta2: beta2, Eps: eps, Decay: float64(d.IntN(2)) * d.Power(-9, 0), NoBiasCorrection: d.IntN(4) == 0}
	}}},
	Presets: []Preset{
		{"keras", "Lamb", keras.Lamb()},
		{"optax", "Lamb", optax.Lamb(0)},
	},
	Verified: []Sample{{Name: "optax LAMB", Rule: update.LAMB{Options: update.Options{LR: 1e-2}, Beta1: .9, Beta2: .999, Eps: 1e-6, Decay: 1e-2}}},
	Timed: []Timed{
		timedSums("LAMB", 4, kernels.LAMB, fallback.LAMBScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Eps: 1e-6, Step: 1}),
		timed("LAMBMove", 3, kernels.LAMBMove, fallback.LAMBMoveScalars{Common: usual, Eps: 1e-6, Step: 1, Rate: 1e-9}).inFull(),
	},
})

// lambFormula is u = m/c₁/(√(v/c₂) + eps) + decay·w, as Adam's at the end of its section 2,
// and w ← w - lr·‖w‖/‖u‖·u; the ratio is 1 where a norm is 0 (You et al. 2020).
func lambFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.LAMB)
	s.KeepSubnormals = true // a step is as long as w, however small gradients are
	adam := update.Adam{Beta1: r.Beta1, Beta2: r.Beta2, Eps: r.Eps}
	c1, c2 := s.corrections(r.Beta1, r.Beta2, r.NoBiasCorrection)
	unit := *s
	unit.LR = 1
	var params, updates []bounded.Number
	for i := range tensor {
		e := &tensor[i]
		m, v := s.moments(e, r.Beta1, r.Beta2, r.Eps)
		root, step, off := adamRoot(&unit, adam, *v, c2)
		u := m.Mul(s.scalar(step/c1.value, off+c1.off)).Div(root).Add(e.P.Mul(bounded.Scalar(r.Decay)))
		params, updates = append(params, e.P), append(updates, u)
	}
	rate := s.trust(params, updates).Mul(bounded.Scalar(s.LR))
	for i, u := range updates {
		tensor[i].P = tensor[i].P.Sub(u.Mul(rate))
	}
}

// trust is ‖w‖/‖u‖.
func (s *Step) trust(params, updates []bounded.Number) bounded.Number {
	w, u := s.norm(params), s.norm(updates)
	if w.Exact == 0 || u.Exact == 0 {
		return bounded.Float(1)
	}
	return w.Div(u)
}

// norm is that of a tensor.
func (s *Step) norm(list []bounded.Number) bounded.Number {
	x := bounded.Norm(list)
	if s.ScalarsIn32 { // in a sum of n terms, whose order is unknown, each may have rounded n times
		x = x.Off(x.Exact * float64(len(list)+4) / 2 * 0x1p-24)
	}
	return x
}
