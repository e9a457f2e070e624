package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Add2 is the sum of two gradients, each with a factor, in one pass over both.
var Add2 = All.Define("Add2", `
	x ← g1·scale1 + g2·scale2`, func(r *rule.Rule) {
	x, g1, g2 := r.Buffer("x"), r.Buffer("g1"), r.Buffer("g2")
	scale1, scale2 := r.Scalar("scale1"), r.Scalar("scale2")

	x.Set(g1.Mul(scale1).Add(g2.Mul(scale2)))
})

// Add3 is that of three.
var Add3 = All.Define("Add3", `
	x ← (g1·scale1 + g2·scale2) + g3·scale3`, func(r *rule.Rule) {
	x, g1, g2, g3 := r.Buffer("x"), r.Buffer("g1"), r.Buffer("g2"), r.Buffer("g3")
	scale1, scale2, scale3 := r.Scalar("scale1"), r.Scalar("scale2"), r.Scalar("scale3")

	x.Set(g1.Mul(scale1).Add(g2.Mul(scale2)).Add(g3.Mul(scale3)))
})

// Add4 is that of four.
var Add4 = All.Define("Add4", `
	x ← ((g1·scale1 + g2·scale2) + g3·scale3) + g4·scale4`, func(r *rule.Rule) {
	x, g1, g2, g3, g4 := r.Buffer("x"), r.Buffer("g1"), r.Buffer("g2"), r.Buffer("g3"), r.Buffer("g4")
	scale1, scale2, scale3, scale4 := r.Scalar("scale1"), r.Scalar("scale2"), r.Scalar("scale3"), r.Scalar("scale4")

	x.Set(g1.Mul(scale1).Add(g2.Mul(scale2)).Add(g3.Mul(scale3)).Add(g4.Mul(scale4)))
})

// Accumulate adds a gradient to others.
var Accumulate = All.Define("Accumulate", `
	x ← x + g·scale`, func(r *rule.Rule) {
	x, g := r.Buffer("x"), r.Buffer("g")

	x.Set(x.Add(g.Mul(r.Scalar("scale"))))
})

// Center takes a mean off a gradient.
var Center = All.Define("Center", `
	x ← g - mean`, func(r *rule.Rule) {
	x, g := r.Buffer("x"), r.Buffer("g")

	x.Set(g.Sub(r.Scalar("mean")))
})

// Average moves a running mean towards the parameters.
var Average = All.Define("Average", `
	a ← a + (p - a)·weight`, func(r *rule.Rule) {
	a, p := r.Buffer("a"), r.Buffer("p")

	a.Set(a.Add(p.Sub(a).Mul(r.Scalar("weight"))))
})
