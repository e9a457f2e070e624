package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// SGD is gradient descent.
//
//	p ← p·decay - g·step
var SGD = All.Define("SGD", func(r *rule.Rule) {
	p, g := r.Buffer("p"), r.Buffer("g")
	decay, step := r.Scalar("decay"), r.Scalar("step")
	lasts, counts := r.Scalar("lasts"), r.Scalar("counts")

	p.Set(p.Flush(lasts).Mul(decay).Sub(g.Flush(counts).Mul(step)))
})
