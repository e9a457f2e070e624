package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// AdaGrad divides by the root of the sum of squared gradients.
var AdaGrad = All.Step("AdaGrad", `
	a ← a + drop(x, small)²
	p ← p - (x·step / (√(a + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	s.Move(adaGrad(s))
})

// AdaGradBF16 is AdaGrad along gradients of BF16, which leaves a copy of the parameters.
var AdaGradBF16 = All.StepOf("AdaGradBF16", `
	a ← a + drop(x, small)²
	p ← p - (x·step / (√(a + epsIn) + eps) + p·decay)
	h ← p, rounded to nearest even`, rule.BF16, func(s *rule.Step) {
	s.MoveAndCopy(adaGrad(s), "h", rule.BF16)
})

// adaGrad is the step that AdaGrad takes.
func adaGrad(s *rule.Step) rule.Value {
	x, a := s.Gradient(), s.State("a")
	small, epsIn, eps, step := s.Scalar("small"), s.Scalar("epsIn"), s.Scalar("eps"), s.Scalar("step")

	s.Still()
	a1 := addSquare(s, a, x, small)
	a.Set(a1)
	return x.Mul(step).Div(a1.Add(epsIn).Sqrt().Add(eps))
}

// AdaGradProx is AdaGrad with a proximal step for L1 and L2, whose strength
// follows each element's own step size.
var AdaGradProx = All.Step("AdaGradProx", `
	a ← a + drop(x, small)²
	rate = step / (√(a + epsIn) + eps)
	p ← soft(p - (x·rate + p·decay), rate·proxL1) / (1 + rate·proxL2)`, func(s *rule.Step) {
	x, a := s.Gradient(), s.State("a")
	small, epsIn, eps, step := s.Scalar("small"), s.Scalar("epsIn"), s.Scalar("eps"), s.Scalar("step")
	l1, l2 := s.Scalar("proxL1"), s.Scalar("proxL2")

	a1 := addSquare(s, a, x, small)
	a.Set(a1)
	rate := step.Div(a1.Add(epsIn).Sqrt().Add(eps))
	s.Param().Set(prox(s, s.Moved(x.Mul(rate)), rate, l1, l2))
})

// addSquare adds the square of a gradient, unless that would be subnormal.
func addSquare(s *rule.Step, a, x, small rule.Value) rule.Value {
	y := s.Drop(x, small)
	return a.Add(y.Mul(y))
}
