package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Adafactor divides by the root of a mean of squares, whose decay rate goes to 1. A step is
// as long as its tensor's direction and parameters say, so that it takes two passes.
var (
	Adafactor = All.Step("Adafactor", `
	v ← v·beta2 + (drop(x·root2, small)² + added)
	u = x / max(√v, least)
	updates += u², params += p²`, func(s *rule.Step) {
		x, v := s.Gradient(), s.State("v")
		beta2, root2, small, added := s.Scalar("beta2"), s.Scalar("root2"), s.Scalar("small"), s.Scalar("added")
		v1 := v.Mul(beta2).Add(s.Square(x, root2, small).Add(added))
		u := x.Div(s.Scalar("least").Max(v1.Sqrt()))

		v.Set(v1)
		s.Dot("updates", u, u)
		s.Dot("params", s.Param(), s.Param())
	})

	AdafactorMove = All.Step("AdafactorMove", `
	u = x / max(√v, least)
	p ← p - (u·step + p·decay)`, func(s *rule.Step) {
		x, v := s.Gradient(), s.State("v")
		s.Move(adafactorStep(s, x, v))
	})

	AdafactorMomentum = All.Step("AdafactorMomentum", `
	u = x / max(√v, least)
	m ← lerp(m, u·step, weight1)
	p ← p - (m + p·decay)`, func(s *rule.Step) {
		x, m, v := s.Gradient(), s.State("m"), s.State("v")
		m1 := s.Lerp(m, adafactorStep(s, x, v), s.Scalar("weight1"))

		m.Set(m1)
		s.Move(m1)
	})
)

// adafactorStep is the step of a vector's element before its decay.
func adafactorStep(s *rule.Step, x, v rule.Value) rule.Value {
	least, step := s.Scalar("least"), s.Scalar("step")
	return x.Div(least.Max(v.Sqrt())).Mul(step)
}

// A matrix has factors of its rows and columns in place of v.
var (
	AdafactorSquares = All.Define("AdafactorSquares", `
	y = drop(g·scale·root, small)²
	row ← Σ y of it
	column ← column + y, one row after the other`, func(r *rule.Rule) {
		row, g, column := r.PerRow("row"), r.Matrix("g"), r.Buffer("column")
		scale, root, small := r.Scalar("scale"), r.Scalar("root"), r.Scalar("small")
		y := r.Square(g.Mul(scale), root, small)

		column.Set(column.Add(y))
		row.SetFold(y)
	})

	AdafactorFactored = All.Define("AdafactorFactored", `
	u = drop(g·scale, drop)·min(row·column, most)
	updates += u², params += p²`, func(r *rule.Rule) {
		p, u, _ := factored(r, false)

		r.Dot("updates", u, u)
		r.Dot("params", p, p)
	})

	AdafactorFactoredMove = All.Define("AdafactorFactoredMove", `
	u = drop(g·scale, drop)·min(row·column, most)
	p ← p - (u·step + p·decay)`, func(r *rule.Rule) {
		p, u, _ := factored(r, false)
		decay, step := r.Scalar("decay"), r.Scalar("step")

		p.Set(p.Sub(u.Mul(step).Add(p.Mul(decay))))
	})

	AdafactorFactoredMomentum = All.Define("AdafactorFactoredMomentum", `
	u = drop(g·scale, drop)·min(row·column, most)
	m ← lerp(m, u·step, weight1)
	p ← p - (m + p·decay)`, func(r *rule.Rule) {
		p, u, m := factored(r, true)
		decay, step := r.Scalar("decay"), r.Scalar("step")
		m1 := r.Lerp(m, u.Mul(step), r.Scalar("weight1"))

		m.Set(m1)
		p.Set(p.Sub(m1.Add(p.Mul(decay))))
	})
)

// factored declares a matrix with its gradient, its mean of steps if there is one, and the
// factors, and is the parameter, the direction and the mean.
func factored(r *rule.Rule, momentum bool) (p, u, m rule.Value) {
	p, g := r.Matrix("p"), r.Matrix("g")
	if momentum {
		m = r.Matrix("m")
	}
	row, column := r.PerRow("row"), r.Buffer("column")
	scale, drop, most := r.Scalar("scale"), r.Scalar("drop"), r.Scalar("most")
	return p, r.Drop(g.Mul(scale), drop).Mul(most.Min(row.Mul(column))), m
}
