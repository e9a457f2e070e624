package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// LAMB is the first pass of LAMB, which leaves what the trust ratio is made of.
var LAMB = All.Step("LAMB", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	u = m·step / (√v + eps) + p·decay
	params += p², updates += u²`, func(s *rule.Step) {
	m1, v1 := moments(s)
	u := lambUpdate(s, m1, v1)

	s.Dot("params", s.Param(), s.Param())
	s.Dot("updates", u, u)
})

// LAMBMove is the second pass of LAMB.
var LAMBMove = All.Step("LAMBMove", `
	u = m·step / (√v + eps) + p·decay
	p ← p - u·rate`, func(s *rule.Step) {
	m, v := s.State("m"), s.State("v")
	u := lambUpdate(s, m, v)

	s.Param().Set(s.Param().Sub(u.Mul(s.Scalar("rate"))))
})

// lambUpdate is the direction of a step before its length is known.
func lambUpdate(s *rule.Step, m, v rule.Value) rule.Value {
	eps, step := s.Scalar("eps"), s.Scalar("step")
	return m.Mul(step).Div(v.Sqrt().Add(eps)).Add(s.Decay())
}
