package rules

import (
	"math"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// The elementary functions have the operations of package fallback, which
// explains them, in the same order.
const (
	ln2High = 0x1.62e4p-1
	ln2Low  = 0x1.7f7d1cp-20

	infinity         = 0x7f800000
	negativeInfinity = 0xff800000
	nan              = 0x7fc00000
)

// The elementary functions over a buffer.
var (
	Exp      = function("Exp", "e^x", exp)
	Expm1    = function("Expm1", "e^x - 1", expm1)
	Log      = function("Log", "log x", log)
	Log1p    = function("Log1p", "log(1 + x)", log1p)
	Sigmoid  = function("Sigmoid", "1/(1 + e^-x)", sigmoid)
	Softplus = function("Softplus", "log(1 + e^x)", softplus)
	Sqrt     = function("Sqrt", "√x", func(_ *rule.Rule, x rule.Value) rule.Value { return x.Sqrt() })
	Tanh     = function("Tanh", "tanh x", tanh)
)

// function defines the kernel of an elementary function.
func function(name, formula string, f func(r *rule.Rule, x rule.Value) rule.Value) *rule.Rule {
	return All.Define(name, "\n\ty ← "+formula, func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(f(r, x))
	})
}

// exp is e^x.
func exp(r *rule.Rule, x rule.Value) rule.Value {
	shifted, high, k := quotient(r, r.Const(89).Min(r.Const(-104).Max(x)), 254)
	low := r.Const(ln2Low)
	y := r.Const(1).Add(high.Add(k.FNMA(low, series(r, k.FNMA(low, high)))))

	half := shifted.ShiftRight(1)
	return y.Mul(power(half)).Mul(power(shifted.SubInt(half)))
}

// quotient is the integer k next to x/ln 2, also with a bias, and what x has beside
// k·ln2High.
func quotient(r *rule.Rule, x rule.Value, bias float32) (shifted, high, k rule.Value) {
	integer := r.Const(0x1.8p23 + bias)
	shifted = x.FMA(r.Const(0x1.715476p0), integer)
	k = shifted.Sub(integer)
	return shifted, k.FNMA(r.Const(ln2High), x), k
}

// series is e^y - 1 - y.
func series(r *rule.Rule, y rule.Value) rule.Value {
	return polynomial(r, y, exponential...).Mul(y.Mul(y))
}

// mirrored is series of -y.
func mirrored(r *rule.Rule, y rule.Value) rule.Value {
	return polynomial(r, y, alternating(exponential)...).Mul(y.Mul(y))
}

// The polynomials of series and of cubic, their highest coefficients first.
var (
	exponential = []float32{0x1.6a1ed6p-10, 0x1.123d2p-7, 0x1.555906p-5, 0x1.55548ep-3, 0x1.fffffcp-2}
	third       = []float32{0x1.9e6c8cp-13, 0x1.6d3a56p-10, 0x1.1112dap-7, 0x1.5554f8p-5, 0x1.555554p-3}
)

// alternating is a polynomial of -x.
func alternating(coefficients []float32) []float32 {
	list := slices.Clone(coefficients)
	for k := len(list) - 2; k >= 0; k -= 2 {
		list[k] = -list[k]
	}
	return list
}

// cubic is (e^y - 1 - y - ½y²)/y³.
func cubic(r *rule.Rule, y rule.Value) rule.Value {
	return polynomial(r, y, third...)
}

// power is 2ᵏ for an integer that ends in the nine bits of k + 127.
func power(k rule.Value) rule.Value { return k.ShiftLeft(23) }

// signed is y with the sign of x.
func signed(r *rule.Rule, y, x rule.Value) rule.Value { return y.Or(x.And(r.Bits(1 << 31))) }

// minusAbs is -|x|.
func minusAbs(r *rule.Rule, x rule.Value) rule.Value { return x.Or(r.Bits(1 << 31)) }

