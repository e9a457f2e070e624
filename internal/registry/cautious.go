package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "CautiousAdam",
	Samples: []Sample{
		{"cautious adam", update.CautiousAdam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, CautiousUpdate: true, CautiousDecay: true}, 0x90f32fdeffcaaf85},
		{"cautious adam beta1 small", update.CautiousAdam{Options: update.Options{LR: .01, WeightDecay: 10, L2: .1}, Beta1: .3, Beta2: .4, Eps: 1e-8, CautiousUpdate: true}, 0x347d87624ec9c200},
		{"adam cautious decay", update.CautiousAdam{Options: update.Options{LR: .01, WeightDecay: 10, L1: .01}, Beta1: .9, Beta2: .99, Eps: 1e-8, CautiousDecay: true}, 0xd1cb714097277955},
	},
	Refused: []Refused{
		{"LR", "1e+38", update.CautiousAdam{Options: update.Options{LR: 1e38}, Beta1: .9999, Beta2: .999, Eps: 1e-8}},
	},
	Formula: cautiousAdamFormula,
	Meant:   meantBeta2,
	Random: []Kind{{"CautiousAdam", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		return update.CautiousAdam{Options: o, Beta1: beta1, Beta2: beta2, Eps: eps, CautiousUpdate: d.IntN(3) > 0, CautiousDecay: d.IntN(2) == 0}
	}}},
	Presets:  []Preset{{Textbook, "CautiousAdamW", textbook.CautiousAdamW(0)}},
	Verified: []Sample{{Name: "CautiousAdamW", Rule: update.CautiousAdam{Options: update.Options{LR: 1e-3, WeightDecay: .01}, Beta1: .9, Beta2: .999, Eps: 1e-8, CautiousUpdate: true, CautiousDecay: true}}},
	Timed: []Timed{
		timed("CautiousAdam", 4, kernels.CautiousAdam, fallback.CautiousAdamScalars{Common: fallback.Common{Scale: 1, Decay: 1e-9}, Weight1: .1, Beta2: .999, Root2: .0316, Eps: 1e-8, Step: 1e-8, Trust: 1}),
		timedSum("Agree", 3, kernels.Agree, fallback.AgreeScalars{Common: fallback.Common{Scale: 1}, Weight1: .1}),
	},
})

var _ = register(&Entry{
	Name: "CautiousLion",
	Samples: []Sample{
		{"cautious lion", update.CautiousLion{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, CautiousUpdate: true, CautiousDecay: true}, 0x0c0b6e8c20b89177},
		{"cautious lion beta1 small", update.CautiousLion{Options: update.Options{LR: .01, WeightDecay: 10, L2: .1}, Beta1: .3, Beta2: .99, CautiousUpdate: true}, 0xbe1234d36927d270},
		{"lion cautious decay", update.CautiousLion{Options: update.Options{LR: .01, WeightDecay: 10, L1: .01}, Beta1: .9, Beta2: .99, CautiousDecay: true}, 0x318142940f0b32cd},
	},
	Formula: func(s *Step, tensor []Element) {
		r := s.Rule.(update.CautiousLion)
		c := newCaution(s, r.CautiousUpdate, r.CautiousDecay, len(tensor))
		for i := range tensor {
			e := &tensor[i]
			x, m := s.signed(e), &e.State[0]
			y := mean(*m, x, r.Beta1)
			*m = mean(*m, x, r.Beta2)
			c.take(i, e, x, y, y.Sign().Mul(bounded.Scalar(s.LR)))
		}
		c.move(tensor)
		for i := range tensor {
			s.fade(&tensor[i], 1)
		}
	},
	Random: []Kind{{"CautiousLion", func(d Draw) update.Rule {
		return update.CautiousLion{Options: d.options(), Beta1: d.beta(), Beta2: d.beta(), CautiousUpdate: d.IntN(3) > 0, CautiousDecay: d.IntN(2) == 0}
	}}},
	Presets:  []Preset{{Textbook, "CautiousLion", textbook.CautiousLion(0)}},
	Verified: []Sample{{Name: "CautiousLion", Rule: update.CautiousLion{Options: update.Options{LR: 1e-3, WeightDecay: .01}, Beta1: .9, Beta2: .99, CautiousUpdate: true, CautiousDecay: true}}},
	Timed: []Timed{
		timed("CautiousLion", 3, kernels.CautiousLion, fallback.CautiousLionScalars{Common: decaying, Weight1: .1, Weight2: .01, Step: 1e-9, Trust: 1}),
	},
})

func cautiousAdamFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.CautiousAdam)
	s.KeepSubnormals = true
	c := newCaution(s, r.CautiousUpdate, r.CautiousDecay, len(tensor))
	c1, c2 := s.corrections(r.Beta1, r.Beta2, false)
	keeps := min(r.Beta1, r.Beta2)
	for i := range tensor {
		e := &tensor[i]
		x := s.gradient(e)
		m, v := s.moments(e, r.Beta1, r.Beta2, r.Eps)
		root, step, off := adamRoot(s, update.Adam{Eps: r.Eps}, *v, c2)
		c.take(i, e, x, *m, m.Mul(s.scalar(step/c1.value, off+c1.off)).Div(root))
	}
	c.move(tensor)
	for i := range tensor {
		e := &tensor[i]
		s.forget(&e.State[1], r.Beta2, r.Eps, keeps)
		s.fade(e, keeps, &e.State[0])
	}
}

// A caution takes the steps of Liang et al., algorithm 1, with the mean of the mask at least
// .001 as in their program, and decays as in algorithm 1 of Chen et al.
type caution struct {
	*Step
	update, decay bool
	u, agrees     []bounded.Number
}

func newCaution(s *Step, update, decay bool, n int) *caution {
	return &caution{s, update, decay, make([]bounded.Number, n), make([]bounded.Number, n)}
}

// agree is 1 where two numbers have one sign, or else 0: either where a sign may be another.
func agree(x, y bounded.Number) bounded.Number {
	z := x.Sign().Mul(y.Sign()).Max(bounded.Float(0))
	if z.Bound < .5 { // which is what multiplication leaves of what is certain
		z.Bound = 0
	}
	return z
}

// take notes a step of u along a direction.
func (c *caution) take(i int, e *Element, x, along, u bounded.Number) {
	c.u[i], c.agrees[i] = u, agree(x, along)
}

// move takes the steps. Whether one agrees shows in those of all.
func (c *caution) move(tensor []Element) {
	trust := bounded.Float(1)
	if c.update {
		var sum bounded.Number
		for _, x := range c.agrees {
			sum.Exact, sum.Single, sum.Bound = sum.Exact+x.Exact, sum.Single+x.Single, sum.Bound+x.Bound
		}
		trust = trust.Div(sum.Mul(bounded.Scalar(1 / float64(len(tensor)))).Max(bounded.Scalar(.001)))
	}
	for i := range tensor {
		e, u := &tensor[i], c.u[i]
		if c.update {
			u = u.Mul(c.agrees[i]).Mul(trust)
		}
		if c.WeightDecay != 0 {
			d := e.P.Mul(bounded.Scalar(c.LR * c.WeightDecay))
			if c.decay {
				d = d.Mul(agree(e.P, c.u[i]))
			}
			u = u.Add(d)
		}
		e.P = e.P.Sub(u)
	}
}
