package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// ScheduleFreeAdamW averages without a schedule what Adam's square root scales. behind is
// how far parameters are from the point that takes the steps.
var ScheduleFreeAdamW = All.Step("ScheduleFreeAdamW", `
	v ← v·beta2 + drop(x·root2, small)²
	u = x·step / (√v + eps) + p·decay
	behind ← behind·rest + u·input
	p ← p - (u·direct + behind·mix)`, func(s *rule.Step) {
	x, behind, v := s.Gradient(), s.State("behind"), s.State("v")
	v1 := meanSquare(s, v, x)
	eps, step := s.Scalar("eps"), s.Scalar("step")
	u := x.Mul(step).Div(v1.Sqrt().Add(eps)).Add(s.Decay())
	behind1 := behind.Mul(s.Scalar("rest")).Add(u.Mul(s.Scalar("input")))
	direct, mix := s.Scalar("direct"), s.Scalar("mix")

	v.Set(v1)
	behind.Set(behind1)
	s.Param().Set(s.Param().Sub(u.Mul(direct).Add(behind1.Mul(mix))))
})

// ScheduleFreeRAdam is ScheduleFreeAdamW that divides by the root in steps alone in which v
// is of gradients enough.
var ScheduleFreeRAdam = All.Step("ScheduleFreeRAdam", `
	v ← v·beta2 + drop(x·root2, small)²
	d = √v + eps, or 1 if adapts is 0
	u = x·step / d + p·decay
	behind ← behind·rest + u·input
	p ← p - (u·direct + behind·mix)`, func(s *rule.Step) {
	x, behind, v := s.Gradient(), s.State("behind"), s.State("v")
	v1 := meanSquare(s, v, x)
	eps, step, adapts := s.Scalar("eps"), s.Scalar("step"), s.Scalar("adapts")
	d := adapts.Equal(s.Const(0)).Select(s.Const(1), v1.Sqrt().Add(eps))
	u := x.Mul(step).Div(d).Add(s.Decay())
	behind1 := behind.Mul(s.Scalar("rest")).Add(u.Mul(s.Scalar("input")))
	direct, mix := s.Scalar("direct"), s.Scalar("mix")

	v.Set(v1)
	behind.Set(behind1)
	s.Param().Set(s.Param().Sub(u.Mul(direct).Add(behind1.Mul(mix))))
})
