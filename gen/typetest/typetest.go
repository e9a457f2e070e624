// Package typetest has a kernel whose buffers have elements of several types, for each
// instruction set, and the test that they are right.
package typetest

import "github.com/lockstep-go/lockstep/gen/rule"

// All is the rules of the package.
var All rule.Set

// Mixed takes a step along a BF16 and an F16 gradient and leaves a BF16 and an F16 copy of
// the parameters, with a sum over the first gradient.
var Mixed = All.Define("Mixed", `
	p ← p - (g·¾ + f), half ← p, rounded ← p, sum += g; g and half of BF16, f and rounded of F16`, func(r *rule.Rule) {
	p, g, half := r.Buffer("p"), r.BufferOf("g", rule.BF16), r.BufferOf("half", rule.BF16)
	f, rounded := r.BufferOf("f", rule.F16), r.BufferOf("rounded", rule.F16)
	p1 := p.Sub(g.Mul(r.Const(.75)).Add(f))
	p.Set(p1)
	half.Set(p1)
	rounded.Set(p1)
	r.Sum("sum", g)
})
