package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Sum adds the elements.
var Sum = All.Define("Sum", func(r *rule.Rule) {
	r.Sum("sum", r.Buffer("x"))
})

// SumAbs adds the magnitudes.
var SumAbs = All.Define("SumAbs", func(r *rule.Rule) {
	r.Sum("sum", r.Buffer("x").Abs())
})

// SumSquares adds the squares, which float64 holds exactly.
var SumSquares = All.Define("SumSquares", func(r *rule.Rule) {
	x := r.Buffer("x")
	r.Dot("sum", x, x)
})

// MaxAbs keeps the largest magnitude, NaN apart.
var MaxAbs = All.Define("MaxAbs", func(r *rule.Rule) {
	r.MaxAbs("max", r.Buffer("x"))
})

// CountNonFinite counts infinities and NaN.
var CountNonFinite = All.Define("CountNonFinite", func(r *rule.Rule) {
	x := r.Buffer("x")
	finite := x.Abs().LessEqual(r.Const(0x1.fffffep127))
	r.Sum("count", finite.Select(r.Const(0), r.Const(1)))
})
