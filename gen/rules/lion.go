package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Lion steps along the sign of a mean of momentum and gradient.
var Lion = All.Step("Lion", `
	p ← p - (sign(lerp(m, x, weight1))·step + p·decay)
	m ← lerp(m, x, weight2)`, func(s *rule.Step) {
	lion(s, s.Move)
})

// LionBF16 is Lion along gradients of BF16, which leaves a copy of the parameters.
var LionBF16 = All.StepOf("LionBF16", `
	p ← p - (sign(lerp(m, x, weight1))·step + p·decay)
	m ← lerp(m, x, weight2)
	h ← p, rounded to nearest even`, rule.BF16, func(s *rule.Step) {
	lion(s, func(u rule.Value) { s.MoveAndCopy(u, "h", rule.BF16) })
})

// lion has the parameters move by the step that Lion takes.
func lion(s *rule.Step, move func(u rule.Value)) {
	x, m := s.WholeGradient(), s.State("m")
	weight1, weight2, step := s.Scalar("weight1"), s.Scalar("weight2"), s.Scalar("step")

	move(signTimes(s.Rule, s.Lerp(m, x, weight1), step))
	m.Set(s.Lerp(m, x, weight2))
}
