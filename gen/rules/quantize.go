package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Quantize makes words of the float32 of a block, Dequantize float32 of these, and QuantizeBF16
// rounds the float32 of one. A block comes in four or two parts, so that an element has its
// place in a word and no lane another's.
var (
	Quantize = All.Define("Quantize", `
	h, h' = hash(index + base, key), of which each element has 20 bits, u
	y = |x|·inverse, from low to 1
	c = the bits of y + u, without the last 20, less bias, and x's sign, or 0 unless |x|·inverse > u·least
	q ← c of e0 to e3, in its bytes from the lowest on`, func(r *rule.Rule) {
		q, x, index := r.Buffer("q"), quarters(r), r.Buffer("index")
		inverse := [4]rule.Value{r.Scalar("inverse0"), r.Scalar("inverse1"), r.Scalar("inverse2"), r.Scalar("inverse3")}
		low, least := r.Scalar("low"), r.Scalar("least")
		bias, signs := r.Scalar("bias"), r.Scalar("signs")
		lower := r.Bits(1<<20 - 1)
		a := half(r, index)
		a, b := first(r, a), second(r, a)
		draws := [4]rule.Value{a.ShiftRight(12), a.And(lower), b.ShiftRight(12), b.And(lower)}

		var word rule.Value
		for k, x := range x {
			part := x.Abs().Mul(inverse[k])
			y := part.Min(r.Const(1)).Max(low)
			code := y.AddInt(draws[k]).ShiftRight(20).SubInt(bias).Or(x.And(signs).ShiftRight(24))
			code = draws[k].FromInt().Mul(least).Less(part).Select(code, r.Bits(0))
			if k == 0 {
				word = code
			} else {
				word = word.Or(code.ShiftLeft(uint32(8 * k)))
			}
		}
		q.Set(word)
	})

	Dequantize = All.Define("Dequantize", `
	c = the byte of q without its sign, from the lowest on
	e0 to e3 ← ±(the number with the bits (c + bias)·2²⁰)·scale, 0 if c is`, func(r *rule.Rule) {
		q, x := r.Buffer("q"), quarters(r)
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
			y := c.AddInt(bias).ShiftLeft(20).Mul(scale[k])
			y = r.Const(0).Less(c.FromInt()).Select(y, r.Const(0))
			x.Set(y.Or(top.And(signs)))
		}
	})

	QuantizeBF16 = All.Define("QuantizeBF16", `
	h = hash(index + base, key), of which each element has 16 bits, u
	h0 and h1 ← the upper halves of the bits of e0 + u and e1 + u`, func(r *rule.Rule) {
		h := [2]rule.Value{r.BufferOf("h0", rule.BF16), r.BufferOf("h1", rule.BF16)}
		x, index := [2]rule.Value{r.Buffer("e0"), r.Buffer("e1")}, r.Buffer("index")
		a := first(r, half(r, index))
		draws := [2]rule.Value{a.ShiftRight(16), a.And(r.Bits(1<<16 - 1))}
		for k, x := range x {
			rounded := x.Abs().LessEqual(r.Bits(0x7f7f0000)).Select(x.AddInt(draws[k]), x)
			h[k].SetUpper(x.Equal(x).Select(rounded, x.Or(r.Bits(1<<22))))
		}
	})
)

// quarters are the parts of a block.
func quarters(r *rule.Rule) [4]rule.Value {
	return [4]rule.Value{r.Buffer("e0"), r.Buffer("e1"), r.Buffer("e2"), r.Buffer("e3")}
}

// half mixes the number of a place and the key half, of which first makes random bits, and
// second others.
func half(r *rule.Rule, index rule.Value) rule.Value {
	base, key := r.Scalar("base"), r.Scalar("key")
	x := index.AddInt(base)
	x = x.Xor(x.ShiftRight(16)).MulInt(r.Bits(0x85ebca6b)).Xor(key)
	return x.Xor(x.ShiftRight(13))
}

func first(r *rule.Rule, x rule.Value) rule.Value  { return last(x.MulInt(r.Bits(0xc2b2ae35))) }
func second(r *rule.Rule, x rule.Value) rule.Value { return last(x.MulInt(r.Bits(0x9e3779b1))) }
func last(x rule.Value) rule.Value                 { return x.Xor(x.ShiftRight(16)) }
