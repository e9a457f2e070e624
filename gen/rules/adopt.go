package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// ADOPT divides a gradient by the root of v without it, and clips the quotient before it
// takes the mean.
var ADOPT = All.Step("ADOPT", `
	u = clamp(x / max(√v, eps), clip)
	m ← lerp(m, u, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - (u·direct + m·step + p·decay)`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	eps, clip := s.Scalar("eps"), s.Scalar("clip")
	u := clip.Min(clip.Neg().Max(x.Div(eps.Max(v.Sqrt()))))
	m1 := s.Lerp(m, u, s.Scalar("weight1"))

	m.Set(m1)
	v.Set(meanSquare(s, v, x))
	s.Move(u.Mul(s.Scalar("direct")).Add(m1.Mul(s.Scalar("step"))))
})
