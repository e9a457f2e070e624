package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Momentum is gradient descent with a heavy ball.
//
//	m ← m·beta + g·input
//	p ← p·decay - m·step
var Momentum = All.Define("Momentum", func(r *rule.Rule) {
	p, g, m := r.Buffer("p"), r.Buffer("g"), r.Buffer("m")
	beta, input := r.Scalar("beta"), r.Scalar("input")
	decay, step, keep := r.Scalar("decay"), r.Scalar("step"), r.Scalar("keep")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")

	m1 := m.Mul(beta).Add(g.Flush(counts).Mul(input)).Flush(keep)
	m.Set(m1)
	p.Set(p.Flush(lasts).Mul(decay).Sub(m1.Mul(step)))
})

// Nesterov is Momentum that looks ahead.
//
//	m ← m·beta + g·input
//	p ← p·decay - (g·direct + m·step)
var Nesterov = All.Define("Nesterov", func(r *rule.Rule) {
	p, g, m := r.Buffer("p"), r.Buffer("g"), r.Buffer("m")
	beta, input := r.Scalar("beta"), r.Scalar("input")
	decay, direct, step, keep := r.Scalar("decay"), r.Scalar("direct"), r.Scalar("step"), r.Scalar("keep")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")

	x := g.Flush(counts)
	m1 := m.Mul(beta).Add(x.Mul(input)).Flush(keep)
	m.Set(m1)
	p.Set(p.Flush(lasts).Mul(decay).Sub(x.Mul(direct).Add(m1.Mul(step))))
})
