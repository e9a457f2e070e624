package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// ASGD is gradient descent that keeps the mean of the parameters it has been at.
var ASGD = All.Step("ASGD", `
	p ← p - (x·step + p·decay)
	ax ← lerp(ax, p, weight)`, func(s *rule.Step) {
	x, ax := s.Gradient(), s.State("ax")
	p := s.Moved(x.Mul(s.Scalar("step")))

	s.Param().Set(p)
	ax.Set(s.Lerp(ax, p, s.Scalar("weight")))
})
