package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// SGD is gradient descent.
var SGD = All.Step("SGD", `
	p ← p - (x·step + p·decay)`, func(s *rule.Step) {
	x, step := s.Gradient(), s.Scalar("step")

	s.Still()
	s.Move(x.Mul(step))
})
