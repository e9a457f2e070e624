package fallback

import "math"

// Exp stores e^x, at most 0.8904 ulp off.
func Exp(y, x []float32) {
	for i := range y {
		y[i] = exp(x[i])
	}
}

// Expm1 stores e^x - 1, at most 0.7072 ulp off.
func Expm1(y, x []float32) {
	for i := range y {
		y[i] = expm1(x[i])
	}
}

// Log stores the natural logarithm of x, at most 0.6607 ulp off.
func Log(y, x []float32) {
	for i := range y {
		y[i] = log(x[i])
	}
}

// Log1p stores the natural logarithm of 1 + x, at most 0.6607 ulp off.
func Log1p(y, x []float32) {
	for i := range y {
		y[i] = log1p(x[i])
	}
}

// Sigmoid stores 1/(1 + e^-x), at most 0.7866 ulp off.
func Sigmoid(y, x []float32) {
	for i := range y {
		y[i] = sigmoid(x[i])
	}
}

// Softplus stores log(1 + e^x), at most 0.8029 ulp off.
func Softplus(y, x []float32) {
	for i := range y {
		y[i] = softplus(x[i])
	}
}

// Sqrt stores the square root of x, correctly rounded.
func Sqrt(y, x []float32) {
	for i := range y {
		y[i] = sqrt(x[i])
	}
}

// Tanh stores the hyperbolic tangent of x, at most 0.9141 ulp off.
func Tanh(y, x []float32) {
	for i := range y {
		y[i] = tanh(x[i])
	}
}

// ln 2 in two parts. The first has 15 bits, so that its product with an
// exponent is exact.
const (
	ln2High float32 = 0x1.62e4p-1
	ln2Low  float32 = 0x1.7f7d1cp-20
)

// exp is e^x, at most 0.8904 ulp off for all x.
//
// 2ᵏ is applied in two factors, because it may be subnormal or beyond the largest exponent
// where the result is not: k is rounded with twice the bias of an exponent, of which each
// half has one.
func exp(x float32) float32 {
	x = atLeast(-104, x)
	if 89 < x {
		x = 89
	}
	shifted, high, k := quotient(x, 254)
	y := 1 + (high + fma(-k, ln2Low, series(fma(-k, ln2Low, high))))

	half := shifted >> 1
	return y * power(half) * power(shifted-half)
}

// quotient is the integer k next to x/ln 2 and what x has beside k·ln2High, exactly. The last
// nine bits of shifted are k + bias.
//
// What x has beside k·ln 2 is high - k·ln2Low. Of that, rounded, polynomials are; where a sum
// begins with it, the two come one after the other, so that high is as exact as it is here.
func quotient(x, bias float32) (shifted uint32, high, k float32) {
	// Adding 1.5·2²³ rounds to an integer, which the bits then end in.
	integer := 0x1.8p23 + bias
	sum := fma(x, 0x1.715476p0, integer)
	k = sum - integer
	return math.Float32bits(sum), fma(-k, ln2High, x), k
}

// series is e^r - 1 - r.
func series(r float32) float32 {
	p := float32(0x1.6a1ed6p-10)
	p = fma(p, r, 0x1.123d2p-7)
	p = fma(p, r, 0x1.555906p-5)
	p = fma(p, r, 0x1.55548ep-3)
	p = fma(p, r, 0x1.fffffcp-2)
	return float32(p * float32(r*r))
}

// cubic is (e^r - 1 - r - ½r²)/r³. It is off by at most 0.0073 of a float32's last bit of
// e^r - 1: the polynomial whose largest error is the least, found by least squares whose
// weights follow the errors (Lawson 1961). Its coefficients were rounded one by one, the
// constant first, and what was left fitted anew each time.
func cubic(r float32) float32 {
	p := float32(0x1.9e6c8cp-13)
	p = fma(p, r, 0x1.6d3a56p-10)
	p = fma(p, r, 0x1.1112dap-7)
	p = fma(p, r, 0x1.5554f8p-5)
	return fma(p, r, 0x1.555554p-3)
}

// power is 2ᵏ for an integer that ends in the nine bits of k + 127, the exponent of a
// normal number.
func power(k uint32) float32 { return math.Float32frombits(k << 23) }

// sigmoid is 1/(1 + e^-x), at most 0.7866 ulp off for all x.
//
// With x = k·ln 2 + r it is 2ᵏ/d, d = 2ᵏ + e^-r. What the quotient lacks is what it times d
// leaves of the dividend, divided.
func sigmoid(x float32) float32 {
	x = atLeast(-104, x)
	if 18 < x { // where it is 1
		x = 18
	}
	shifted, high, k := quotient(x, 127+64)
	p := power(shifted) // 2⁶⁴ times as large, or it would be subnormal where the result is
	a := p * 0x1p-64
	s := fma(k, ln2Low, series(-fma(-k, ln2Low, high)))
	m := 1 + (s - high)
	d := a + m
	part := d - a
	rest := (a - (d - part)) + (((1 - part) - high) + s)
	inverse := 1 / d
	left := fma(-inverse, rest, fma(-inverse, d, 1))
	return fma(left, inverse, inverse) * p * 0x1p-64
}

