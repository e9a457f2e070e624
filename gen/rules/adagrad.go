package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// AdaGrad divides by the root of the sum of squared gradients.
//
//	x = g·scale
//	a ← a + x²
//	p ← p·decay - x·step / (√(a + epsIn) + eps)
var AdaGrad = All.Define("AdaGrad", func(r *rule.Rule) {
	p, g, a := r.Buffer("p"), r.Buffer("g"), r.Buffer("a")
	scale, epsIn, eps := r.Scalar("scale"), r.Scalar("epsIn"), r.Scalar("eps")
	decay, step := r.Scalar("decay"), r.Scalar("step")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")

	x := g.Flush(counts).Mul(scale).Flush(counts)
	a1 := a.Add(x.Mul(x))
	a.Set(a1)
	den := a1.Add(epsIn).Sqrt().Add(eps)
	p.Set(p.Flush(lasts).Mul(decay).Sub(x.Mul(step).Div(den)))
})

// AdaGradProx is AdaGrad with a proximal step for L1 and L2, whose strength
// follows each element's own step size.
//
//	rate = step / (√(a + epsIn) + eps)
//	p ← soft(p·decay - x·rate, rate·l1) / (1 + rate·l2)
var AdaGradProx = All.Define("AdaGradProx", func(r *rule.Rule) {
	p, g, a := r.Buffer("p"), r.Buffer("g"), r.Buffer("a")
	scale, epsIn, eps := r.Scalar("scale"), r.Scalar("epsIn"), r.Scalar("eps")
	decay, step := r.Scalar("decay"), r.Scalar("step")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")
	l1, l2 := r.Scalar("l1"), r.Scalar("l2")

	x := g.Flush(counts).Mul(scale).Flush(counts)
	a1 := a.Add(x.Mul(x))
	a.Set(a1)
	rate := step.Div(a1.Add(epsIn).Sqrt().Add(eps))
	p.Set(prox(r, p.Flush(lasts).Mul(decay).Sub(x.Mul(rate)), rate, l1, l2))
})

// prox is the proximal operator of rate·(l1|u| + ½l2·u²).
func prox(r *rule.Rule, u, rate, l1, l2 rule.Value) rule.Value {
	return soft(u, rate.Mul(l1)).Div(rate.Mul(l2).Add(r.Const(1)))
}
