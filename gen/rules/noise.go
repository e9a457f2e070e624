package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Noise adds normal noise that follows from the number of the element.
var Noise = All.Define("Noise", `
	u, v = threefry(index + base, high)
	x ← x + √(-2·log u)·cos(π·v)·std`, func(r *rule.Rule) {
	x, index := r.Buffer("x"), r.Buffer("index")
	std, base, high := r.Scalar("std"), r.Scalar("base"), r.Scalar("high")
	key1, key2 := r.Scalar("key1"), r.Scalar("key2")

	a, b := threefry(r, index.AddInt(base), high, key1, key2)
	u := a.ShiftRight(8).FromInt().Add(r.Const(1)).Mul(r.Const(0x1p-24))
	length := log(r, u).Mul(r.Const(-2)).Sqrt()
	part := r.Const(.5).Sub(b.ShiftArith(8).FromInt().Mul(r.Const(0x1p-23)).Abs())
	x.Set(x.Add(length.Mul(sinPi(r, part)).Mul(std)))
})

// threefry is Threefry-2x32 of 20 rounds.
func threefry(r *rule.Rule, a, b, key1, key2 rule.Value) (x, y rule.Value) {
	keys := []rule.Value{key1, key2, key1.Xor(key2).Xor(r.Bits(0x1bd11bda))}
	a, b = a.AddInt(keys[0]), b.AddInt(keys[1])
	for k := range 5 {
		for _, by := range [][]uint32{{13, 15, 26, 6}, {17, 29, 16, 24}}[k%2] {
			a = a.AddInt(b)
			b = b.ShiftLeft(by).Or(b.ShiftRight(32 - by)).Xor(a)
		}
		a, b = a.AddInt(keys[(k+1)%3]), b.AddInt(keys[(k+2)%3].AddInt(r.Bits(uint32(k+1))))
	}
	return a, b
}

// sinPi is sin(π·x) for x in [-½, ½].
func sinPi(r *rule.Rule, x rule.Value) rule.Value {
	return polynomial(r, x.Mul(x), 0x1.3daff6p-4, -0x1.324ccap-1, 0x1.4668bp+1, -0x1.4abbc2p+2, 0x1.921fb6p+1).Mul(x)
}
