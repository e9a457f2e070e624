package fallback

import "math"

// What codes of 8 bits stand for, beside the largest magnitude of their part of a block, is a float32
// of 3 bits of a fraction and an exponent of 4, or of 5 without a sign: with the bits of the least
// one and the code, over 20 more bits. SignedLeast is taken off again, so that the code 0 with a sign
// is 0 and near it numbers lie evenly; a square's 0 is none, for what is divided by its root.
const (
	SignedLeast, SignedMost = 0x1p-15, 1.875 - 0x1p-15 // what the code 0 has, and what the largest stands for
	SquareLeast, SquareMost = 0x1p-31, 1.875
)

// QuantizeScalars are the numbers of Quantize.
type QuantizeScalars struct {
	Inverse0 float32 // most/(the largest magnitude of e0), rounded down, or 0
	Inverse1 float32 // that of e1
	Inverse2 float32
	Inverse3 float32
	Offset   float32 // SignedLeast, or 0 of squares
	Least    float32 // SignedLeast or SquareLeast
	Signs    Mask    // the sign bit, or 0
	Factor   Mask    // an odd number, at random
	Add      Mask    // any, at random
	Part     Mask    // 1 for the upper bits of each random number, 2⁸ for those behind 8
}

// Quantize makes codes of 8 bits of a block's elements: 3 bits of a fraction, above them an
// exponent, and a sign if signs are kept. Of its part of the largest magnitude the code above
// or below is taken at random, so that the mean is right. The block comes in four parts, each
// with a largest magnitude of its own, of which each word has an element. NaN is 0, whatever its sign.
//
// What cuts off 20 bits takes as many random ones and more: with 8 a mean would be off by up to 2⁻⁸ of
// a code, which a slow mean adds up to a tenth of itself. They are made of h, in which each place
// of a block has a number of its own, as HashPlaces makes them, by hashing that is nearly universal
// (Dietzfelbinger, Hagerup, Katajainen, Penttonen 1997): with another factor and addend for each
// block and step, an element is as likely to draw any number as another, whatever it has drawn
// before. Of each random number two buffers have a part, so that a kernel that moves both makes one.
//
//	u = the upper 24 bits of (h·factor + add)·part
//	y = |x|·inverse + offset, rounded once, at least least
//	c = the upper 8 bits of (the bits of y)·2⁴ + u, the first of them x's sign if there are signs,
//	or 0 unless y ≤ 2
//	q ← c of e0 to e3, in its bytes from the lowest on
func Quantize(q, e0, e1, e2, e3, h0, h1, h2, h3 []float32, c *QuantizeScalars) {
	for i := range q {
		code := func(x, inverse, h float32) uint32 {
			y := fma(abs(x), inverse, c.Offset)
			return code(larger(y, c.Least), random(h, c.Factor, c.Add)*uint32(c.Part)>>8, signOf(x, y, c.Signs))
		}
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
	put := func(q *float32, code uint32) { *q = math.Float32frombits(math.Float32bits(*q)>>8 | code<<24) }
	for k := range mi {
		for j := range mq {
			i := k*len(mq) + j
			r, y := random(h[i], c.Factor, c.Add), fma(abs(m[i]), mi[k], SignedLeast)
			put(&mq[j], code(y, r>>8, signOf(m[i], y, 1<<31)))
			put(&vq[j], code(larger(float32(v[i]*vi[k]), SquareLeast), r&(1<<24-1), 1<<32-1))
		}
	}
}

// code is that of a size, with what signOf has made of a sign.
func code(y float32, draw, sign uint32) uint32 { return (math.Float32bits(y)<<4 + draw) & sign >> 24 }

// signOf has all bits, but one in signs as x has it: a code has a 1 there, of an exponent. Where the
// size is NaN it has none.
func signOf(x, y float32, signs Mask) uint32 {
	if !(y <= 2) {
		return 0
	}
	return math.Float32bits(x) | ^uint32(signs)
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
	Unit0  float32 // (the largest magnitude of e0)/most
	Unit1  float32 // that of e1
	Unit2  float32
	Unit3  float32
	Offset float32 // SignedLeast, or 0 of squares
	Least  Mask    // the bits of SignedLeast or SquareLeast
	Signs  Mask    // the sign bit, or 0
}

// Dequantize makes a block of what Quantize has made of it.
//
//	c = the byte of q without its sign, from the lowest on
//	e0 to e3 ← ±((the number with the bits least + c·2²⁰) - offset)·unit
func Dequantize(q, e0, e1, e2, e3 []float32, c *DequantizeScalars) {
	for i := range q {
		word := math.Float32bits(q[i])
		e0[i], e1[i], e2[i], e3[i] = c.number(word<<24, c.Unit0), c.number(word<<16, c.Unit1), c.number(word<<8, c.Unit2), c.number(word, c.Unit3)
	}
}

// number is what the highest byte of a word stands for.
func (c *DequantizeScalars) number(top uint32, unit float32) float32 {
	size := math.Float32frombits(top>>4&((uint32(c.Signs)^255<<24)>>4) | uint32(c.Least))
	x := (size - c.Offset) * unit
	return math.Float32frombits(math.Float32bits(x) | top&uint32(c.Signs))
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
