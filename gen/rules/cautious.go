package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Agree counts the elements whose mean of gradients will have the sign of the gradient.
var Agree = All.Step("Agree", `
	agree += 0 < x·lerp(m, x, weight1)`, func(s *rule.Step) {
	x, m := s.Gradient(), s.State("m")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))

	s.Sum("agree", ifAgree(s, x, m1, s.Const(1), s.Const(0)))
})

// CautiousAdam is Adam with other factors where the mean of gradients has not the sign of
// the gradient, and another decay where the step has not the sign of the parameter.
var CautiousAdam = All.Step("CautiousAdam", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	u = m·step / (√v + eps)
	p ← p - (u·(0 < x·m ? trust : distrust) + p·(0 < p·u ? decay : growth))`, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	m1 := s.Lerp(m, x, s.Scalar("weight1"))
	v1 := meanSquare(s, v, x)
	eps, step := s.Scalar("eps"), s.Scalar("step")

	m.Set(m1)
	v.Set(v1)
	cautiously(s, x, m1, m1.Mul(step).Div(v1.Sqrt().Add(eps)))
})

// CautiousLion is Lion with such factors and such a decay.
var CautiousLion = All.Step("CautiousLion", `
	y = lerp(m, x, weight1)
	u = sign(y)·step
	m ← lerp(m, x, weight2)
	p ← p - (u·(0 < x·y ? trust : distrust) + p·(0 < p·u ? decay : growth))`, func(s *rule.Step) {
	x, m := s.WholeGradient(), s.State("m")
	y := s.Lerp(m, x, s.Scalar("weight1"))
	m.Set(s.Lerp(m, x, s.Scalar("weight2")))
	cautiously(s, x, y, signTimes(s.Rule, y, s.Scalar("step")))
})

// cautiously takes a step of u along a direction.
func cautiously(s *rule.Step, x, along, u rule.Value) {
	trust, distrust, growth := s.Scalar("trust"), s.Scalar("distrust"), s.Scalar("growth")
	decays := ifAgree(s, s.Param(), u, s.Decay(), s.Param().Mul(growth))
	s.Param().Set(s.Param().Sub(u.Mul(ifAgree(s, x, along, trust, distrust)).Add(decays)))
}

// ifAgree is yes if x and y have one sign, and no if not, or if one is 0 or NaN.
func ifAgree(s *rule.Step, x, y, yes, no rule.Value) rule.Value {
	return s.Const(0).Less(signTimes(s.Rule, x, y)).Select(yes, no)
}
