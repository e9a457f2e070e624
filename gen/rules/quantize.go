package rules

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// Quantize makes words of the float32 of a block, QuantizePair those of two blocks that share random
// numbers, Dequantize float32 of these, and QuantizeBF16 rounds the float32 of one. The block of words comes in four parts, so that an element has its
// place in a word and no lane another's.
var (
	Quantize = All.Define("Quantize", `
	u = the upper 20 bits of (h·factor + add)·part
	y = |x|·inverse, from low to 1
	c = the bits of y + u, without the last 20, less bias, and x's sign, or 0 unless |x|·inverse > u·least
	q ← c of e0 to e3, in its bytes from the lowest on`, func(r *rule.Rule) {
		q, x, h := r.Buffer("q"), quarters(r, "e"), quarters(r, "h")
		inverse := [4]rule.Value{r.Scalar("inverse0"), r.Scalar("inverse1"), r.Scalar("inverse2"), r.Scalar("inverse3")}
		low, least := r.Scalar("low"), r.Scalar("least")
		bias, signs := r.Scalar("bias"), r.Scalar("signs")
		random, part := randoms(r), r.Scalar("part")

		var word rule.Value
		for k, x := range x {
			draw, size := random(h[k]).MulInt(part).ShiftRight(12), x.Abs().Mul(inverse[k])
			y := size.Min(r.Const(1)).Max(low)
			code := y.AddInt(draw).ShiftRight(20).SubInt(bias).Or(x.And(signs).ShiftRight(24))
			code = draw.FromInt().Mul(least).Less(size).Select(code, r.Bits(0))
			if k == 0 {
				word = code
			} else {
				word = word.Or(code.ShiftLeft(uint32(8 * k)))
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

		draw, size := random.ShiftRight(12), m.Abs().Mul(mi)
		code := coded(r, size, draw, signedBias).Or(m.And(r.Bits(signBit)))
		low := r.Const(math.Float32frombits((signedBias+1)<<20) * 0x1p-20)
		code = draw.FromInt().Mul(low).Less(size).Select(code, r.Bits(0))
		mq.Set(mq.ShiftRight(8).Or(code.And(r.Bits(topByte))))

		draw, size = random.ShiftRight(4).And(r.Bits(1<<20-1)), v.Mul(vi)
		code = r.Const(0).Less(size).Select(coded(r, size, draw, squareBias), r.Bits(0))
		vq.Set(vq.ShiftRight(8).Or(code.And(r.Bits(topByte))))
	})

	Dequantize = All.Define("Dequantize", `
	c = the byte of q without its sign, from the lowest on
	e0 to e3 ← ±(the number with the bits (c + bias)·2²⁰)·scale, 0 if c is`, func(r *rule.Rule) {
		q, x := r.Buffer("q"), quarters(r, "e")
		scale := [4]rule.Value{r.Scalar("scale0"), r.Scalar("scale1"), r.Scalar("scale2"), r.Scalar("scale3")}
		bias, signs := r.Scalar("bias"), r.Scalar("signs")
		codes := r.Bits(255).Xor(signs.ShiftRight(24))
		for k, x := range x {
			byte, top := q, q
			if k > 0 {
				byte = q.ShiftRight(uint32(8 * k))
			}
			if k < 3 {
				top = q.ShiftLeft(uint32(24 - 8*k))
			}
			c := byte.And(codes)
			y := c.AddInt(bias).ShiftLeft(20).Or(top.And(signs)).Mul(scale[k])
			x.Set(r.Const(0).Less(c.FromInt()).Select(y, r.Const(0)))
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

// What is added to a code: the largest, of 7 bits beside a sign or of 8 bits, stands for 1.
const (
	signedBias = 127<<3 - 127
	squareBias = 127<<3 - 255

	signBit = 1 << 31
	topByte = 255 << 24
)

// coded is the code of a size in the highest bits, those of a sign apart, above bits that are none.
func coded(r *rule.Rule, size, draw rule.Value, bias uint32) rule.Value {
	y := size.Min(r.Const(1)).Max(r.Bits((bias + 1) << 20))
	return y.AddInt(draw).SubInt(r.Bits(bias << 20)).ShiftLeft(4)
}

// signedNumber is what the code in the highest byte of top stands for, that of a number with a sign.
func signedNumber(r *rule.Rule, top, scale rule.Value) rule.Value {
	y := top.ShiftArith(4).And(r.Bits(signBit | 127<<20)).AddInt(r.Bits(signedBias << 20))
	return r.Bits(signedBias<<20).Less(y.Abs()).Select(y.Mul(scale), r.Const(0))
}

// squareNumber is signedNumber of a code without a sign.
func squareNumber(r *rule.Rule, top, scale rule.Value) rule.Value {
	y := top.ShiftRight(4).And(r.Bits(255 << 20)).AddInt(r.Bits(squareBias << 20))
	return r.Bits(squareBias<<20).Less(y).Select(y.Mul(scale), r.Const(0))
}
