package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// LaProp takes the mean of gradients that are divided by the root already.
var LaProp = All.Step("LaProp", `
	v ← v·beta2 + drop(x·root2, small)²
	m ← lerp(m, x·input / (√v + eps), weight1)
	p ← p - (m·step + p·decay)`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	v1 := meanSquare(s, v, x)
	input, eps := s.Scalar("input"), s.Scalar("eps")
	m1 := s.Lerp(m, x.Mul(input).Div(v1.Sqrt().Add(eps)), s.Scalar("weight1"))

	v.Set(v1)
	m.Set(m1)
	s.Move(m1.Mul(s.Scalar("step")))
})
