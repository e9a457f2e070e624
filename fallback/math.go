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

// Log stores the natural logarithm of x, at most 0.7106 ulp off.
func Log(y, x []float32) {
	for i := range y {
		y[i] = log(x[i])
	}
}

// Log1p stores the natural logarithm of 1 + x, at most 0.7114 ulp off.
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

// Tanh stores the hyperbolic tangent of x, at most 0.8341 ulp off.
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
	shifted, r, rest := reduced(x, 254)
	y := 1 + (r + (series(r) + rest))

	half := shifted >> 1
	return y * power(half) * power(shifted-half)
}

// reduced splits x into k·ln 2 + r + rest with |r| ≤ ½ln 2, where rest is the rounding
// error of r. Keeping it is all that exp takes to stay below 1 ulp without fused
// operations. The last nine bits of shifted are k + bias.
func reduced(x, bias float32) (shifted uint32, r, rest float32) {
	shifted, high, low := quotient(x, bias)
	r = high - low
	return shifted, r, (high - r) - low
}

// mirrored is reduced with -r and -rest in the place of r and rest.
func mirrored(x, bias float32) (shifted uint32, r, rest float32) {
	shifted, high, low := quotient(x, bias)
	r = low - high
	return shifted, r, low - (high + r)
}

// quotient is the integer k next to x/ln 2, with a bias, and what it leaves of x, high - low.
func quotient(x, bias float32) (shifted uint32, high, low float32) {
	// Adding 1.5·2²³ rounds to an integer, which the bits then end in.
	integer := 0x1.8p23 + bias
	sum := float32(x*0x1.715476p0) + integer
	k := sum - integer
	return math.Float32bits(sum), x - float32(k*ln2High), float32(k * ln2Low)
}

// series is e^r - 1 - r.
func series(r float32) float32 {
	p := float32(0x1.6a1ed6p-10)
	p = float32(p*r) + 0x1.123d2p-7
	p = float32(p*r) + 0x1.555906p-5
	p = float32(p*r) + 0x1.55548ep-3
	p = float32(p*r) + 0x1.fffffcp-2
	return float32(p * float32(r*r))
}

// cubic is (e^r - 1 - r - ½r²)/r³. It is off by at most 0.0073 of a float32's last bit of
// e^r - 1: the polynomial whose largest error is the least, found by least squares whose
// weights follow the errors (Lawson 1961). Its coefficients were rounded one by one, the
// constant first, and what was left fitted anew each time.
func cubic(r float32) float32 {
	p := float32(0x1.9e6c8cp-13)
	p = float32(p*r) + 0x1.6d3a56p-10
	p = float32(p*r) + 0x1.1112dap-7
	p = float32(p*r) + 0x1.5554f8p-5
	return float32(p*r) + 0x1.555554p-3
}

// power is 2ᵏ for an integer that ends in the nine bits of k + 127, the exponent of a
// normal number.
func power(k uint32) float32 { return math.Float32frombits(k << 23) }

// upper is x without its last 12 bits. The product of two such numbers is exact.
func upper(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1<<12 - 1)) }

// sigmoid is 1/(1 + e^-x), at most 0.7866 ulp off for all x.
//
// With x = k·ln 2 - r it is 2ᵏ/d, d = 2ᵏ + e^r. The quotient's rounding error is found
// from what the first 12 bits of it, times d, leave of the dividend.
func sigmoid(x float32) float32 {
	x = atLeast(-104, x)
	if 18 < x { // where it is 1
		x = 18
	}
	shifted, r, rest := mirrored(x, 127+64)
	p := power(shifted) // 2⁶⁴ times as large, or it would be subnormal where the result is
	a := p * 0x1p-64
	s := series(r) + rest
	m := 1 + (r + s)
	low := ((1 - m) + r) + s

	d := a + m
	d0 := upper(d)
	larger, smaller := m, a
	if a > m {
		larger, smaller = a, m
	}
	d1 := ((larger - d0) + smaller) + low
	inverse := 1 / d
	q := upper(inverse)
	left := (1 - float32(q*d0)) - float32(q*d1)
	y := q + float32(left*inverse)
	return y * p * 0x1p-64
}

// tanh is (e^2|x| - 1)/(e^2|x| + 1) with the sign of x, at most 0.8341 ulp off for all
// x.
//
// With -2|x| = k·ln 2 - r it is n/d, n = 1 - 2ᵏ + (e^r - 1), d = n + 2ᵏ⁺¹. The quotient is
// as in sigmoid.
func tanh(x float32) float32 {
	z := atLeast(-9.0625, -abs(x)) // where it is 1
	shifted, r, rest := mirrored(z+z, 127)
	a := power(shifted)
	square := float32(r * r)
	s := float32(square*(float32(cubic(r)*r)+0.5)) + rest

	c := 1 - a
	n := c + r
	low := (((c - n) + r) + s) + ((1 - c) - a)
	whole := n + low
	d := whole + (a + a)
	d0 := upper(d)
	d1 := (((1 - d0) + a) + r) + s
	inverse := 1 / d
	q := upper(whole * inverse)
	left := ((n - float32(q*d0)) + low) - float32(q*d1)
	return signed(q+float32(left*inverse), x)
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
	shifted, r, rest := reduced(z, 126)
	square := float32(r * r)
	half := float32(square * 0.5)
	a := power(126+127+64-shifted) * 0x1p-64
	c := 1 - a
	n := c + r
	whole := n + half
	lost := ((1 - c) - a) + (((c - n) + r) + ((n - whole) + half))
	y := whole + (lost + (float32(cubic(r)*float32(square*r)) + rest))
	return signed((y+y)*power(shifted), x)
}

// softplus is log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), at most 0.8029 ulp off for all
// x. e^-|x| is two numbers, of which the second joins the logarithm's correction.
func softplus(x float32) float32 {
	z := atLeast(-104, -abs(x))
	shifted, r, rest := reduced(z, 127+64)
	p := power(shifted)
	s := series(r) + rest
	m := 1 + (r + s)
	e := m * p * 0x1p-64
	low := (((1 - m) + r) + s) * p * 0x1p-64

	u := 1 + e
	k, f := exponent(u)
	f--
	if k == 0 {
		f = e
	} else {
		low = ((1 - u) + e) + low
	}
	sum, lost, cube := logParts(f, k)
	small := cube + (float32(k*ln2Low) + low/u) + lost
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
func logOf(f, k, correction float32) float32 {
	sum, lost, cube := logParts(f, k)
	return sum + (lost + (cube + (float32(k*ln2Low) + correction)))
}

// logParts is logOf without its smallest terms, as a sum of three numbers, the first of
// which is nearly all of it.
//
//	log(1+f) = f - ½f² + f³·P(f)
//
// The first two terms and k·ln 2 are added with their rounding errors, which
// join the small terms.
func logParts(f, k float32) (sum, lost, cube float32) {
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
	sum = whole + s
	return sum, rest + ((whole - sum) + s), float32(p * float32(float32(f*f)*f))
}
