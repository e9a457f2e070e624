package registry

import "github.com/lockstep-go/lockstep/internal/bounded"

// A caution is what of an element is known before a cautious step is taken: its gradient,
// the step that the rule would take, and whether a small parameter goes afterwards.
type caution struct {
	x, u  bounded.Number
	fades bool
}

func (s *Step) cautious() bool { return s.CautiousUpdate || s.CautiousDecay }

// takeCautiously takes the steps of Liang et al., algorithm 1, with the mean of the mask at
// least .001 as in their program, and decays as in algorithm 1 of Chen et al.: for any rule
// whose formula has said what step it would take.
func (s *Step) takeCautiously(tensor []Element) {
	if !s.cautious() {
		return
	}
	trust := s.trustIn(tensor)
	for i := range tensor {
		e := &tensor[i]
		u := e.u
		if s.CautiousUpdate {
			u = u.Mul(agree(e.x, e.u)).Mul(trust)
		}
		if s.WeightDecay != 0 {
			d := e.P.Mul(bounded.Scalar(s.LR * s.WeightDecay))
			if s.CautiousDecay {
				d = d.Mul(bounded.Float(1).Sub(agree(e.P.Neg(), e.u)))
			}
			u = u.Add(d)
		}
		if e.P = e.P.Sub(u); e.fades && e.P.Below(0x1p-95) {
			e.P = e.P.OrZero()
		}
		e.caution = caution{}
	}
}

// trustIn is one over the part of a tensor that agrees. Whether one element does shows in the
// steps of all.
func (s *Step) trustIn(tensor []Element) bounded.Number {
	var sum bounded.Number
	for i := range tensor {
		x := agree(tensor[i].x, tensor[i].u)
		sum.Exact, sum.Single, sum.Bound = sum.Exact+x.Exact, sum.Single+x.Single, sum.Bound+x.Bound
	}
	return bounded.Float(1).Div(sum.Mul(bounded.Scalar(1 / float64(len(tensor)))).Max(bounded.Scalar(.001)))
}

// agree is 1 where two numbers have one sign, or else 0: either where a sign may be another.
func agree(x, y bounded.Number) bounded.Number {
	z := x.Sign().Mul(y.Sign()).Max(bounded.Float(0))
	if z.Bound < .5 { // which is what multiplication leaves of what is certain
		z.Bound = 0
	}
	return z
}
