// Package fallback is every kernel written plainly, from its formula. It is
// what the kernels mean: they agree with it bit for bit, and it runs where
// there is no SIMD.
//
// Every product is converted to float32 before it is added to anything, because
// Go may otherwise fuse the two and skip a rounding. MatMul and the elementary functions
// fuse them where they say so, on any CPU alike.
// Buffers of a call have the length of the first and do not overlap.
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

// Common has the scalars that every step shares. What comes in is the gradient
//
//	x = drop(g·scale + p·l2, drop)
//
// and what goes out is the parameter, in one subtraction: 1 - lr·(weight decay) would
// be a float32 that knows nothing between 1 and 1 - 6e-8.
//
//	p ← p - (u + p·decay)
type Common struct {
	Scale float32 // the gradient's factor
	L2    float32 // of the penalty ½l2·p²; 0 leaves the term out
	Decay float32 // lr·(weight decay)
	Drop  Mask    // the gradients that are taken for 0
	First Mask    // those of them that may be before they are scaled, because it makes them no larger
}

// gradient is what a step takes an element of the gradient for.
func (c *Common) gradient(g, p float32) float32 {
	return drop(c.wholeGradient(drop(g, c.First&c.Drop), p), c.Drop)
}

// wholeGradient is gradient for rules that look at signs, to which the smallest number
// is as good as the largest.
func (c *Common) wholeGradient(g, p float32) float32 {
	x := float32(g * c.Scale)
	if c.L2 != 0 {
		x += float32(p * c.L2)
	}
	return x
}

// decayed is the parameter after a step of u.
func (c *Common) decayed(p, u float32) float32 { return p - (u + float32(p*c.Decay)) }

// still is decayed for rules of so few operations that the decay's would show: 0 leaves
// the term out, so that an infinite parameter stays one.
func (c *Common) still(p, u float32) float32 {
	if c.Decay != 0 {
		u += float32(p * c.Decay)
	}
	return p - u
}

// A Mask tells small numbers: those whose magnitude has no bit outside of it. They are
// dropped, which is to say taken for +0. The zero Mask drops nothing but a zero's sign.
type Mask uint32

// Arithmetic on subnormal numbers is up to a hundred times slower than on others.
const (
	DropSubnormal Mask = 0x003fffff // below 2⁻¹²⁷: all but the largest half of the subnormal numbers
	DropSmall     Mask = 0x0fffffff // below 2⁻⁹⁵: what fades and will soon be subnormal
	DropSquare    Mask = 0x1fffffff // below 2⁻⁶³: numbers whose squares are subnormal
)

// drop is x, or +0 if x is small.
func drop(x float32, small Mask) float32 {
	if math.Float32bits(x)&^(uint32(small)|1<<31) == 0 {
		return 0
	}
	return x
}

// Weight is how lerp takes the decay rate of a running mean.
func Weight(beta float64) float32 {
	if beta < 0.5 {
		return float32(-beta)
	}
	return float32(1 - beta)
}

// lerp moves m towards x by a part of their distance: the weight, or if that would be
// above a half the rest with a minus sign. So neither end is lost beside the other,
// however much larger that is.
func lerp(m, x, weight float32) float32 {
	from := x
	if weight > 0 {
		from = m
	}
	return from + float32((x-m)*weight)
}

// square is (x·root)², or 0 where that would be subnormal.
func square(x, root float32, small Mask) float32 {
	y := drop(float32(x*root), small)
	return float32(y * y)
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
