package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "StableAdamW",
	Samples: []Sample{
		{"stable adamw", update.StableAdamW{Options: update.Options{LR: .01, WeightDecay: .2}, Beta1: .9, Beta2: .99, Eps: 1e-2}, 0xe7cc39e761787098},
		{"stable adamw l1", update.StableAdamW{Options: update.Options{LR: .01, L1: .1, L2: .1}, Beta1: .9, Beta2: .95, Eps: 1e-6}, 0xb9613b9f62fbba4f},
	},
	Refused: []Refused{
		{"WeightDecay", "1e+39", update.StableAdamW{Options: update.Options{LR: 0, WeightDecay: 1e39}, Beta1: .9, Beta2: .99, Eps: 1e-8}},
	},
	Formula: stableAdamWFormula,
	Meant:   meantBeta2,
	Presets: []Preset{
		{Textbook, "StableAdamW", textbook.StableAdamW(0)},
	},
	Verified: []Sample{{Name: "StableAdamW", Rule: update.StableAdamW{Options: update.Options{LR: 1e-3, WeightDecay: .2}, Beta1: .9, Beta2: .99, Eps: 1e-8}}},
	Timed: []Timed{
		timedSum("StableAdamW", 4, kernels.StableAdamW, fallback.StableAdamWScalars{Common: usual, Weight1: .1, Beta2: .99, Root2: .1, Small: fallback.DropSquare, Eps: 1e-8}),
	},
})

// stableAdamWFormula is w ← w - η(m/c₁/(√(v/c₂) + eps) + decay·w) with η = lr/max(1, RMS),
// RMS² the mean of x²/max(v/c₂, eps²): algorithm 2 of Wortsman et al. 2023.
func stableAdamWFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.StableAdamW)
	c1, c2 := s.corrections(r.Beta1, r.Beta2, false)
	root, keeps := math.Sqrt(c2.value), min(r.Beta1, r.Beta2)
	eps, step := s.scalar(r.Eps*root, c2.off/2), s.scalar(root/c1.value, c2.off/2+c1.off)
	var ratios, updates []bounded.Number
	for i := range tensor {
		e := &tensor[i]
		x := s.gradient(e)
		m, v := s.moments(e, r.Beta1, r.Beta2, r.Eps)
		ratios = append(ratios, x.Div(v.Sqrt().Max(eps)))
		updates = append(updates, m.Mul(step).Div(v.Sqrt().Add(eps)).Add(e.P.Mul(bounded.Scalar(r.WeightDecay))))
	}
	rms := s.norm(ratios).Mul(s.scalar(root/math.Sqrt(float64(len(tensor))), c2.off/2))
	rate := bounded.Scalar(s.LR).Div(rms.Max(bounded.Float(1)))
	for i, u := range updates {
		e := &tensor[i]
		e.P = e.P.Sub(u.Mul(rate))
		s.forget(&e.State[1], r.Beta2, r.Eps, keeps)
		s.fade(e, keeps, &e.State[0])
	}
}
