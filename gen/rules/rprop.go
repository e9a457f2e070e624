package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Rprop steps along the sign of the gradient, by a length of each element's own.
var Rprop = All.Step("Rprop", `
	same = sign(prev)·sign(x)
	step ← step                                          if same is 0
	       max(min(step·etaMinus, maxStep), minStep)     below
	       max(min(step·etaPlus, maxStep), minStep)      above
	prev ← 0 if same < 0, else x
	p ← p - (sign(prev)·step + p·decay)                  if late is 0
	    p - (sign(prev before)·(step before) + p·decay)  otherwise, 0 for that sign if same < 0`, func(s *rule.Step) {
	x, prev, step := s.WholeGradient(), s.State("prev"), s.State("step")
	etaMinus, etaPlus, minStep, maxStep := s.Scalar("etaMinus"), s.Scalar("etaPlus"), s.Scalar("minStep"), s.Scalar("maxStep")
	inTime := s.Scalar("late").Equal(s.Const(0))
	zero, one := s.Const(0), s.Const(1)

	same := signTimes(s.Rule, prev, signTimes(s.Rule, x, one))
	turned, kept := same.Less(zero), zero.Less(same)
	longer := step.Mul(turned.Select(etaMinus, etaPlus)).Min(maxStep).Max(minStep)
	step1 := turned.Select(longer, kept.Select(longer, step))
	prev1 := turned.Select(zero, x)

	s.Move(signTimes(s.Rule, inTime.Select(prev1, turned.Select(zero, prev)), inTime.Select(step1, step)))
	prev.Set(prev1)
	step.Set(step1)
})
