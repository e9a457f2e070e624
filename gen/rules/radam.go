package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// RAdam is Adam that divides by the root in steps alone in which v is of gradients enough.
var RAdam = All.Step("RAdam", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	d = √(v·unbias + epsIn) + eps, or 1 if adapts is 0
	p ← p - ((x·direct + m·step) / d + p·decay)`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	v1 := meanSquare(s, v, x)
	unbias, epsIn, eps := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps")
	direct, step, adapts := s.Scalar("direct"), s.Scalar("step"), s.Scalar("adapts")
	den := v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)

	m.Set(m1)
	v.Set(v1)
	s.Move(x.Mul(direct).Add(m1.Mul(step)).Div(adapts.Equal(s.Const(0)).Select(s.Const(1), den)))
})
