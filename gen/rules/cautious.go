package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Agree counts the elements whose step, -d, has the sign of the gradient.
var Agree = All.Define("Agree", `
	agree += 0 < -d·(g·scale)`, func(r *rule.Rule) {
	g, d := r.Buffer("g"), r.Buffer("d")
	x := g.Mul(r.Scalar("scale"))

	r.Sum("agree", r.Const(0).Less(signTimes(r, x, d.Neg())).Select(r.Const(1), r.Const(0)))
})

// Cautious has parameters take a step, -d, with another factor where it has not the sign of
// the gradient, and another decay where the parameter has the other one.
var Cautious = All.Define("Cautious", `
	u = -d
	p ← p - (u·(0 < u·(g·scale) ? trust : distrust) + p·(u·p < 0 ? growth : decay))`, func(r *rule.Rule) {
	p, g, d := r.Buffer("p"), r.Buffer("g"), r.Buffer("d")
	x, u := g.Mul(r.Scalar("scale")), d.Neg()
	trust, distrust := r.Scalar("trust"), r.Scalar("distrust")
	decay, growth := r.Scalar("decay"), r.Scalar("growth")

	takes := r.Const(0).Less(signTimes(r, x, u)).Select(trust, distrust)
	decays := signTimes(r, p, u).Less(r.Const(0)).Select(growth, decay)
	p.Set(p.Sub(u.Mul(takes).Add(p.Mul(decays))))
})
