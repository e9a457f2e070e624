package fallback

import "math"

// QuantizeScalars are the numbers of Quantize.
type QuantizeScalars struct {
	Inverse0 float32 // 1/(the largest magnitude of e0), rounded up, or 0
	Inverse1 float32 // that of e1
	Inverse2 float32
	Inverse3 float32
	Low      float32 // what the code 1 stands for, beside 1 for the largest
	Least    float32 // low·2⁻²⁰, or 0 for codes of at least 1
	Bias     Mask    // what is added to a code
	Signs    Mask    // the sign bit, or 0
	Factor   Mask    // an odd number, at random
	Add      Mask    // any, at random
	Part     Mask    // 1 for the upper bits of each random number, 2⁸ for those behind 8
}

// Quantize makes codes of 8 bits of a block's elements: 3 bits of a fraction, above them an
// exponent, and a sign if signs are kept. Of its part of the largest magnitude the code above
// or below is taken at random, so that the mean is right. The block comes in four parts, each
// with a largest magnitude of its own, of which each word has an element. NaN is 0, whatever its
// sign.
//
// What cuts off 20 bits takes as many random ones: with 8 a mean would be off by up to 2⁻⁸ of a
// code, which a slow mean adds up to a tenth of itself. They are made of h, in which each place
// of a block has a number of its own, as HashPlaces makes them, by hashing that is nearly universal
// (Dietzfelbinger, Hagerup, Katajainen, Penttonen 1997): with another factor and addend for each
// block and step, an element is as likely to draw any number as another, whatever it has drawn
// before. Of each random number two buffers have a part, so that a kernel that moves both makes one;
// the lowest bits, of which each follows from as few of h and the factor, have none.
//
//	u = the upper 20 bits of (h·factor + add)·part
//	y = |x|·inverse, from low to 1
//	c = the bits of y + u, without the last 20, less bias, and x's sign, or 0 unless |x|·inverse > u·least
//	q ← c of e0 to e3, in its bytes from the lowest on
func Quantize(q, e0, e1, e2, e3, h0, h1, h2, h3 []float32, c *QuantizeScalars) {
	draw := func(h float32) uint32 { return random(h, c.Factor, c.Add) * uint32(c.Part) >> 12 }
	for i := range q {
		code := func(x, inverse, h float32) uint32 { return c.code(x, float32(abs(x)*inverse), draw(h)) }
		q[i] = math.Float32frombits(code(e0[i], c.Inverse0, h0[i]) | code(e1[i], c.Inverse1, h1[i])<<8 |
			code(e2[i], c.Inverse2, h2[i])<<16 | code(e3[i], c.Inverse3, h3[i])<<24)
	}
}

// QuantizePairScalars are the numbers of QuantizePair.
type QuantizePairScalars struct {
	Factor Mask // an odd number, at random
	Add    Mask // any, at random
}

// QuantizePair is Quantize of two blocks that share random numbers: m, which has signs, with a Part of 1,
// and v, of squares, with one of 2⁸. The parts of a block are rows of len(mq) columns, mi and vi the
// inverses of their largest magnitudes. The code of a row is put above those of the rows before, so that
// words have those of the last four.
//
//	mq ← mq / 2⁸ + a·2²⁴, one row after the other
//	vq ← vq / 2⁸ + b·2²⁴, one row after the other
func QuantizePair(mq, vq, m, v, h, mi, vi []float32, c *QuantizePairScalars) {
	of, squares := QuantizeScalars{Bias: 127<<3 - 127, Signs: 1 << 31}, QuantizeScalars{Bias: 127<<3 - 255}
	of.Low, squares.Low = math.Float32frombits(uint32(of.Bias+1)<<20), math.Float32frombits(uint32(squares.Bias+1)<<20)
	of.Least = of.Low * 0x1p-20
	put := func(q *float32, code uint32) { *q = math.Float32frombits(math.Float32bits(*q)>>8 | code<<24) }
	for k := range mi {
		for j := range mq {
			i := k*len(mq) + j
			r := random(h[i], c.Factor, c.Add)
			put(&mq[j], of.code(m[i], float32(abs(m[i])*mi[k]), r>>12))
			put(&vq[j], squares.code(v[i], float32(v[i]*vi[k]), r<<8>>12))
		}
	}
}

