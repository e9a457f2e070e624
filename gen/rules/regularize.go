package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Regularize adds the gradients of L2 and L1 penalties to a gradient.
var Regularize = All.Define("Regularize", `
	x ← g·scale + p·l2 + sign(p)·l1`, func(r *rule.Rule) {
	x, g, p := r.Buffer("x"), r.Buffer("g"), r.Buffer("p")
	scale, l2, l1 := r.Scalar("scale"), r.Scalar("l2"), r.Scalar("l1")

	x.Set(g.Mul(scale).Add(p.Mul(l2)).Add(signTimes(r, p, l1)))
})

// Clip scales a gradient in two parts and holds it within a limit; NaN stays NaN.
var Clip = All.Define("Clip", `
	x ← clamp(g·part·scale, ±limit)`, func(r *rule.Rule) {
	x, g := r.Buffer("x"), r.Buffer("g")
	part, scale, limit := r.Scalar("part"), r.Scalar("scale"), r.Scalar("limit")

	x.Set(limit.Neg().Max(limit.Min(g.Mul(part).Mul(scale))))
})

// Shrink is the proximal step of L1 and L2 with one step size for all.
var Shrink = All.Define("Shrink", `
	p ← soft(p, threshold)·shrink`, func(r *rule.Rule) {
	p := r.Buffer("p")
	threshold, shrink := r.Scalar("threshold"), r.Scalar("shrink")

	p.Set(soft(p, threshold).Mul(shrink))
})

// Penalty adds the gradient of l1·|p| + ½l2·p² to g and sums |p| and p².
var Penalty = All.Define("Penalty", `
	g ← g + p·l2 + sign(p)·l1
	absolute += |p|, squares += p²`, func(r *rule.Rule) {
	g, p := r.Buffer("g"), r.Buffer("p")
	l2, l1 := r.Scalar("l2"), r.Scalar("l1")

	g.Set(g.Add(p.Mul(l2)).Add(signTimes(r, p, l1)))
	r.Sum("absolute", p.Abs())
	r.Dot("squares", p, p)
})
