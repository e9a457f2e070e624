package rule

import "math"

// Stored is the bits of the float32 that an element stands for in which a number with
// these bits has been stored. A NaN remains one, quiet, with its sign and as much of its
// payload as the type has room for.
func (t Type) Stored(x uint32) uint32 {
	switch {
	case t == F32:
		return x
	case t == BF16:
		return nearest(x, 16)
	case x&(1<<31-1) > inf:
		return x&^(1<<13-1) | 1<<22
	}
	const least, most = 0x1p-14, 0x477ff000 // the least normal number; the bits from which on it is infinity
	sign, y := x&(1<<31), x&(1<<31-1)
	switch {
	case y >= most:
		return sign | inf
	case y >= math.Float32bits(least):
		return sign | nearest(y, 13)
	}
	// The last bit of a number from ½ to 1 is that of subnormal ones.
	sum := float32(math.Float32frombits(y) + .5)
	return sign | math.Float32bits(float32(sum-.5))
}

// nearest is x without its last bits, rounded to nearest even, or a quiet NaN.
func nearest(x uint32, last int) uint32 {
	if x&(1<<31-1) > inf {
		return (x | 1<<22) >> last << last
	}
	return (x + 1<<(last-1) - 1 + x>>last&1) >> last << last
}

const inf = 0x7f800000
