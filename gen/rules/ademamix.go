package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// AdEMAMix is Adam with a second mean that remembers for longer.
var AdEMAMix = All.Step("AdEMAMix", `
	m ← lerp(m, x, weight1)
	slow ← lerp(slow, x, weight3)
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - ((m·step + slow·mix) / (√(v·unbias + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	x, m, slow, v := s.Gradient(), s.State("m"), s.State("slow"), s.State("v")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	slow1 := s.Lerp(slow, x, s.Scalar("weight3"))
	v1 := meanSquare(s, v, x)
	unbias, epsIn, eps := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps")
	step, mix := s.Scalar("step"), s.Scalar("mix")

	m.Set(m1)
	slow.Set(slow1)
	v.Set(v1)
	s.Move(m1.Mul(step).Add(slow1.Mul(mix)).Div(v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)))
})

// SimplifiedAdEMAMix has a sum of gradients and the gradient itself for the two means.
var SimplifiedAdEMAMix = All.Step("SimplifiedAdEMAMix", `
	m ← m·beta1 + x
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - ((m + x·alpha)·step / (√(v·unbias + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	m1 := m.Mul(s.Scalar("beta1")).Add(x)
	v1 := meanSquare(s, v, x)
	unbias, epsIn, eps := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps")
	alpha, step := s.Scalar("alpha"), s.Scalar("step")

	s.Usually(unbias, rule.IsBits, 1)
	m.Set(m1)
	v.Set(v1)
	s.Move(m1.Add(x.Mul(alpha)).Mul(step).Div(v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)))
})
