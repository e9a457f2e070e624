package fallback

import "math"

// QuantizeScalars are the numbers of Quantize.
type QuantizeScalars struct {
	Up      float32 // a power of 2 that keeps inverse a normal number
	Inverse float32 // 1/(up·the largest magnitude of the block), rounded up
	Low     float32 // what the code 1 stands for, beside 1 for the largest
	Least   float32 // low·2⁻¹⁶, or 0 for codes of at least 1
	Bias    Mask    // what is added to a code
	Signs   Mask    // the sign bit, or 0
	Base    Mask    // added to all numbers of places
	High    Mask    // the upper half of these
	Key1    Mask    // of the stream
	Key2    Mask
}

// Quantize makes codes of 8 bits of a block's elements: 3 bits of a fraction, above them an
// exponent, and a sign if signs are kept. Of its part of the largest magnitude the code above
// or below is taken at random, so that the mean is right. The block comes in four parts, of
// which each word has an element. The numbers of places are bits in index, and the generator is
// that of Noise. NaN is 0, whatever its sign.
//
//	u = threefry(index + base, high), 16 bits of it for each element
//	y = |x|·up·inverse, from low to 1
//	c = the bits of y + 16·u, without the last 20, less bias, and x's sign, or 0 unless |x|·up·inverse > u·least
//	q ← c of e0 to e3, in its bytes from the lowest on
func Quantize(q, e0, e1, e2, e3, index []float32, c *QuantizeScalars) {
	for i := range q {
		a, b := threefry(math.Float32bits(index[i])+uint32(c.Base), uint32(c.High), uint32(c.Key1), uint32(c.Key2))
		const draw = 1<<16 - 1
		q[i] = math.Float32frombits(c.code(e0[i], a>>16) | c.code(e1[i], a&draw)<<8 | c.code(e2[i], b>>16)<<16 | c.code(e3[i], b&draw)<<24)
	}
}

// code is that of x.
func (c *QuantizeScalars) code(x float32, draw uint32) uint32 {
	part := float32(float32(abs(x)*c.Up) * c.Inverse)
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
	return (math.Float32bits(y)+draw<<4)>>20 - uint32(c.Bias) | math.Float32bits(x)&uint32(c.Signs)>>24
}

// DequantizeScalars are the numbers of Dequantize.
type DequantizeScalars struct {
	Scale float32 // the largest magnitude of the block
	Bias  Mask    // what is added to a code
	Signs Mask    // the sign bit, or 0
}

// Dequantize makes a block of what Quantize has made of it.
//
//	c = the byte of q without its sign, from the lowest on
//	e0 to e3 ← ±(the number with the bits (c + bias)·2²⁰)·scale, 0 if c is
func Dequantize(q, e0, e1, e2, e3 []float32, c *DequantizeScalars) {
	for i := range q {
		word := math.Float32bits(q[i])
		e0[i], e1[i], e2[i], e3[i] = c.number(word, 0), c.number(word, 8), c.number(word, 16), c.number(word, 24)
	}
}

// number is what the byte of a word stands for that has so many bits below it.
func (c *DequantizeScalars) number(word uint32, below int) float32 {
	code, size := word>>below&(255^uint32(c.Signs)>>24), float32(0)
	if code > 0 {
		size = math.Float32frombits((code+uint32(c.Bias))<<20) * c.Scale
	}
	return math.Float32frombits(math.Float32bits(size) | word<<(24-below)&uint32(c.Signs))
}

// QuantizeBF16Scalars are the numbers of QuantizeBF16.
type QuantizeBF16Scalars struct {
	Base Mask // added to all numbers of places
	High Mask // the upper half of these
	Key1 Mask // of the stream
	Key2 Mask
}

// QuantizeBF16 rounds the elements of a block to BF16, up or down at random so that their mean
// is right, as Quantize does: to nearest what a step adds to a slow mean would be lost. A NaN
// is quiet, and what is between the largest BF16 and infinity is the former.
//
//	u = threefry(index + base, high), 16 bits of it for each element
//	q0 ← e0 and e1, q1 ← e2 and e3: of each the upper half of its bits + u, that of the first the lower half
func QuantizeBF16(q0, q1, e0, e1, e2, e3, index []float32, c *QuantizeBF16Scalars) {
	for i := range q0 {
		a, b := threefry(math.Float32bits(index[i])+uint32(c.Base), uint32(c.High), uint32(c.Key1), uint32(c.Key2))
		const draw = 1<<16 - 1
		q0[i] = math.Float32frombits(drawn(e0[i], a>>16)>>16 | drawn(e1[i], a&draw)&^draw)
		q1[i] = math.Float32frombits(drawn(e2[i], b>>16)>>16 | drawn(e3[i], b&draw)&^draw)
	}
}

// drawn are the bits of x, of which the upper half is the BF16.
func drawn(x float32, draw uint32) uint32 {
	const most = 0x1.fep127
	switch bits := math.Float32bits(x); {
	case x != x:
		return bits | 1<<22
	case abs(x) <= most:
		return bits + draw
	default:
		return bits
	}
}

// DequantizeBF16 makes a block of what QuantizeBF16 has made of it.
//
//	e0 ← the lower half of q0, e1 ← the upper one, e2 and e3 ← those of q1
func DequantizeBF16(q0, q1, e0, e1, e2, e3 []float32) {
	for i := range q0 {
		first, second := math.Float32bits(q0[i]), math.Float32bits(q1[i])
		e0[i], e1[i] = math.Float32frombits(first<<16), math.Float32frombits(first&0xffff0000)
		e2[i], e3[i] = math.Float32frombits(second<<16), math.Float32frombits(second&0xffff0000)
	}
}
