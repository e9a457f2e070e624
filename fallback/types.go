package fallback

import "math"

// A BF16 is a number of 16 bits: the upper half of a float32, with its range and 8 bits
// of precision.
type BF16 uint16

// An F16 is a number of 16 bits: binary16 of IEEE 754, up to 65504 and with 11 bits of
// precision down to 2⁻¹⁴.
type F16 uint16

// Float32 is x, which float32 holds exactly; of a NaN all bits.
func (x BF16) Float32() float32 { return math.Float32frombits(uint32(x) << 16) }

// Float32 is x, which float32 holds exactly; of a NaN the sign and the payload, made quiet.
func (x F16) Float32() float32 {
	sign, exponent, fraction := uint32(x>>15)<<31, uint32(x>>10&31), uint32(x&1023)
	switch {
	case exponent == 31 && fraction > 0:
		return math.Float32frombits(sign | 0x7fc00000 | fraction<<13)
	case exponent == 31:
		return math.Float32frombits(sign | 0x7f800000)
	case exponent == 0:
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// ToBF16 is the BF16 nearest to x, of two the even one. Beyond the largest it is infinite. A
// NaN keeps its sign and the upper part of its payload, and is quiet.
func ToBF16(x float32) BF16 {
	bits := math.Float32bits(x)
	if x != x {
		return BF16(bits>>16 | 0x40)
	}
	return BF16((bits + 0x7fff + bits>>16&1) >> 16)
}

// ToF16 is ToBF16 for F16, subnormal numbers too.
func ToF16(x float32) F16 {
	bits := math.Float32bits(x)
	sign, size := F16(bits>>31<<15), bits&(1<<31-1)
	exponent := size >> 23
	switch {
	case x != x:
		return sign | 0x7e00 | F16(size>>13&511)
	case size >= 0x477ff000: // 65520, half way to what would be next
		return sign | 0x7c00
	case exponent >= 113: // 2⁻¹⁴
		return sign | F16((size-112<<23+0xfff+size>>13&1)>>13)
	case exponent < 102: // less than half of the smallest
		return sign
	}
	fraction, last := size&(1<<23-1)|1<<23, 126-exponent // in units of 2⁻²⁴
	return sign | F16((fraction+1<<(last-1)-1+fraction>>last&1)>>last)
}

// WidenBF16 makes float32 of BF16, each as its Float32.
//
//	x ← h
func WidenBF16(x []float32, h []BF16) {
	for i := range x {
		x[i] = h[i].Float32()
	}
}

// WidenF16 makes float32 of F16, each as its Float32.
//
//	x ← h
func WidenF16(x []float32, h []F16) {
	for i := range x {
		x[i] = h[i].Float32()
	}
}

// NarrowBF16 rounds float32 to BF16, each as ToBF16 does.
//
//	h ← x, rounded to nearest even
func NarrowBF16(h []BF16, x []float32) {
	for i := range h {
		h[i] = ToBF16(x[i])
	}
}

// NarrowF16 rounds float32 to F16, each as ToF16 does.
//
//	h ← x, rounded to nearest even
func NarrowF16(h []F16, x []float32) {
	for i := range h {
		h[i] = ToF16(x[i])
	}
}

// JoinBF16 makes float32 of the halves that SplitBF16 leaves: every one that there is, NaN of
// any bits too.
//
//	x ← bits(h)·2¹⁶ + bits(r), which have a sign
func JoinBF16(x []float32, h, r []BF16) {
	for i := range x {
		x[i] = math.Float32frombits(uint32(h[i])<<16 + uint32(int32(int16(r[i]))))
	}
}

// SplitBF16 splits float32 into the nearest BF16, of two the one of larger magnitude, and what
// the bits lack then, an int16, which is kept in a BF16 because kernels know no other type of
// 16 bits. A number is infinite in h where it is within half a unit of what would be next, and
// a NaN whose payload is below 2¹⁵ too; r still has what makes it what it was.
//
//	h ← (bits(x) + 2¹⁵) / 2¹⁶
//	r ← bits(x) - h·2¹⁶
func SplitBF16(h, r []BF16, x []float32) {
	for i := range h {
		bits := math.Float32bits(x[i])
		h[i] = BF16((bits + 1<<15) >> 16)
		r[i] = BF16(bits - uint32(h[i])<<16)
	}
}
