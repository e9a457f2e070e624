package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Sum adds the elements.
var Sum = All.Define("Sum", `
	sum += x`, func(r *rule.Rule) {
	r.Sum("sum", r.Buffer("x"))
})

// SumAbs adds the magnitudes.
var SumAbs = All.Define("SumAbs", `
	sum += |x|`, func(r *rule.Rule) {
	r.Sum("sum", r.Buffer("x").Abs())
})

// SumSquares adds the squares, which float64 holds exactly.
var SumSquares = All.Define("SumSquares", `
	sum += x²`, func(r *rule.Rule) {
	x := r.Buffer("x")
	r.Dot("sum", x, x)
})

// MaxAbs keeps the largest magnitude, NaN apart.
var MaxAbs = All.Define("MaxAbs", `
	max ← max(|x|, max)`, func(r *rule.Rule) {
	r.MaxAbs("max", r.Buffer("x"))
})

// RowMost is MaxAbs of each row.
var RowMost = All.Define("RowMost", `
	most ← max |x|, row by row`, func(r *rule.Rule) {
	most, x := r.PerRow("most"), r.Matrix("x")
	r.Buffer("w")

	most.SetFoldMost(x.Abs())
})

// CountBeyond counts magnitudes above a limit, and NaN.
var CountBeyond = All.Define("CountBeyond", `
	count += 1 unless |x| ≤ limit`, func(r *rule.Rule) {
	x, limit := r.Buffer("x"), r.Scalar("limit")
	within := x.Abs().LessEqual(limit)
	r.Sum("count", within.Select(r.Const(0), r.Const(1)))
})
