package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// NAdam is Adam whose step is of the gradient too, which looks ahead.
var NAdam = All.Step("NAdam", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - ((x·direct + m·step) / (√(v·unbias + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	v1 := meanSquare(s, v, x)
	unbias, epsIn, eps := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps")
	direct, step := s.Scalar("direct"), s.Scalar("step")

	m.Set(m1)
	v.Set(v1)
	s.Move(x.Mul(direct).Add(m1.Mul(step)).Div(v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)))
})
