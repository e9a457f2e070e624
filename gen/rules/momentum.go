package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Momentum is gradient descent with a heavy ball.
var Momentum = All.Step("Momentum", `
	m ← m·beta + x·input
	p ← p - (m·step + p·decay)`, func(s *rule.Step) {
	s.Move(heavyBall(s))
})

// MomentumBF16 is Momentum along gradients of BF16, which leaves a copy of the parameters.
var MomentumBF16 = All.StepOf("MomentumBF16", `
	m ← m·beta + x·input
	p ← p - (m·step + p·decay)
	h ← p, rounded to nearest even`, rule.BF16, func(s *rule.Step) {
	s.MoveAndCopy(heavyBall(s), "h", rule.BF16)
})

// heavyBall is the step that Momentum takes.
func heavyBall(s *rule.Step) rule.Value {
	x, m := s.Gradient(), s.State("m")
	beta, input, step := s.Scalar("beta"), s.Scalar("input"), s.Scalar("step")

	s.Still()
	s.Usually(input, rule.IsBits, 1)
	m1 := m.Mul(beta).Add(x.Mul(input))
	m.Set(m1)
	return m1.Mul(step)
}

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
