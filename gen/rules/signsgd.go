package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// SignSGD steps along the sign of the gradient.
var SignSGD = All.Step("SignSGD", `
	p ← p - (sign(x)·step + p·decay)`, func(s *rule.Step) {
	x, step := s.WholeGradient(), s.Scalar("step")

	s.Still()
	s.Move(signTimes(s.Rule, x, step))
})
