package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Dots multiplies a matrix by a vector: z = x·w.
var Dots = All.Define("Dots", `
	z ← x·w, row by row`, func(r *rule.Rule) {
	z, x, w := r.PerRow("z"), r.Matrix("x"), r.Buffer("w")

	z.SetFold(x.Mul(w))
})

// RankOne adds the rows of a matrix, each times its number: g += xᵀ·c, row by row.
var RankOne = All.Define("RankOne", `
	g ← g + xᵀ·z, row by row`, func(r *rule.Rule) {
	g, x, z := r.Buffer("g"), r.Matrix("x"), r.PerRow("z")

	g.Set(g.Add(x.Mul(z)))
})
