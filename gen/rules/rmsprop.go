package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// RMSprop divides by the root of the mean square, if it is centered by that of the
// variance. With momentum what comes of it goes into a buffer.
var (
	RMSprop = All.Step("RMSprop", `
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - (x·step / (√(v + epsIn) + eps) + p·decay)`, func(s *rule.Step) { rmsprop(s, false, false) })

	RMSpropCentered = All.Step("RMSpropCentered", `
	v ← v·beta2 + drop(x·root2, small)²
	a ← lerp(a, x, weight2)
	p ← p - (x·step / (√(max(v - a², 0) + epsIn) + eps) + p·decay)`, func(s *rule.Step) { rmsprop(s, true, false) })

	RMSpropMomentum = All.Step("RMSpropMomentum", `
	v ← v·beta2 + drop(x·root2, small)²
	b ← b·momentum + x·input / (√(v + epsIn) + eps)
	p ← p - (b·step + p·decay)`, func(s *rule.Step) { rmsprop(s, false, true) })

	RMSpropCenteredMomentum = All.Step("RMSpropCenteredMomentum", `
	v ← v·beta2 + drop(x·root2, small)²
	a ← lerp(a, x, weight2)
	b ← b·momentum + x·input / (√(max(v - a², 0) + epsIn) + eps)
	p ← p - (b·step + p·decay)`, func(s *rule.Step) { rmsprop(s, true, true) })
)

func rmsprop(s *rule.Step, centered, momentum bool) {
	x, v := s.Gradient(), s.State("v")
	v1 := meanSquare(s, v, x)
	v.Set(v1)
	if centered {
		a := s.State("a")
		a1 := s.Lerp(a, x, s.Scalar("weight2"))
		a.Set(a1)
		v1 = s.Const(0).Max(v1.Sub(a1.Mul(a1)))
	}
	epsIn, eps := s.Scalar("epsIn"), s.Scalar("eps")
	den := v1.Add(epsIn).Sqrt().Add(eps)
	if !momentum {
		s.Move(x.Mul(s.Scalar("step")).Div(den))
		return
	}
	b := s.State("b")
	b1 := b.Mul(s.Scalar("momentum")).Add(x.Mul(s.Scalar("input")).Div(den))
	b.Set(b1)
	s.Move(b1.Mul(s.Scalar("step")))
}