// sigmoid is 1/(1 + e^-x).
func sigmoid(r *rule.Rule, x rule.Value) rule.Value {
	one, least, ln2 := r.Const(1), r.Const(0x1p-64), r.Const(ln2Low)
	shifted, high, k := quotient(r, r.Const(18).Min(r.Const(-104).Max(x)), 127+64)
	p := power(shifted)
	a := p.Mul(least)
	s := k.FMA(ln2, mirrored(r, k.FNMA(ln2, high)))
	m := one.Add(s.Sub(high))

	d := a.Add(m)
	part := d.Sub(a)
	rest := a.Sub(d.Sub(part)).Add(one.Sub(part).Sub(high).Add(s))
	inverse := one.Div(d)
	left := inverse.FNMA(rest, inverse.FNMA(d, one))
	return left.FMA(inverse, inverse).Mul(p).Mul(least)
}

// tanh is (e^2|x| - 1)/(e^2|x| + 1) with the sign of x.
func tanh(r *rule.Rule, x rule.Value) rule.Value {
	one, ln2 := r.Const(1), r.Const(ln2Low)
	z := r.Const(-9.0625).Max(minusAbs(r, x))
	shifted, high, k := quotient(r, z.Add(z), 127)
	a := power(shifted)
	y := k.FNMA(ln2, high)
	cube := polynomial(r, y, alternating(third)...)
	s := k.FMA(ln2, y.FNMA(cube, r.Const(.5)).Mul(y.Mul(y)))

	c := one.Sub(a)
	n := c.Sub(high)
	low := c.Sub(n).Sub(high).Add(s).Add(one.Sub(c).Sub(a))
	whole := n.Add(low)
	d := whole.Add(a.Add(a))
	rest := one.Sub(d).Add(a).Sub(high).Add(s)
	inverse := one.Div(d)
	q := whole.Mul(inverse)
	left := q.FNMA(rest, q.FNMA(d, n).Add(low))
	return signed(r, left.FMA(inverse, q), x)
}

// expm1 is e^x - 1.
func expm1(r *rule.Rule, x rule.Value) rule.Value {
	one, ln2 := r.Const(1), r.Const(ln2Low)
	shifted, high, k := quotient(r, r.Const(89).Min(r.Const(-17.375).Max(x)), 126)
	y := k.FNMA(ln2, high)
	square := y.Mul(y)
	half := square.Mul(r.Const(.5))
	a := power(r.Bits(126 + 127 + 64).SubInt(shifted)).Mul(r.Const(0x1p-64))
	c := one.Sub(a)
	n := c.Add(high)
	whole := n.Add(half)
	lost := one.Sub(c).Sub(a).Add(c.Sub(n).Add(high).Add(n.Sub(whole).Add(half)))
	y = whole.Add(cubic(r, y).FMA(square.Mul(y), k.FNMA(ln2, lost)))
	return signed(r, y.Add(y).Mul(power(shifted)), x)
}

// softplus is max(x, 0) + log(1 + e^-|x|).
func softplus(r *rule.Rule, x rule.Value) rule.Value {
	zero, one, least := r.Const(0), r.Const(1), r.Const(0x1p-64)
	shifted, high, k := quotient(r, r.Const(-104).Max(minusAbs(r, x)), 127+64)
	p, ln2 := power(shifted), r.Const(ln2Low)
	s := k.FNMA(ln2, series(r, k.FNMA(ln2, high)))
	m := one.Add(high.Add(s))
	e := m.Mul(p).Mul(least)
	low := one.Sub(m).Add(high).Add(s).Mul(p).Mul(least)

	u := one.Add(e)
	k, f := exponent(r, u)
	direct := k.Equal(zero)
	f = direct.Select(e, f.Sub(one))
	low = direct.Select(low, one.Sub(u).Add(e).Add(low))
	sum, small := logParts(r, f, k, low.Div(u))
	x = zero.Max(x)
	larger, smaller := x.Max(sum), sum.Min(x)
	y := larger.Add(smaller)
	finite := r.Const(math.MaxFloat32).Min(y)
	return small.Add(larger.Sub(finite).Add(smaller)).Add(y)
}

