package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// The kernels of losses of rows. Each takes pieces of rows as a matrix, whose columns are as
// many as w has.
var (
	// RowMax is the largest element of each row.
	RowMax = All.Define("RowMax", `
	most ← max(x, -MaxFloat32), row by row`, func(r *rule.Rule) {
		most, x := r.PerRow("most"), r.Matrix("x")
		r.Buffer("w")

		most.SetFoldMax(x)
	})

	// RowExp is the exponentials of each row, below its largest element, and their sum.
	RowExp = All.Define("RowExp", `
	e ← e^(x - most), sum ← Σ e of it, row by row`, func(r *rule.Rule) {
		e, x, most, sum := r.Matrix("e"), r.Matrix("x"), r.PerRow("most"), r.PerRow("sum")
		r.Buffer("w")
		y := fading(r, x.Sub(most))

		e.Set(y)
		sum.SetFold(y)
	})

	// RowScale makes probabilities of a row's exponentials, and a gradient of them.
	RowScale = All.Define("RowScale", `
	g ← g·a - w·b, row by row`, func(r *rule.Rule) {
		g, a, b, w := r.Matrix("g"), r.PerRow("a"), r.PerRow("b"), r.Buffer("w")

		g.Set(g.Mul(a).Sub(w.Mul(b)))
	})

	// RowTargets is the weight of each row's targets and what they cost below its largest
	// element.
	RowTargets = All.Define("RowTargets", `
	u = w·(y·keep + spread)
	weight ← Σ u, cost ← Σ u·(most - x), row by row`, func(r *rule.Rule) {
		weight, cost, x, y := r.PerRow("weight"), r.PerRow("cost"), r.Matrix("x"), r.Matrix("y")
		most, w := r.PerRow("most"), r.Buffer("w")
		keep, spread := r.Scalar("keep"), r.Scalar("spread")
		u := w.Mul(rowWeighted(r, keep, y).Add(spread))

		weight.SetFold(u)
		cost.SetFold(rowWeighted(r, u, most.Sub(x)))
	})

	// RowTargetsScale is RowScale for targets.
	RowTargetsScale = All.Define("RowTargetsScale", `
	g ← g·a - w·(y·b + d), row by row`, func(r *rule.Rule) {
		g, y, a, b, d, w := r.Matrix("g"), r.Matrix("y"), r.PerRow("a"), r.PerRow("b"), r.PerRow("d"), r.Buffer("w")

		g.Set(g.Mul(a).Sub(w.Mul(y.Mul(b).Add(d))))
	})
)

// fading is e^x for x ≤ 0, where what would be subnormal fades to 0: the exponent of
// 2⁻¹²⁷ is that of 0.
func fading(r *rule.Rule, x rule.Value) rule.Value {
	shifted, high, k := quotient(r, r.Const(-88).Max(x), 127)
	low := r.Const(ln2Low)
	s := k.FNMA(low, series(r, k.FNMA(low, high)))
	return r.Const(1).Add(high.Add(s)).Mul(power(shifted))
}

// rowWeighted is a product that is 0 where the weight is.
func rowWeighted(r *rule.Rule, weight, x rule.Value) rule.Value {
	return weight.Equal(r.Const(0)).Select(weight, weight.Mul(x))
}
