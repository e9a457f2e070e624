package schedule

import "math"

// These functions are made of operations that IEEE 754 rounds in one way, each of them
// explicitly, because Go promises the bits of math.Pow, Exp, Log and Cos for no two CPUs
// alike. They are within four units in the last place, so that a float32 shows an error
// about once in 10⁸ values.

// ln2High has so few bits that its products with exponents are exact.
const (
	ln2High = 0xb17217f7p-32
	ln2Low  = math.Ln2 - ln2High
)

// exp is eˣ, by its series around a multiple of log 2.
func exp(x float64) float64 {
	switch {
	case x > 710:
		return math.Inf(1)
	case x < -750:
		return 0
	}
	k := math.Floor(float64(x*math.Log2E) + .5)
	r := (x - float64(k*ln2High)) - float64(k*ln2Low)
	s := 1.0
	for n := 14.0; n > 0; n-- {
		s = 1 + float64(r*s)/n
	}
	return math.Ldexp(s, int(k))
}

// log is the logarithm of a number above 0, by the series 2(f + f³/3 + f⁵/5 + ...) of
// f = (m-1)/(m+1) for its mantissa m.
func log(x float64) float64 {
	m, exponent := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, exponent = 2*m, exponent-1
	}
	f := (m - 1) / (m + 1)
	f2, s, e := float64(f*f), 0.0, float64(exponent)
	for n := 23.0; n > 0; n -= 2 {
		s = 1/n + float64(f2*s)
	}
	return float64(e*ln2High) + (float64(e*ln2Low) + float64(2*f*s))
}

// power is xʸ of x and y that are at least 0. Small whole y are products; else a unit in the
// last place of the logarithm counts as often as the logarithm of the result is large.
func power(x, y float64) float64 {
	const most = 8
	if y <= most && y == math.Floor(y) {
		product := 1.0
		for range int(y) {
			product *= x
		}
		return product
	}
	if x == 0 {
		return 0
	}
	return exp(float64(y * log(x)))
}

// fall is ½(1 + cos πx), half a wave from 1 to 0, for x from 0 to 1. It is the square of
// cos ½πx, which loses nothing near 0.
func fall(x float64) float64 {
	if x > .5 {
		root := sine(float64((1 - x) * (math.Pi / 2)))
		return float64(root * root)
	}
	root := cosine(float64(x * (math.Pi / 2)))
	return float64(root * root)
}

// cosine and sine are those of up to π/4.
func cosine(a float64) float64 {
	a2, s := float64(a*a), 1.0
	for n := 18.0; n > 0; n -= 2 {
		s = 1 - float64(a2*s)/(n*(n-1))
	}
	return s
}

func sine(a float64) float64 {
	a2, s := float64(a*a), 1.0
	for n := 19.0; n > 1; n -= 2 {
		s = 1 - float64(a2*s)/(n*(n-1))
	}
	return float64(a * s)
}
