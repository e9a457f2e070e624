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
	Name: "DAdaptAdamW",
	Samples: []Sample{
		{"d-adapt adamw", update.DAdaptAdamW{Options: update.Options{LR: 1, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, D0: 1e-3, NoBiasCorrection: true}, 0xb588b31cb40a1568},
		{"d-adapt adamw corrected", update.DAdaptAdamW{Options: update.Options{LR: .5, L2: .1}, Beta1: .8, Beta2: .95, Eps: 1e-6, D0: 1e-2}, 0x1da8d9b367890c1a},
		{"d-adapt adamw limited", update.DAdaptAdamW{Options: update.Options{LR: .5, L1: .1}, Beta1: .9, Beta2: .9, Eps: 1e-8, D0: 1e-3, GrowthRate: 1.02, LayerScale: 2}, 0x15ac4a0d44bd63be},
	},
	Refused: []Refused{
		{"D0", "1e-31", update.DAdaptAdamW{Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-31}},
		{"D0", "1e+31", update.DAdaptAdamW{Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e31}},
		{"LayerScale", "1e-31", update.DAdaptAdamW{Beta1: .9, Beta2: .999, Eps: 1e-8, LayerScale: 1e-31}},
		{"GrowthRate", "0.9", update.DAdaptAdamW{Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-6, GrowthRate: .9}},
		{"Eps", "1e-46", update.DAdaptAdamW{Beta1: .9, Beta2: .999, Eps: 1e-46}},
	},
	Shares:  true,
	Formula: dAdaptFormula,
	Random: []Kind{{"DAdaptAdamW", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		// The correction of bias is a factor of decay too, which is to stay below 1.
		beta1 = min(beta1, .99)
		lr := d.Power(-2, 0)
		o.LR, o.WeightDecay = lr, o.WeightDecay*o.LR/lr // as small a product as it was
		r := update.DAdaptAdamW{Options: o, Beta1: beta1, Beta2: beta2, Eps: max(eps, 1e-12), D0: d.Power(-6, -1), NoBiasCorrection: d.IntN(2) == 0}
		if d.IntN(3) == 0 {
			r.GrowthRate = 1 + d.Float64()
		}
		if d.IntN(3) == 0 {
			r.LayerScale = d.Power(-1, 1)
		}
		return r
	}}},
	Presets: []Preset{
		{"torch", "DAdaptAdam", torch.DAdaptAdam()},
		{"optax", "DAdaptAdamW", optax.DAdaptAdamW()},
	},
	Verified: []Sample{{Name: "torch DAdaptAdam", Rule: torch.DAdaptAdam()}},
	Timed: []Timed{
		timedSums("DAdaptAdamW", 5, kernels.DAdaptAdamW, fallback.DAdaptAdamWScalars{Common: usual, Weight1: .1, Beta2: .999, Root2: .0316, Small: fallback.DropSquare,
			Before: 1e-8, Weight: 1e-8, Input: 1e-8, Eps: 1e-8, Step: 1, Weight3: 5e-4, Rate: 1e-8, Layer: 1}),
	},
})

// dAdaptFormula is algorithm 5 of Defazio and Mishchenko 2023 as their package writes it, of the
// state m, v, s and, of the tensor, d and r.
func dAdaptFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.DAdaptAdamW)
	layer := r.LayerScale
	if layer == 0 {
		layer = 1
	}
	root := math.Sqrt(r.Beta2)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, r.NoBiasCorrection)
	before, more := 1., 1.
	if s.Dialect == (Dialect{}) && !r.NoBiasCorrection { // v is of the float32 nearest to β₂, and what it is beside
		given := r.Beta2
		r.Beta2 = single(given)
		more = math.Sqrt(s.correction(r.Beta2).value / c2.value)
		if last := (Step{T: s.T - 1}); last.T > 0 {
			before = math.Sqrt(last.correction(r.Beta2).value / last.correction(given).value)
		}
	}
	keeps, visible := min(r.Beta1, r.Beta2, root), r.Eps
	first := &tensor[0]
	d, numerator := first.State[3], first.State[4]
	eta := d.Mul(s.scalar(s.LR*math.Sqrt(c2.value)/c1.value, c1.off+c2.off/2))
	input := eta.Mul(bounded.Scalar(layer))
	weight := bounded.Scalar(1 - root)
	var up, along, down []bounded.Number
	for i := range tensor {
		e := &tensor[i]
		x, m, v, sum := s.gradient(e), &e.State[0], &e.State[1], &e.State[2]
		up, along = append(up, x.Mul(input).Mul(bounded.Scalar(before)).Mul(weight)), append(along, sum.Div(v.Sqrt().Add(bounded.Scalar(r.Eps*before))))
		*m, *v, *sum = mean(*m, x.Mul(input), r.Beta1), s.squares(*v, x, r.Beta2, visible), mean(*sum, x.Mul(eta), root)
		down = append(down, sum.Max(sum.Neg()).Mul(bounded.Scalar(layer)).Mul(weight))
		u := m.Mul(bounded.Scalar(more)).Div(v.Sqrt().Add(bounded.Scalar(r.Eps * more)))
		switch decay := e.P.Mul(eta.Mul(bounded.Scalar(r.WeightDecay))); {
		case r.WeightDecay == 0:
		case s.DecayFactor:
			e.P = e.P.Sub(decay)
		default:
			u = u.Add(decay)
		}
		e.P = e.P.Sub(u)
	}
	numerator, d = s.farther(r, d, numerator.Mul(bounded.Scalar(root)).Add(s.dot(up, along)), s.total(down), numerator)
	for i := range tensor {
		e := &tensor[i]
		e.State[3], e.State[4] = d, numerator
		s.forget(&e.State[1], r.Beta2, visible, keeps)
		s.fade(e, keeps, &e.State[0], &e.State[2])
	}
}

// farther is the estimate of a step, of sums over all elements.
func (s *Step) farther(r update.DAdaptAdamW, d, numerator, denominator, before bounded.Number) (nextNumerator, next bounded.Number) {
	if denominator.Exact == 0 && denominator.Bound == 0 || math.IsInf(numerator.Exact, 0) {
		return before, d
	}
	estimate := numerator.Div(denominator)
	if r.GrowthRate != 0 {
		estimate = estimate.Neg().Max(d.Mul(bounded.Scalar(r.GrowthRate)).Neg()).Neg()
	}
	return numerator, d.Max(estimate)
}

// dot is a sum of products as rules make and add them up, in float64, and frameworks in float32.
func (s *Step) dot(x, y []bounded.Number) bounded.Number {
	if s.Dialect == (Dialect{}) {
		return bounded.Dot(x, y)
	}
	var products []bounded.Number
	for i := range x {
		products = append(products, x[i].Mul(y[i]))
	}
	return bounded.Sum(products)
}
