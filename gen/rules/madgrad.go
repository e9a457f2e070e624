package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// MADGRAD steps towards what dual averaging makes of the first parameters.
var MADGRAD = All.Step("MADGRAD", `
	a ← a + drop(x·root, small)²
	s ← s + x·lambda
	u = (p - origin) + s / (∛a + eps)
	p ← p - (u·weight + p·decay)`, func(s *rule.Step) {
	x, sum, a, origin := s.Gradient(), s.State("s"), s.State("a"), s.State("origin")
	root, small, lambda := s.Scalar("root"), s.Scalar("small"), s.Scalar("lambda")
	eps, weight := s.Scalar("eps"), s.Scalar("weight")
	a1 := a.Add(s.Square(x, root, small))
	sum1 := sum.Add(x.Mul(lambda))

	a.Set(a1)
	sum.Set(sum1)
	s.Move(s.Param().Sub(origin).Add(sum1.Div(cbrt(s.Rule, a1).Add(eps))).Mul(weight))
})
