package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// TensorNorms is the first pass of rules whose steps are as long as their tensor's norms say.
var TensorNorms = All.Step("TensorNorms", `
	params += p², grads += x²`, func(s *rule.Step) {
	x := s.WholeGradient()

	s.Dot("params", s.Param(), s.Param())
	s.Dot("grads", x, x)
})

// GradNorm is the first pass of rules that divide by the norm of a tensor's gradient.
var GradNorm = All.Step("GradNorm", `
	grads += x²`, func(s *rule.Step) {
	x := s.WholeGradient()

	s.Dot("grads", x, x)
})
