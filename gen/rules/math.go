package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// The elementary functions have the operations of package fallback, which
// explains them, in the same order.
const (
	ln2High = 0x1.62e4p-1
	ln2Low  = 0x1.7f7d1cp-20

	infinity         = 0x7f800000
	negativeInfinity = 0xff800000
	nan              = 0x7fc00000
)

// exp is e^x.
func exp(r *rule.Rule, x rule.Value) rule.Value {
	x = r.Const(89).Min(r.Const(-104).Max(x))
	integer := r.Const(0x1.8p23)
	shifted := x.Mul(r.Const(0x1.715476p0)).Add(integer)
	n := shifted.Sub(integer)
	high, low := x.Sub(n.Mul(r.Const(ln2High))), n.Mul(r.Const(ln2Low))
	y := high.Sub(low)
	rest := high.Sub(y).Sub(low)

	p := polynomial(r, y, 0x1.6a1ed6p-10, 0x1.123d2p-7, 0x1.555906p-5, 0x1.55548ep-3, 0x1.fffffcp-2)
	one := r.Const(1)
	y = one.Add(y.Add(p.Mul(y.Mul(y)).Add(rest)))

	k := shifted.SubInt(integer)
	half := k.ShiftArith(1)
	return y.Mul(power(r, half)).Mul(power(r, k.SubInt(half)))
}

// power is 2ᵏ for an integer k.
func power(r *rule.Rule, k rule.Value) rule.Value {
	return k.AddInt(r.Bits(127)).ShiftLeft(23)
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
	h := r.Const(0.5).Mul(f).Mul(f)
	s := f.Sub(h)
	rest := f.Sub(s).Sub(h)

	p := polynomial(r, f, 0x1.144d96p-4, -0x1.de46e8p-4, 0x1.e6fa7ep-4, -0x1.fc2124p-4, 0x1.2336bap-3, -0x1.555c4cp-3, 0x1.99a4bcp-3, -0x1.000006p-2, 0x1.555548p-2)

	whole := k.Mul(r.Const(ln2High))
	sum := whole.Add(s)
	lost := whole.Sub(sum).Add(s)
	small := p.Mul(f.Mul(f).Mul(f)).Add(k.Mul(r.Const(ln2Low)).Add(correction))
	return sum.Add(rest.Add(lost).Add(small))
}

// polynomial is a polynomial of x by Horner's rule, its highest coefficient
// first.
func polynomial(r *rule.Rule, x rule.Value, coefficients ...float32) rule.Value {
	p := r.Const(coefficients[0])
	for _, c := range coefficients[1:] {
		p = p.Mul(x).Add(r.Const(c))
	}
	return p
}
