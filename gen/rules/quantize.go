package rules

import (
	"fmt"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// Quantize makes words of the float32 of a block, QuantizePair those of two blocks that share random
// numbers, Dequantize float32 of these, and QuantizeBF16 rounds the float32 of one. The block of words comes in four parts, so that an element has its
// place in a word and no lane another's.
var (
	Quantize = All.Define("Quantize", `
	u = the upper 24 bits of (h·factor + add)·part
	y = |x|·inverse + offset, rounded once, at least least
	c = the upper 8 bits of (the bits of y)·2⁴ + u, the first of them x's sign if there are signs, or 0 unless y ≤ 2
	q ← c of e0 to e3, in its bytes from the lowest on`, func(r *rule.Rule) {
		q, x, h := r.Buffer("q"), quarters(r, "e"), quarters(r, "h")
		inverse := [4]rule.Value{r.Scalar("inverse0"), r.Scalar("inverse1"), r.Scalar("inverse2"), r.Scalar("inverse3")}
		offset, least, signs := r.Scalar("offset"), r.Scalar("least"), r.Scalar("signs")
		random, part := randoms(r), r.Scalar("part")
		magnitudes := signs.Xor(r.Bits(1<<32 - 1))

		var word rule.Value
		for k, x := range x {
			y := x.Abs().FMA(inverse[k], offset)
			code := coded(y.Max(least), random(h[k]).MulInt(part).ShiftRight(8)).And(signOf(r, x, y, magnitudes))
			if k == 0 {
				word = code // what is below it is shifted out
			} else {
				word = word.ShiftRight(8).Or(code.And(r.Bits(topByte)))
			}
		}
		q.Set(word)
	})

	QuantizePair = All.Define("QuantizePair", `
	r = h·factor + add
	a, b = the code of m·mi as Quantize makes it, signed, with a part of 1; of v·vi, a square's, with 2⁸
	mq ← mq / 2⁸ + a·2²⁴, one row after the other
	vq ← vq / 2⁸ + b·2²⁴, one row after the other`, func(r *rule.Rule) {
		mq, vq := r.Buffer("mq"), r.Buffer("vq")
		m, v, h := r.Matrix("m"), r.Matrix("v"), r.Matrix("h")
		mi, vi := r.PerRow("mi"), r.PerRow("vi")
		random := randoms(r)(h)
		signedLeast, squareLeast := r.Const(signedLeast), r.Const(squareLeast)

		y := m.Abs().FMA(mi, signedLeast)
		code := coded(y, random.ShiftRight(8)).And(signOf(r, m, y, r.Bits(signBit-1)))
		mq.Set(mq.ShiftRight(8).Or(code.And(r.Bits(topByte))))

		code = coded(v.Mul(vi).Max(squareLeast), random.And(r.Bits(1<<24-1)))
		vq.Set(vq.ShiftRight(8).Or(code.And(r.Bits(topByte))))
	})

	Dequantize = All.Define("Dequantize", `
	c = the byte of q without its sign, from the lowest on
	e0 to e3 ← ±((the number with the bits least + c·2²⁰) - offset)·unit`, func(r *rule.Rule) {
		q, x := r.Buffer("q"), quarters(r, "e")
		unit := [4]rule.Value{r.Scalar("unit0"), r.Scalar("unit1"), r.Scalar("unit2"), r.Scalar("unit3")}
		offset, least, signs := r.Scalar("offset"), r.Scalar("least"), r.Scalar("signs")
		codes := signs.Xor(r.Bits(topByte)).ShiftRight(4)
		for k, x := range x {
			top := q
			if below := uint32(24 - 8*k); below > 0 {
				top = q.ShiftLeft(below)
			}
			y := top.ShiftRight(4).And(codes).Or(least)
			x.Set(y.Sub(offset).Mul(unit[k]).Or(top.And(signs)))
		}
	})

	QuantizeBF16 = All.Define("QuantizeBF16", `
	u = the upper half of (h·factor + add)·part
	q ← the upper half of the bits of x + u`, func(r *rule.Rule) {
		q, x, h := r.BufferOf("q", rule.BF16), r.Buffer("x"), r.Buffer("h")
		draw := randoms(r)(h).MulInt(r.Scalar("part")).ShiftRight(16)
		q.SetUpper(x.Equal(x).Select(drawn(r, x, draw), x.Or(r.Bits(1<<22))))
	})
)

// drawn is x and a number of 16 bits, of which the upper half is x as a BF16 rounded at random, up
// to the largest one. It must be no NaN that is not quiet, which no arithmetic leaves.
func drawn(r *rule.Rule, x, draw rule.Value) rule.Value {
	return x.Abs().LessEqual(r.Bits(0x7f7f0000)).Select(x.AddInt(draw), x)
}

// quarters are the parts of a block.
func quarters(r *rule.Rule, name string) (list [4]rule.Value) {
	for k := range list {
		list[k] = r.Buffer(fmt.Sprint(name, k))
	}
	return list
}

// randoms makes a random number of each that a place has.
func randoms(r *rule.Rule) func(h rule.Value) rule.Value {
	factor, add := r.Scalar("factor"), r.Scalar("add")
	return func(h rule.Value) rule.Value { return h.MulInt(factor).AddInt(add) }
}

// The numbers of package fallback.
const (
	signedLeast = 0x1p-15
	squareLeast = 0x1p-31

	signBit = 1 << 31
	topByte = 255 << 24
)

// coded has the code of a size in its highest bits, the sign apart.
func coded(size, draw rule.Value) rule.Value { return size.ShiftLeft(4).AddInt(draw) }

// signOf has all of a code's bits, but one that is not of magnitudes as x has it: there a code has a 1, of
// an exponent. Where the size is NaN it has none.
func signOf(r *rule.Rule, x, y, magnitudes rule.Value) rule.Value {
	return y.LessEqual(r.Const(2)).Select(x.Or(magnitudes), r.Bits(0))
}

// signedNumber is what the code in the highest byte of top stands for, that of a number with a sign.
func signedNumber(r *rule.Rule, top, unit rule.Value) rule.Value {
	y := top.ShiftRight(4).And(r.Bits(127 << 20)).Or(r.Const(signedLeast))
	return y.Sub(r.Const(signedLeast)).Mul(unit).Or(top.And(r.Bits(signBit)))
}

// squareNumber is signedNumber of a code without a sign.
func squareNumber(r *rule.Rule, top, unit rule.Value) rule.Value {
	return top.ShiftRight(4).And(r.Bits(255 << 20)).Or(r.Const(squareLeast)).Mul(unit)
}
