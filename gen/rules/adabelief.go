package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// AdaBelief divides by the root of the mean square of what the gradient is away from its
// own mean. The distance from the new mean is a part of that from the old, which root2
// has: so it loses nothing to the rounding of m.
var AdaBelief = All.Step("AdaBelief", `
	s ← s·beta2 + drop((x - m)·root2, small)² + epsIn
	m ← lerp(m, x, weight1)
	p ← p - (m·step / (√s + eps) + p·decay)`, func(r *rule.Step) {
	x, m, s := r.Gradient(), r.State("m"), r.State("s")
	s1 := meanSquare(r, s, x.Sub(m)).Add(r.Scalar("epsIn"))
	m1 := r.Lerp(m, x, r.Scalar("weight1"))
	eps, step := r.Scalar("eps"), r.Scalar("step")

	s.Set(s1)
	m.Set(m1)
	r.Move(m1.Mul(step).Div(s1.Sqrt().Add(eps)))
})
