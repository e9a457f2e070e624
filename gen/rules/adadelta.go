package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Adadelta has for its step size the root of the mean square of its own steps, over that of
// gradients.
var Adadelta = All.Step("Adadelta", `
	v ← v·beta2 + drop(x·root2, small)²
	u = x·(√(delta + epsIn) / √(v + epsIn))
	delta ← delta·beta2 + drop(u·root2, small)²
	p ← p - (u·step + p·decay)`, func(s *rule.Step) {
	x, v, delta := s.Gradient(), s.State("v"), s.State("delta")
	beta2, root2, small := s.Scalar("beta2"), s.Scalar("root2"), s.Scalar("small")
	epsIn, step := s.Scalar("epsIn"), s.Scalar("step")
	v1 := v.Mul(beta2).Add(s.Square(x, root2, small))
	u := x.Mul(delta.Add(epsIn).Sqrt().Div(v1.Add(epsIn).Sqrt()))

	v.Set(v1)
	delta.Set(delta.Mul(beta2).Add(s.Square(u, root2, small)))
	s.Move(u.Mul(step))
})
