package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// DAdaptAdamW is AdamW with D-Adaptation, which leaves what the next distance to the solution
// is estimated from.
var DAdaptAdamW = All.Step("DAdaptAdamW", `
	numerator += (x·weight)·(s / (√v + before))
	m ← lerp(m, x·input, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	s ← lerp(s, x·rate, weight3)
	denominator += |s·layer|
	p ← p - (m·step / (√v + eps) + p·decay)`, func(s *rule.Step) {
	x, m, v, sum := s.Gradient(), s.State("m"), s.State("v"), s.State("s")
	weight1 := s.Scalar("weight1")
	v1 := meanSquare(s, v, x)
	before, weight, input, eps := s.Scalar("before"), s.Scalar("weight"), s.Scalar("input"), s.Scalar("eps")
	step, weight3, rate, layer := s.Scalar("step"), s.Scalar("weight3"), s.Scalar("rate"), s.Scalar("layer")
	m1 := s.Lerp(m, x.Mul(input), weight1)
	sum1 := s.Lerp(sum, x.Mul(rate), weight3)

	s.Dot("numerator", x.Mul(weight), sum.Div(v.Sqrt().Add(before)))
	s.Sum("denominator", sum1.Mul(layer).Abs())
	m.Set(m1)
	v.Set(v1)
	sum.Set(sum1)
	s.Move(m1.Mul(step).Div(v1.Sqrt().Add(eps)))
})
