package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Lion steps along the sign of a mean of momentum and gradient.
var Lion = All.Step("Lion", `
	p ← p - (sign(lerp(m, x, weight1))·step + p·decay)
	m ← lerp(m, x, weight2)`, func(s *rule.Step) {
	x, m := s.WholeGradient(), s.State("m")
	weight1, weight2, step := s.Scalar("weight1"), s.Scalar("weight2"), s.Scalar("step")

	s.Move(signTimes(s.Rule, s.Lerp(m, x, weight1), step))
	m.Set(s.Lerp(m, x, weight2))
})
