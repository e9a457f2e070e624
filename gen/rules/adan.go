package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Adan is Adam whose means are of the gradient and of its change too, as Nesterov's
// momentum would have it.
var Adan = All.Step("Adan", `
	y = (x - prev)·started
	m ← lerp(m, x, weight1)
	diff ← lerp(diff, y, weight2)
	v ← v·beta3 + drop((x + y·ahead)·root3, small)²
	prev ← x
	p ← p - ((m·step + diff·direct) / (√(v·unbias + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	x, m, diff, v, prev := s.Gradient(), s.State("m"), s.State("diff"), s.State("v"), s.State("prev")
	y := x.Sub(prev).Mul(s.Scalar("started"))
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	diff1 := s.Lerp(diff, y, s.Scalar("weight2"))
	beta3, root3, small := s.Scalar("beta3"), s.Scalar("root3"), s.Scalar("small")
	v1 := v.Mul(beta3).Add(s.Square(x.Add(y.Mul(s.Scalar("ahead"))), root3, small))
	unbias, epsIn, eps := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps")
	step, direct := s.Scalar("step"), s.Scalar("direct")

	m.Set(m1)
	diff.Set(diff1)
	v.Set(v1)
	prev.Set(x)
	s.Move(m1.Mul(step).Add(diff1.Mul(direct)).Div(v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)))
})
