package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Fade makes small elements zeros where the gradient is taken for 0.
var Fade = All.Define("Fade", `
	x ← drop(x, small) if drop(g·scale, drop) is 0`, func(r *rule.Rule) {
	x, g := r.Buffer("x"), r.Buffer("g")
	scale, drop, small := r.Scalar("scale"), r.Scalar("drop"), r.Scalar("small")

	r.Usually(scale, rule.IsBits, 1) // a product with 1 is slow too where numbers are subnormal
	still := r.Drop(g.Mul(scale), drop).Equal(r.Const(0))
	x.Set(still.Select(r.Drop(x, small), x))
})

// Flush makes small elements zeros.
var Flush = All.Define("Flush", `
	x ← drop(x, small)`, func(r *rule.Rule) {
	x, small := r.Buffer("x"), r.Scalar("small")

	x.Set(r.Drop(x, small))
})