// log is the natural logarithm of x.
func log(r *rule.Rule, x rule.Value) rule.Value {
	zero, small := r.Const(0), x.Less(r.Const(0x1p-126))
	k, m := exponent(r, small.Select(x.Mul(r.Const(0x1p23)), x))
	y := logOf(r, m.Sub(r.Const(1)), k.Add(small.Select(r.Const(-23), zero)), zero)
	y = x.Equal(r.Bits(infinity)).Select(x, y)
	return zero.Less(x).Select(y, x.Equal(zero).Select(r.Bits(negativeInfinity), r.Bits(nan)))
}

// cbrt is the cube root of x ≥ 0.
func cbrt(r *rule.Rule, x rule.Value) rule.Value {
	small, third, integer := x.Less(r.Const(0x1p-126)), r.Const(1./3), r.Const(0x1.8p23)
	z := small.Select(x.Mul(r.Const(0x1p24)), x)
	y := z.FromInt().Mul(r.Const(0x1p-8 / 3)).Add(integer).SubInt(integer).ShiftLeft(8).AddInt(r.Bits(0x2a5119f2))
	for range 3 {
		y = y.Sub(y.Sub(z.Div(y.Mul(y))).Mul(third))
	}
	y = small.Select(y.Mul(r.Const(0x1p-8)), y)
	return x.Add(x).Equal(x).Select(x, y)
}

// log1p is the natural logarithm of 1 + x.
func log1p(r *rule.Rule, x rule.Value) rule.Value {
	zero, one, minusOne := r.Const(0), r.Const(1), r.Const(-1)
	u := one.Add(x)
	part := u.Sub(one)
	e := one.Sub(u.Sub(part)).Add(x.Sub(part))
	k, m := exponent(r, u)
	direct := k.Equal(zero)
	y := logOf(r, direct.Select(x, m.Sub(one)), k, direct.Select(zero, e.Div(u)))
	y = x.Add(x).Equal(x).Select(x, y)
	return minusOne.Less(x).Select(y, x.Equal(minusOne).Select(r.Bits(negativeInfinity), r.Bits(nan)))
}

// exponent splits a normal x into 2ᵏ·m with m in [√½, √2).
func exponent(r *rule.Rule, x rule.Value) (k, m rule.Value) {
	sqrtHalf := r.Bits(0x3f3504f3)
	i := x.SubInt(sqrtHalf)
	return i.ShiftArith(23).FromInt(), i.And(r.Bits(1<<23 - 1)).AddInt(sqrtHalf)
}

// logOf is k·ln 2 + log(1+f) + correction.
func logOf(r *rule.Rule, f, k, correction rule.Value) rule.Value {
	sum, small := logParts(r, f, k, correction)
	return sum.Add(small)
}

// logParts is logOf as a sum of two numbers, the first of which is nearly all of it.
func logParts(r *rule.Rule, f, k, correction rule.Value) (sum, small rule.Value) {
	small = k.FMA(r.Const(ln2Low), correction)
	half := r.Const(0.5).Mul(f)
	s := half.FNMA(f, f)
	rest := half.FNMA(f, f.Sub(s))

	p := polynomial(r, f, 0x1.144d96p-4, -0x1.de46e8p-4, 0x1.e6fa7ep-4, -0x1.fc2124p-4, 0x1.2336bap-3, -0x1.555c4cp-3, 0x1.99a4bcp-3, -0x1.000006p-2, 0x1.555548p-2)

	whole := k.Mul(r.Const(ln2High))
	sum = whole.Add(s)
	lost := rest.Add(whole.Sub(sum).Add(s))
	return sum, lost.Add(p.FMA(f.Mul(f).Mul(f), small))
}

// polynomial is a polynomial of x by Horner's rule, its highest coefficient
// first.
func polynomial(r *rule.Rule, x rule.Value, coefficients ...float32) rule.Value {
	p := r.Const(coefficients[0])
	for _, c := range coefficients[1:] {
		p = p.FMA(x, r.Const(c))
	}
	return p
}
