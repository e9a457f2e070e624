package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Momentum is gradient descent with a heavy ball.
var Momentum = All.Step("Momentum", `
	m ← m·beta + x·input
	p ← p - (m·step + p·decay)`, func(s *rule.Step) {
	x, m := s.Gradient(), s.State("m")
	beta, input, step := s.Scalar("beta"), s.Scalar("input"), s.Scalar("step")

	s.Still()
	s.Usually(input, rule.IsBits, 1)
	m1 := m.Mul(beta).Add(x.Mul(input))
	m.Set(m1)
	s.Move(m1.Mul(step))
})

// Nesterov is Momentum that looks ahead.
var Nesterov = All.Step("Nesterov", `
	m ← m·beta + x·input
	p ← p - (x·direct + m·step + p·decay)`, func(s *rule.Step) {
	x, m := s.Gradient(), s.State("m")
	beta, input := s.Scalar("beta"), s.Scalar("input")
	direct, step := s.Scalar("direct"), s.Scalar("step")

	s.Still()
	s.Usually(input, rule.IsBits, 1)
	m1 := m.Mul(beta).Add(x.Mul(input))
	m.Set(m1)
	s.Move(x.Mul(direct).Add(m1.Mul(step)))
})
