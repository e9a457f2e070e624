package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Adamax divides by the largest magnitude of a gradient, of which each step forgets a part.
var Adamax = All.Step("Adamax", `
	m ← lerp(m, x, weight1)
	u ← max(u·beta2, |x| + epsIn)
	p ← p - (m·step / (u + eps) + p·decay)`, func(s *rule.Step) {
	x, m, u := s.Gradient(), s.State("m"), s.State("u")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	u1 := u.Mul(s.Scalar("beta2")).Max(x.Abs().Add(s.Scalar("epsIn")))
	eps, step := s.Scalar("eps"), s.Scalar("step")

	m.Set(m1)
	u.Set(u1)
	s.Move(m1.Mul(step).Div(u1.Add(eps)))
})
