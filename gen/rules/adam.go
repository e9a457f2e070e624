package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Adam is Adam, and AdamW where decay is not 1.
//
//	x = g·scale
//	m ← m + (x - m)·alpha1
//	v ← v·beta2 + x·alpha2·x
//	p ← p·decay - m·step / (√v + eps)
//
// Here and in the other rules a gradient is 0 unless it has a bit in common with
// counts, a parameter that decays with lasts, state with keep.
var Adam = All.Define("Adam", func(r *rule.Rule) {
	p, g, m, v := r.Buffer("p"), r.Buffer("g"), r.Buffer("m"), r.Buffer("v")
	scale := r.Scalar("scale")
	alpha1, beta2, alpha2 := r.Scalar("alpha1"), r.Scalar("beta2"), r.Scalar("alpha2")
	eps, decay, step, keep := r.Scalar("eps"), r.Scalar("decay"), r.Scalar("step"), r.Scalar("keep")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")

	m1, v1 := moments(g.Flush(counts).Mul(scale).Flush(counts), m, v, alpha1, beta2, alpha2, keep)
	m.Set(m1)
	v.Set(v1)
	p.Set(p.Flush(lasts).Mul(decay).Sub(m1.Mul(step).Div(v1.Sqrt().Add(eps))))
})

// AdamProx is Adam with a term inside the root and a proximal step for L1 and
// L2, whose strength follows each element's own step size.
//
//	rate = step / (√(v·unbias + epsIn) + eps)
//	p ← soft(p·decay - m·rate, rate·l1) / (1 + rate·l2)
var AdamProx = All.Define("AdamProx", func(r *rule.Rule) {
	p, g, m, v := r.Buffer("p"), r.Buffer("g"), r.Buffer("m"), r.Buffer("v")
	adamProx(r, p, g, m, v, func(v1, _ rule.Value) rule.Value { return v1 })
})

// AMSGrad is AdamProx that divides by the largest v so far.
//
//	h ← max(h, v)
//	rate = step / (√(h·unbias + epsIn) + eps)
var AMSGrad = All.Define("AMSGrad", func(r *rule.Rule) {
	p, g, m, v, h := r.Buffer("p"), r.Buffer("g"), r.Buffer("m"), r.Buffer("v"), r.Buffer("h")
	adamProx(r, p, g, m, v, func(v1, keep rule.Value) rule.Value {
		h1 := h.Max(v1).Flush(keep)
		h.Set(h1)
		return h1
	})
})

func adamProx(r *rule.Rule, p, g, m, v rule.Value, second func(v1, keep rule.Value) rule.Value) {
	scale := r.Scalar("scale")
	alpha1, beta2, alpha2 := r.Scalar("alpha1"), r.Scalar("beta2"), r.Scalar("alpha2")
	unbias, epsIn, eps := r.Scalar("unbias"), r.Scalar("epsIn"), r.Scalar("eps")
	decay, step, keep := r.Scalar("decay"), r.Scalar("step"), r.Scalar("keep")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")
	l1, l2 := r.Scalar("l1"), r.Scalar("l2")

	m1, v1 := moments(g.Flush(counts).Mul(scale).Flush(counts), m, v, alpha1, beta2, alpha2, keep)
	m.Set(m1)
	v.Set(v1)
	rate := step.Div(second(v1, keep).Mul(unbias).Add(epsIn).Sqrt().Add(eps))
	p.Set(prox(r, p.Flush(lasts).Mul(decay).Sub(m1.Mul(rate)), rate, l1, l2))
}

// moments are the running means of the gradient and of its square.
func moments(x, m, v, alpha1, beta2, alpha2, keep rule.Value) (m1, v1 rule.Value) {
	m1 = m.Add(x.Sub(m).Mul(alpha1)).Flush(keep)
	v1 = v.Mul(beta2).Add(x.Mul(alpha2).Mul(x)).Flush(keep)
	return m1, v1
}
