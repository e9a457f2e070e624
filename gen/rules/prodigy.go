package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Prodigy is the first pass of Prodigy, which leaves what the distance to the solution is
// estimated from. LAMBMove is the second.
var Prodigy = All.Step("Prodigy", `
	y = x·distance
	m ← lerp(m, y, weight1)
	v ← v·beta2 + drop(y·root2, small)²
	numerator += (x·weight)·(p0 - p)
	s ← s·beta3 + x·input
	denominator += |s|`, func(s *rule.Step) {
	x, start, sum, m, v := s.Gradient(), s.State("p0"), s.State("s"), s.State("m"), s.State("v")
	y := x.Mul(s.Scalar("distance"))
	weight1 := s.Scalar("weight1")
	m1 := s.Lerp(m, y, weight1)
	v1 := meanSquare(s, v, y)
	weight, beta3, input := s.Scalar("weight"), s.Scalar("beta3"), s.Scalar("input")
	sum1 := sum.Mul(beta3).Add(x.Mul(input))

	s.Dot("numerator", x.Mul(weight), start.Sub(s.Param()))
	s.Sum("denominator", sum1.Abs())
	sum.Set(sum1)
	m.Set(m1)
	v.Set(v1)
})
