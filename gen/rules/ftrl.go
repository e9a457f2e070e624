package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// FTRL makes parameters of a sum of gradients, less what keeps them where they are.
var FTRL = All.Step("FTRL", `
	a' = a + drop(x, small)²
	z ← z + ((x·input + p·shrink) - (√a' - √a)·inverse·p)
	p ← soft(-z, proxL1) / (√a'·inverse + proxL2)
	a ← a'`, func(s *rule.Step) {
	x, a, z := s.Gradient(), s.State("a"), s.State("z")
	small, input, shrink := s.Scalar("small"), s.Scalar("input"), s.Scalar("shrink")
	inverse, l1, l2 := s.Scalar("inverse"), s.Scalar("proxL1"), s.Scalar("proxL2")
	a1 := addSquare(s, a, x, small)
	root := a1.Sqrt()
	slope := x.Mul(input).Add(s.Param().Mul(shrink))
	z1 := z.Add(slope.Sub(root.Sub(a.Sqrt()).Mul(inverse).Mul(s.Param())))

	a.Set(a1)
	z.Set(z1)
	s.Param().Set(soft(z1.Neg(), l1).Div(root.Mul(inverse).Add(l2)))
})
