package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Sophia divides the mean of gradients by an estimate of the Hessian's diagonal, and clips
// what comes of it.
var Sophia = All.Step("Sophia", `
	m ← lerp(m, x, weight1)
	u = m·step / max(h·gamma, eps)
	p ← p - (clamp(u, clip) + p·decay)`, func(s *rule.Step) {
	x, m, h := s.Gradient(), s.State("m"), s.State("h")
	weight1, gamma, eps := s.Scalar("weight1"), s.Scalar("gamma"), s.Scalar("eps")
	step, clip := s.Scalar("step"), s.Scalar("clip")
	m1 := s.Lerp(m, x, weight1)
	u := m1.Mul(step).Div(eps.Max(h.Mul(gamma)))

	m.Set(m1)
	s.Move(clip.Min(clip.Neg().Max(u)))
})
