package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Yogi is Adam whose v approaches the square by a part of the square, whichever is larger.
var Yogi = All.Step("Yogi", `
	m ← lerp(m, x, weight1)
	y = drop(x·root2, small)²
	v ← v + y if v < x², v - y if v > x²
	p ← p - (m·step / (√(v·unbias + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	y := s.Square(x, s.Scalar("root2"), s.Scalar("small"))
	unbias, epsIn, eps, step := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps"), s.Scalar("step")
	square := x.Mul(x)
	v1 := v.Add(v.Less(square).Select(y, square.Less(v).Select(y.Neg(), s.Const(0))))

	m.Set(m1)
	v.Set(v1)
	s.Move(m1.Mul(step).Div(v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)))
})
