package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "Prodigy",
	Samples: []Sample{
		{"prodigy", update.Prodigy{Options: update.Options{LR: 1, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, D0: 1e-3, DCoef: 1, NoBiasCorrection: true}, 0x0fd8053116e68412},
		{"prodigy corrected", update.Prodigy{Options: update.Options{LR: .5, L2: .1}, Beta1: .8, Beta2: .95, Beta3: .9, Eps: 1e-6, D0: 1e-2, DCoef: .5}, 0xf80e6b5ac9a38b41},
		{"prodigy limited", update.Prodigy{Options: update.Options{LR: .5, L1: .1}, Beta1: .9, Beta2: .9, Eps: 1e-8, D0: 1e-3, DCoef: 2, GrowthRate: 1.2, SafeguardWarmup: true}, 0x63803e6d59192ed8},
	},
	Refused: []Refused{
		{"D0", "1e-31", update.Prodigy{Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-31}},
		{"D0", "1e+31", update.Prodigy{Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e31, DCoef: 1}},
		{"DCoef", "1e-31", update.Prodigy{Beta1: .9, Beta2: .999, Eps: 1e-8, DCoef: 1e-31}},
		{"GrowthRate", "0.9", update.Prodigy{Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-6, DCoef: 1, GrowthRate: .9}},
		{"Eps", "1e-30", update.Prodigy{Beta1: .9, Beta2: .999, Eps: 1e-30, D0: 1e-20, DCoef: 1}},
	},
	Shares:  true,
	Formula: prodigyFormula,
	Random: []Kind{{"Prodigy", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		// The correction of bias is a factor of decay too, which is to stay below 1.
		beta1 = min(beta1, .99)
		lr := d.Power(-2, 0)
		o.LR, o.WeightDecay = lr, o.WeightDecay*o.LR/lr // as small a product as it was
		r := update.Prodigy{Options: o, Beta1: beta1, Beta2: beta2, Eps: max(eps, 1e-12), D0: d.Power(-6, -1), DCoef: d.Power(-1, 0),
			NoBiasCorrection: d.IntN(2) == 0, SafeguardWarmup: d.IntN(2) == 0}
		if d.IntN(2) == 0 {
			r.Beta3 = d.beta2()
		}
		if d.IntN(3) == 0 {
			r.GrowthRate = 1 + d.Float64()
		}
		return r
	}}},
	Presets: []Preset{
		{"torch", "Prodigy", torch.Prodigy()},
		{"optax", "Prodigy", optax.Prodigy()},
	},
	Verified: []Sample{{Name: "torch Prodigy", Rule: torch.Prodigy()}},
	Timed: []Timed{
		timedSums("Prodigy", 6, kernels.Prodigy, fallback.ProdigyScalars{Common: usual, Distance: 1, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Weight: 1, Beta3: .9995, Input: 1}),
	},
})

// prodigyFormula is algorithm 3 of Mishchenko and Defazio 2023 as their package writes it: of
// the state p0, s, m, v and, of the tensor, d, r and the largest d.
func prodigyFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Prodigy)
	beta3 := r.Beta3
	if beta3 == 0 {
		beta3 = math.Sqrt(r.Beta2)
	}
	c1, c2 := s.corrections(r.Beta1, r.Beta2, r.NoBiasCorrection)
	more := 1.
	if s.Dialect == (Dialect{}) && !r.NoBiasCorrection { // v is of the float32 nearest to β₂, and what it is beside
		r.Beta2 = single(r.Beta2)
		more = math.Sqrt(s.correction(r.Beta2).value / c2.value)
	}
	keeps, visible := min(r.Beta1, r.Beta2, beta3), r.Eps*r.D0
	first := &tensor[0]
	d, numerator, most := first.State[4], first.State[5], first.State[6]
	rate := s.scalar(s.LR*math.Sqrt(c2.value)/c1.value, c1.off+c2.off/2)
	eta, part := d.Mul(rate), d.Div(bounded.Scalar(r.D0))
	weight := part.Mul(eta)
	eta = eta.Mul(bounded.Scalar(more))
	input := weight
	if r.SafeguardWarmup {
		input = part.Mul(d)
	}
	var up, down []bounded.Number
	for i := range tensor {
		e := &tensor[i]
		x, sum, m, v := s.gradient(e), &e.State[1], &e.State[2], &e.State[3]
		y := x.Mul(d)
		*m, *v = mean(*m, y, r.Beta1), s.squares(*v, y, r.Beta2, visible)
		*sum = sum.Mul(bounded.Scalar(beta3)).Add(x.Mul(input))
		up = append(up, x.Mul(weight).Mul(e.State[0].Sub(e.P)))
		down = append(down, sum.Max(sum.Neg()))
	}
	sums := s.total(down)
	stays := sums.Exact == 0 && sums.Bound == 0
	numerator, d, most = s.distance(r, d, numerator.Mul(bounded.Scalar(beta3)).Add(s.total(up)), sums, numerator, most)
	for i := range tensor {
		e := &tensor[i]
		if !stays {
			u := e.State[2].Div(e.State[3].Sqrt().Add(d.Mul(bounded.Scalar(r.Eps * more))))
			s.moveDecaying(e, u, eta, r.WeightDecay/more)
		}
		e.State[4], e.State[5], e.State[6] = d, numerator, most
		s.forget(&e.State[3], r.Beta2, visible, keeps)
		s.fade(e, keeps, &e.State[1], &e.State[2])
	}
}

// moveDecaying moves a parameter by eta·(u + decay·p), or as a framework with a factor of decay.
func (s *Step) moveDecaying(e *Element, u, eta bounded.Number, decay float64) {
	switch of := e.P.Mul(bounded.Scalar(decay)); {
	case decay == 0:
	case s.DecayFactor:
		e.P = e.P.Sub(of.Mul(eta))
	default:
		u = u.Add(of)
	}
	e.P = e.P.Sub(u.Mul(eta))
}

// distance is the estimate of a step, of sums over all elements.
func (s *Step) distance(r update.Prodigy, d, numerator, denominator, before, most bounded.Number) (nextNumerator, next, nextMost bounded.Number) {
	if denominator.Exact == 0 && denominator.Bound == 0 || math.IsInf(numerator.Exact, 0) {
		return before, d, most
	}
	estimate := numerator.Mul(bounded.Scalar(r.DCoef)).Div(denominator)
	most = most.Max(estimate)
	if r.GrowthRate == 0 {
		return numerator, most, most
	}
	if d.Exact == r.D0 || d.Exact == single(r.D0) {
		d = d.Max(estimate)
	}
	return numerator, d.Mul(bounded.Scalar(r.GrowthRate)).Neg().Max(most.Neg()).Neg(), most
}

// total is a sum as rules add it up, in float64, and frameworks in float32.
func (s *Step) total(list []bounded.Number) bounded.Number {
	if s.Dialect != (Dialect{}) {
		return bounded.Sum(list)
	}
	return bounded.Total(list)
}
