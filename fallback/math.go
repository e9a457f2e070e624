package fallback

import "math"

// ln 2 in two parts. The first has 15 bits, so that its product with an
// exponent is exact.
const (
	ln2High float32 = 0x1.62e4p-1
	ln2Low  float32 = 0x1.7f7d1cp-20
)

// exp is e^x, at most 0.8904 ulp off for all x, as 2ᵏ·e^r with |r| ≤ ½ln 2.
//
// The rounding error of r is kept, which is all it takes to stay below 1 ulp
// without fused operations. 2ᵏ is applied in two factors, because it may be
// subnormal or beyond the largest exponent where the result is not.
func exp(x float32) float32 {
	x = atLeast(-104, x)
	if 89 < x {
		x = 89
	}
	// Adding 1.5·2²³ rounds to an integer, which the bits then end in.
	const integer float32 = 0x1.8p23
	shifted := float32(x*0x1.715476p0) + integer
	n := shifted - integer
	high, low := x-float32(n*ln2High), float32(n*ln2Low)
	r := high - low
	rest := (high - r) - low

	p := float32(0x1.6a1ed6p-10)
	p = float32(p*r) + 0x1.123d2p-7
	p = float32(p*r) + 0x1.555906p-5
	p = float32(p*r) + 0x1.55548ep-3
	p = float32(p*r) + 0x1.fffffcp-2
	y := 1 + (r + (float32(p*float32(r*r)) + rest))

	k := int32(math.Float32bits(shifted) - math.Float32bits(integer))
	half := k >> 1
	return y * power(half) * power(k-half)
}

// power is 2ᵏ for the exponent k of a normal number.
func power(k int32) float32 { return math.Float32frombits(uint32(k+127) << 23) }

// log is the natural logarithm of x, at most 0.7106 ulp off for all x.
func log(x float32) float32 {
	normal, shift := x, float32(0)
	if x < 0x1p-126 {
		normal, shift = x*0x1p23, -23
	}
	k, m := exponent(normal)
	y := logOf(m-1, k+shift, 0)
	if x == float32(math.Inf(1)) {
		y = x
	}
	switch {
	case 0 < x:
		return y
	case x == 0:
		return float32(math.Inf(-1))
	}
	return float32(math.NaN())
}

// cbrt is the cube root of x ≥ 0, at most 0.74 ulp off: three steps of Newton's from a third
// of x's bits, as an integer, which is a third of its exponent.
func cbrt(x float32) float32 {
	const third, integer = 1. / 3, 0x1.8p23
	z := x
	if x < 0x1p-126 {
		z *= 0x1p24
	}
	part := float32(float32(int32(math.Float32bits(z)))*(0x1p-8/3)) + integer
	y := math.Float32frombits((math.Float32bits(part)-math.Float32bits(integer))<<8 + 0x2a5119f2)
	for range 3 {
		y -= float32((y - z/float32(y*y)) * third)
	}
	if x < 0x1p-126 {
		y *= 0x1p-8
	}
	if x+x == x { // zero and infinity
		y = x
	}
	return y
}

// log1p is the natural logarithm of 1 + x, at most 0.7114 ulp off for all x.
func log1p(x float32) float32 {
	u := 1 + x
	// The sum's rounding error, exactly, for any order of magnitude of x.
	part := u - 1
	e := (1 - (u - part)) + (x - part)
	k, m := exponent(u)
	f, correction := m-1, e/u
	if k == 0 {
		f, correction = x, 0
	}
	y := logOf(f, k, correction)
	if x+x == x { // zeros, with their sign, and infinity
		y = x
	}
	switch {
	case -1 < x:
		return y
	case x == -1:
		return float32(math.Inf(-1))
	}
	return float32(math.NaN())
}

// exponent splits a normal x into 2ᵏ·m with m in [√½, √2).
func exponent(x float32) (k, m float32) {
	const sqrtHalf = 0x3f3504f3
	i := int32(math.Float32bits(x) - sqrtHalf)
	return float32(i >> 23), math.Float32frombits(uint32(i&(1<<23-1)) + sqrtHalf)
}

// logOf is k·ln 2 + log(1+f) + correction, for f in [√½-1, √2-1].
//
//	log(1+f) = f - ½f² + f³·P(f)
//
// The first two terms and k·ln 2 are added with their rounding errors, which
// join the small terms.
func logOf(f, k, correction float32) float32 {
	h := float32(float32(0.5*f) * f)
	s := f - h
	rest := (f - s) - h

	p := float32(0x1.144d96p-4)
	p = float32(p*f) - 0x1.de46e8p-4
	p = float32(p*f) + 0x1.e6fa7ep-4
	p = float32(p*f) - 0x1.fc2124p-4
	p = float32(p*f) + 0x1.2336bap-3
	p = float32(p*f) - 0x1.555c4cp-3
	p = float32(p*f) + 0x1.99a4bcp-3
	p = float32(p*f) - 0x1.000006p-2
	p = float32(p*f) + 0x1.555548p-2

	whole := float32(k * ln2High)
	sum := whole + s
	lost := (whole - sum) + s
	small := float32(p*float32(float32(f*f)*f)) + (float32(k*ln2Low) + correction)
	return sum + ((rest + lost) + small)
}