// tanh is (e^2|x| - 1)/(e^2|x| + 1) with the sign of x, at most 0.9141 ulp off for all
// x.
//
// With -2|x| = k·ln 2 + r it is n/d, n = 1 - 2ᵏ + (e^-r - 1), d = n + 2ᵏ⁺¹. The quotient is
// as in sigmoid.
func tanh(x float32) float32 {
	z := atLeast(-9.0625, -abs(x)) // where it is 1
	shifted, high, k := quotient(z+z, 127)
	a := power(shifted)
	r := fma(-k, ln2Low, high)
	s := fma(k, ln2Low, float32(fma(-r, cubic(-r), 0.5)*float32(r*r)))

	c := 1 - a
	n := c - high
	low := (((c - n) - high) + s) + ((1 - c) - a)
	whole := n + low
	d := whole + (a + a)
	rest := (((1 - d) + a) - high) + s
	inverse := 1 / d
	q := float32(whole * inverse)
	left := fma(-q, rest, fma(-q, d, n)+low)
	return signed(fma(left, inverse, q), x)
}

// signed is y with the sign of x.
func signed(y, x float32) float32 {
	return math.Float32frombits(math.Float32bits(y) | math.Float32bits(x)&(1<<31))
}

// expm1 is e^x - 1 = 2ᵏ(1 - 2⁻ᵏ + (e^r - 1)), at most 0.7072 ulp off for all x.
func expm1(x float32) float32 {
	z := atLeast(-17.375, x)
	if 89 < z {
		z = 89
	}
	shifted, high, k := quotient(z, 126)
	r := fma(-k, ln2Low, high)
	square := float32(r * r)
	half := float32(square * 0.5)
	a := power(126+127+64-shifted) * 0x1p-64
	c := 1 - a
	n := c + high
	whole := n + half
	lost := ((1 - c) - a) + (((c - n) + high) + ((n - whole) + half))
	y := whole + fma(cubic(r), float32(square*r), fma(-k, ln2Low, lost))
	return signed((y+y)*power(shifted), x)
}

// softplus is log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), at most 0.8029 ulp off for all
// x. e^-|x| is two numbers, of which the second joins the logarithm's correction.
func softplus(x float32) float32 {
	z := atLeast(-104, -abs(x))
	shifted, high, k := quotient(z, 127+64)
	p := power(shifted)
	s := fma(-k, ln2Low, series(fma(-k, ln2Low, high)))
	m := 1 + (high + s)
	e := m * p * 0x1p-64
	low := (((1 - m) + high) + s) * p * 0x1p-64

	u := 1 + e
	k, f := exponent(u)
	f--
	if k == 0 {
		f = e
	} else {
		low = ((1 - u) + e) + low
	}
	sum, small := logParts(f, k, low/u)
	x = positive(x)
	larger, smaller := sum, x
	if x > sum {
		larger, smaller = x, sum
	}
	y := larger + smaller
	finite := y
	if math.MaxFloat32 < y { // or what infinity leaves of itself would be NaN
		finite = math.MaxFloat32
	}
	return y + (((larger - finite) + smaller) + small)
}

// log is the natural logarithm of x, at most 0.6607 ulp off for all x.
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

// log1p is the natural logarithm of 1 + x, at most 0.6607 ulp off for all x.
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
func logOf(f, k, correction float32) float32 {
	sum, small := logParts(f, k, correction)
	return sum + small
}

// logParts is logOf as a sum of two numbers, the first of which is nearly all of it.
//
//	log(1+f) = f - ½f² + f³·P(f)
//
// The first two terms and k·ln 2 are added with their rounding errors, which
// join the small terms.
func logParts(f, k, correction float32) (sum, small float32) {
	half := float32(0.5 * f)
	s := fma(-half, f, f)
	rest := fma(-half, f, f-s)

	p := float32(0x1.144d96p-4)
	p = fma(p, f, -0x1.de46e8p-4)
	p = fma(p, f, 0x1.e6fa7ep-4)
	p = fma(p, f, -0x1.fc2124p-4)
	p = fma(p, f, 0x1.2336bap-3)
	p = fma(p, f, -0x1.555c4cp-3)
	p = fma(p, f, 0x1.99a4bcp-3)
	p = fma(p, f, -0x1.000006p-2)
	p = fma(p, f, 0x1.555548p-2)

	whole := float32(k * ln2High)
	sum = whole + s
	lost := rest + ((whole - sum) + s)
	return sum, lost + fma(p, float32(float32(f*f)*f), fma(k, ln2Low, correction))
}
