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
	Name: "MADGRAD",
	Samples: []Sample{
		{"madgrad", update.MADGRAD{Options: update.Options{LR: .01, L2: .1}, Momentum: .9, Eps: 1e-6}, 0x231a536df6ac018e},
		{"madgrad decayed", update.MADGRAD{Options: update.Options{LR: .1, WeightDecay: .1}, Eps: 1e-2}, 0x9441fdaf2ae5ad01},
	},
	Formula: madgradFormula,
	Random: []Kind{{"MADGRAD", func(d Draw) update.Rule {
		return update.MADGRAD{Options: d.options(), Momentum: d.beta(), Eps: d.eps()}
	}}},
	Presets:  []Preset{{"optax", "MADGRAD", optax.MADGRAD(0)}},
	Verified: []Sample{{Name: "optax MADGRAD", Rule: optax.MADGRAD(1e-3)}},
	Timed:    []Timed{timed("MADGRAD", 5, kernels.MADGRAD, fallback.MADGRADScalars{Common: usual, Root: .1, Small: fallback.DropSquare, Lambda: .01, Eps: 1e-6, Weight: .1})},
})

// madgradFormula is algorithm 1 of Defazio and Jelassi.
func madgradFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.MADGRAD)
	lambda := (s.LR + r.Eps) * math.Sqrt(float64(s.T))
	weight := s.scalar(lambda, 0)
	for i := range tensor {
		e := &tensor[i]
		x, sum, a := s.gradient(e), &e.State[0], &e.State[1]
		*sum = sum.Add(x.Mul(weight))
		*a = a.Add(s.square(x, lambda, r.Eps*math.Sqrt(r.Eps)))
		// What p is off by now remains in part, which no bound sees that takes p off p.
		off := e.P.Bound
		e.P.Bound = 0
		q := sum.Div(a.Cbrt().Add(bounded.Scalar(r.Eps)))
		if s.ScalarsIn32 { // Optax makes new parameters and adds their difference
			z := e.State[2].Sub(q)
			next := z.Mul(bounded.Scalar(1 - r.Momentum)).Add(e.P.Mul(bounded.Scalar(r.Momentum)))
			e.P = e.P.Add(next.Sub(e.P))
		} else {
			s.move(e, e.P.Sub(e.State[2]).Add(q).Mul(bounded.Scalar(1-r.Momentum)))
		}
		e.P.Bound += r.Momentum * off
		s.fade(e, 1)
	}
}
