package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// AdaGradDA makes parameters of the sum of gradients, over the root of that of squares.
var AdaGradDA = All.Step("AdaGradDA", `
	s ← s + x
	a ← a + drop(x, small)²
	p ← soft(-s, proxL1)·step / (√a + proxL2)`, func(s *rule.Step) {
	x, sum, a := s.Gradient(), s.State("s"), s.State("a")
	small, step, l1, l2 := s.Scalar("small"), s.Scalar("step"), s.Scalar("proxL1"), s.Scalar("proxL2")
	sum1, a1 := sum.Add(x), addSquare(s, a, x, small)

	sum.Set(sum1)
	a.Set(a1)
	s.Param().Set(soft(sum1.Neg(), l1).Mul(step).Div(a1.Sqrt().Add(l2)))
})
