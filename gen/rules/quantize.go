package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Quantize and QuantizeBF16 make words of the float32 of a block, Dequantize and
// DequantizeBF16 float32 of these. A block comes in four parts, so that an element has its
// place in a word and no lane another's.
var (
	Quantize = All.Define("Quantize", `
	u = threefry(index + base, high), 16 bits of it for each element
	y = |x|·up·inverse, from low to 1
	c = the bits of y + 16·u, without the last 20, less bias, and x's sign, or 0 unless |x|·up·inverse > u·least
	q ← c of e0 to e3, in its bytes from the lowest on`, func(r *rule.Rule) {
		q, x, index := r.Buffer("q"), quarters(r), r.Buffer("index")
		up, inverse, low, least := r.Scalar("up"), r.Scalar("inverse"), r.Scalar("low"), r.Scalar("least")
		bias, signs := r.Scalar("bias"), r.Scalar("signs")
		draws := quarterDraws(r, index)

		var word rule.Value
		for k, x := range x {
			part := x.Abs().Mul(up).Mul(inverse)
			y := part.Min(r.Const(1)).Max(low)
			code := y.AddInt(draws[k].ShiftLeft(4)).ShiftRight(20).SubInt(bias).Or(x.And(signs).ShiftRight(24))
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
		scale, bias, signs := r.Scalar("scale"), r.Scalar("bias"), r.Scalar("signs")
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
			y := c.AddInt(bias).ShiftLeft(20).Mul(scale)
			y = r.Const(0).Less(c.FromInt()).Select(y, r.Const(0))
			x.Set(y.Or(top.And(signs)))
		}
	})

	QuantizeBF16 = All.Define("QuantizeBF16", `
	u = threefry(index + base, high), 16 bits of it for each element
	q0 ← e0 and e1, q1 ← e2 and e3: of each the upper half of its bits + u, that of the first the lower half`, func(r *rule.Rule) {
		q0, q1, x, index := r.Buffer("q0"), r.Buffer("q1"), quarters(r), r.Buffer("index")
		draws := quarterDraws(r, index)

		var halves [4]rule.Value
		for k, x := range x {
			rounded := x.Abs().LessEqual(r.Bits(0x7f7f0000)).Select(x.AddInt(draws[k]), x)
			halves[k] = x.Equal(x).Select(rounded, x.Or(r.Bits(1<<22)))
		}
		upper := r.Bits(0xffff0000)
		q0.Set(halves[0].ShiftRight(16).Or(halves[1].And(upper)))
		q1.Set(halves[2].ShiftRight(16).Or(halves[3].And(upper)))
	})

	DequantizeBF16 = All.Define("DequantizeBF16", `
	e0 ← the lower half of q0, e1 ← the upper one, e2 and e3 ← those of q1`, func(r *rule.Rule) {
		q0, q1, x := r.Buffer("q0"), r.Buffer("q1"), quarters(r)
		upper := r.Bits(0xffff0000)
		x[0].Set(q0.ShiftLeft(16))
		x[1].Set(q0.And(upper))
		x[2].Set(q1.ShiftLeft(16))
		x[3].Set(q1.And(upper))
	})
)

// quarters are the parts of a block.
func quarters(r *rule.Rule) [4]rule.Value {
	return [4]rule.Value{r.Buffer("e0"), r.Buffer("e1"), r.Buffer("e2"), r.Buffer("e3")}
}

// quarterDraws are 16 random bits of each element of a place.
func quarterDraws(r *rule.Rule, index rule.Value) [4]rule.Value {
	base, high, key1, key2 := r.Scalar("base"), r.Scalar("high"), r.Scalar("key1"), r.Scalar("key2")
	a, b := threefry(r, index.AddInt(base), high, key1, key2)
	lower := r.Bits(1<<16 - 1)
	return [4]rule.Value{a.ShiftRight(16), a.And(lower), b.ShiftRight(16), b.And(lower)}
}
