// Package fallback is every kernel written plainly, from its formula. It is
// what the kernels mean: they agree with it bit for bit, and it runs where
// there is no SIMD.
//
// Every product is converted to float32 before it is added to anything, because
// Go may otherwise fuse the two and skip a rounding. Buffers of a call have the
// length of the first and do not overlap.
package fallback

import "math"

// Lanes is the number of partial results of a reduction: element i goes to lane
// i mod 32. The sum of a buffer is the sum of its lanes in the order of Total.
const Lanes = 32

// Total adds the lanes of a reduction: j and j+16, then j and j+8, 4, 2, 1.
func Total(lanes *[Lanes]float64) float64 {
	s := *lanes
	for half := Lanes / 2; half > 0; half /= 2 {
		for j := range half {
			s[j] += s[j+half]
		}
	}
	return s[0]
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// FlushSmall, FlushSquares and KeepAll are the values of the scalars Keep, Lasts
// and Counts, whose bits decide which state is stored, which parameter is left
// after a decay and which gradient counts. With FlushSmall those below 2⁻⁹⁵ in
// magnitude are +0 instead, with FlushSquares those below 2⁻⁶³, whose squares are
// subnormal, with KeepAll none. They must be set: with 0 all numbers are 0.
var (
	FlushSmall   = math.Float32frombits(0x70000000)
	FlushSquares = math.Float32frombits(0x60000000)
	KeepAll      = math.Float32frombits(0xffffffff)
)

// flush is x, or +0 if x has no bit in common with keep.
func flush(x, keep float32) float32 {
	if math.Float32bits(x)&math.Float32bits(keep) == 0 {
		return 0
	}
	return x
}

// soft is the proximal operator of t|u|: u pulled towards zero by t ≥ 0, and
// zero within. It is u - clamp(u, -t, t).
func soft(u, t float32) float32 {
	clamped := u
	if -t > u {
		clamped = -t
	}
	if !(clamped < t) {
		clamped = t
	}
	return u - clamped
}

// signTimes is t times the sign of x, which is x itself for zeros and NaN.
func signTimes(x, t float32) float32 {
	switch {
	case 0 < x:
		return t
	case x < 0:
		return -t
	}
	return x
}
