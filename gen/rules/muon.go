package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Muon is what Muon does before it multiplies matrices: the direction of a step and its
// norm.
var Muon = All.Define("Muon", `
	x = drop(g·scale, drop)
	m ← lerp(m, x, weight1)
	u ← x·direct + m·ahead
	squares += u²`, func(r *rule.Rule) {
	g, m, u := r.Buffer("g"), r.Buffer("m"), r.Buffer("u")
	scale, drop, weight := r.Scalar("scale"), r.Scalar("drop"), r.Scalar("weight1")
	ahead, direct := r.Scalar("ahead"), r.Scalar("direct")
	r.Usually(weight, rule.IsPositive, 0)
	x := r.Drop(g.Mul(scale), drop)
	// Lerp with the distance first, behind which m and its register are the sum's.
	from := r.Const(0).Less(weight).Select(m, x)
	m1 := x.Sub(m).Mul(weight).Add(from)
	u1 := x.Mul(direct).Add(m1.Mul(ahead))

	m.Set(m1)
	u.Set(u1)
	r.Dot("squares", u1, u1)
})
