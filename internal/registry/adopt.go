package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
)

var _ = register(&Entry{
	Name: "ADOPT",
	Samples: []Sample{
		{"adopt", update.ADOPT{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-6}, 0x0cd86e049c19b3e9},
		{"adopt nesterov", update.ADOPT{Options: update.Options{LR: .01, L2: .1}, Beta1: .9, Beta2: .9, Eps: 1e-3, Nesterov: true}, 0xd3c09f6a3bcdf030},
		{"adopt without clipping", update.ADOPT{Options: update.Options{LR: .01, L1: .1}, Beta1: .3, Beta2: .4, Eps: 1e-2, NoClipping: true}, 0x2cb3e7ce2aebe8f2},
	},
	Formula: adoptFormula,
	Random: []Kind{{"ADOPT", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.ADOPT{Options: o, Beta1: beta1, Beta2: beta2, Eps: eps, Nesterov: d.IntN(2) == 0, NoClipping: d.IntN(3) == 0}
	}}},
	Presets:  []Preset{{"optax", "ADOPT", optax.ADOPT(0)}},
	Verified: []Sample{{Name: "optax ADOPT", Rule: optax.ADOPT(1e-3)}},
	Timed:    []Timed{timed("ADOPT", 4, kernels.ADOPT, fallback.ADOPTScalars{Common: usual, Eps: 1e-6, Clip: 10, Weight1: .1, Beta2: .9999, Root2: .01, Small: fallback.DropSquare, Step: 1e-9})},
})

// adoptFormula is algorithm 2 of Taniguchi et al. Optax has β in float32, 1-β too.
func adoptFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.ADOPT)
	if s.ScalarsIn32 {
		r.Beta1, r.Beta2 = single(r.Beta1), single(r.Beta2)
	}
	beta2, keeps := r.Beta2, min(r.Beta1, r.Beta2)
	if s.T == 1 {
		beta2 = 0
	}
	for i := range tensor {
		e := &tensor[i]
		x, m, v := s.gradient(e), &e.State[0], &e.State[1]
		u := adoptQuotient(s, r, x, *v)
		*m = mean(*m, u, r.Beta1)
		*v = s.squares(*v, x, beta2, r.Eps)
		s.move(e, adoptStep(s, r, *m, u))
		s.forget(v, r.Beta2, r.Eps, keeps)
		s.fade(e, keeps, m)
	}
}

// adoptStep is what is subtracted. Optax multiplies Nesterov's mean by the learning rate.
func adoptStep(s *Step, r update.ADOPT, m, u bounded.Number) bounded.Number {
	switch {
	case !r.Nesterov:
		return m.Mul(bounded.Scalar(s.LR))
	case s.ScalarsIn32:
		return mean(m, u, r.Beta1).Mul(bounded.Scalar(s.LR))
	}
	return u.Mul(bounded.Scalar(s.LR * (1 - r.Beta1))).Add(m.Mul(bounded.Scalar(s.LR * r.Beta1)))
}

// adoptQuotient is what is added to the mean.
func adoptQuotient(s *Step, r update.ADOPT, x, v bounded.Number) bounded.Number {
	if s.T == 1 {
		return bounded.Float(0)
	}
	u := x.Div(v.Sqrt().Max(bounded.Scalar(r.Eps)))
	if r.NoClipping {
		return u
	}
	least := s.scalar(math.Pow(float64(s.T-1), .25), 0).Neg()
	return u.Max(least).Neg().Max(least).Neg()
}
