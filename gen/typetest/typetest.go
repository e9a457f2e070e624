// Package typetest has kernels of what no rule has all of, for each instruction set, and the
// tests that they are right: elements of several types, and products that are fused with sums
// in every place.
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

// Products fuses products with sums of operands that are read again or not, in each place, of
// constants, and of one number twice. The results meet as bits, so that each counts.
var Products = All.Define("Products", `
	to ← bits of x·y + z, z - x·y and others, joined`, func(r *rule.Rule) {
	to, x, y, z := r.Buffer("to"), r.Buffer("x"), r.Buffer("y"), r.Buffer("z")
	half, c := r.Const(.5), r.Const(0x1.6p-1)
	n := float32(0)
	once := func(v rule.Value) rule.Value { n++; return v.Add(r.Const(n)) } // read by one operation alone
	twice := once(x)
	list := []rule.Value{
		twice.FMA(y, z), twice.FNMA(z, y),
		x.FMA(y, z), x.FNMA(y, z), once(x).FMA(y, z), x.FMA(once(y), z), x.FMA(y, once(z)), once(y).FNMA(x, z), x.FNMA(once(z), y),
		y.FNMA(x, once(z)), once(x).FMA(half, c), c.FMA(once(y), half), half.FNMA(c, once(z)), x.FMA(x, x), once(y).FNMA(z, z),
		x.FMA(x, once(y)), z.FMA(c, y), once(x).FMA(once(y), once(z)), once(z).FNMA(once(x), once(y)),
	}
	sum, bits := x, y
	for k, v := range list {
		if k%2 == 0 {
			sum = v.FMA(half, sum) // a chain, each link of which is read once
		} else {
			bits = bits.Xor(v.ShiftLeft(uint32(k % 4)))
		}
	}
	to.Set(bits.Xor(sum))
})

// Operands fuses what is in memory and read once.
var Operands = All.Define("Operands", `
	to ← z - ((x+1)·y + ½)·¾`, func(r *rule.Rule) {
	to, x, y, z := r.Buffer("to"), r.Buffer("x"), r.Buffer("y"), r.Buffer("z")
	to.Set(x.Add(r.Const(1)).FMA(y, r.Const(.5)).FNMA(r.Const(.75), z))
})