// code is that of x, which is a part of the largest magnitude.
func (c *QuantizeScalars) code(x, part float32, draw uint32) uint32 {
	if !(float32(float32(int32(draw))*c.Least) < part) {
		return 0
	}
	y := part
	if !(y < 1) {
		y = 1
	}
	if !(y > c.Low) {
		y = c.Low
	}
	return (math.Float32bits(y)+draw)>>20 - uint32(c.Bias) | math.Float32bits(x)&uint32(c.Signs)>>24
}

// random is a random number of a place, which has one of its own.
func random(h float32, factor, add Mask) uint32 {
	return math.Float32bits(h)*uint32(factor) + uint32(add)
}

// HashPlaces makes the numbers of places, as bits: the last step of MurmurHash3 (Appleby 2011) of
// 0, 1, 2 and so on.
func HashPlaces(h []float32) {
	for i := range h {
		x := uint32(i)
		x = (x ^ x>>16) * 0x85ebca6b
		x = (x ^ x>>13) * 0xc2b2ae35
		h[i] = math.Float32frombits(x ^ x>>16)
	}
}

// DequantizeScalars are the numbers of Dequantize.
type DequantizeScalars struct {
	Scale0 float32 // the largest magnitude of e0
	Scale1 float32 // that of e1
	Scale2 float32
	Scale3 float32
	Bias   Mask // what is added to a code
	Signs  Mask // the sign bit, or 0
}

// Dequantize makes a block of what Quantize has made of it.
//
//	c = the byte of q without its sign, from the lowest on
//	e0 to e3 ← ±(the number with the bits (c + bias)·2²⁰)·scale, 0 if c is
func Dequantize(q, e0, e1, e2, e3 []float32, c *DequantizeScalars) {
	for i := range q {
		word := math.Float32bits(q[i])
		e0[i], e1[i], e2[i], e3[i] = c.number(word, 0, c.Scale0), c.number(word, 8, c.Scale1), c.number(word, 16, c.Scale2), c.number(word, 24, c.Scale3)
	}
}

// number is what the byte of a word stands for that has so many bits below it.
func (c *DequantizeScalars) number(word uint32, below int, scale float32) float32 {
	code := word >> below & (255 ^ uint32(c.Signs)>>24)
	if code == 0 {
		return 0
	}
	return math.Float32frombits((code+uint32(c.Bias))<<20|word<<(24-below)&uint32(c.Signs)) * scale
}

// QuantizeBF16Scalars are the numbers of QuantizeBF16.
type QuantizeBF16Scalars struct {
	Factor Mask // an odd number, at random
	Add    Mask // any, at random
	Part   Mask // 1 for the upper bits of each random number, 2⁸ for those behind 8
}

// QuantizeBF16 rounds elements to BF16, up or down at random so that their mean is right, as
// Quantize does: to nearest what a step adds to a slow mean would be lost. A NaN is quiet, and what
// is between the largest BF16 and infinity is the former.
//
//	u = the upper half of (h·factor + add)·part
//	q ← the upper half of the bits of x + u
func QuantizeBF16(q []BF16, x, h []float32, c *QuantizeBF16Scalars) {
	for i := range q {
		q[i] = drawn(x[i], random(h[i], c.Factor, c.Add)*uint32(c.Part)>>16)
	}
}

// drawn is the BF16 of x.
func drawn(x float32, draw uint32) BF16 {
	const most = 0x1.fep127
	bits := math.Float32bits(x)
	switch {
	case x != x:
		bits |= 1 << 22
	case abs(x) <= most:
		bits += draw
	}
	return BF16(bits >> 16)
}
