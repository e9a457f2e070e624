package rules

import (
	"math"

	"github.com/lockstep-go/lockstep/gen/rule"
)

func init() {
	defineLoss("Huber", `
	d = x - y, a = |d|, t = (a < limit ? a·slope : ceiling)·(d > 0 ? up : down)
	loss = t·(a - ½min(a, limit)), slope = t·sign(d)`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		limit, steep, ceiling, up, down := r.Scalar("limit"), r.Scalar("slope"), r.Scalar("ceiling"), r.Scalar("up"), r.Scalar("down")
		d := x.Sub(y)
		a := d.Abs()
		near := limit.Min(a)
		t := a.Less(limit).Select(a.Mul(steep), ceiling).Mul(r.Const(0).Less(d).Select(up, down))
		return t.Mul(a.Sub(near.Mul(r.Const(.5)))), signTimes(r, d, t)
	})

	defineLoss("LogCosh", `
	d = x - y, a = |d|, n = e^-2a - 1
	loss = a < ½ ? ½log(1 + ¼n²/(1 + n)) : a - log 2 + log(1 + (1 + n)), slope = sign(d)·(-n)/(n + 2)`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		half := r.Const(.5)
		d := x.Sub(y)
		a := d.Abs()
		n := expm1(r, a.Add(a).Neg())
		u := n.Add(r.Const(1))
		small := a.Less(half)
		part := log1p(r, small.Select(n.Mul(n).Mul(r.Const(.25)).Div(u), u))
		loss = small.Select(part.Mul(half), a.Sub(r.Const(math.Ln2)).Add(part))
		return loss, signed(r, n.Neg().Div(n.Add(r.Const(2))), d)
	})

	All.Define("PoissonNLL", `
	z = rate + eps, stirling = y > above ? (y + ½)·logY - y + ½log 2π : 0
	grad ← (z - y)/(divide = 0 ? 1 : z)·scale, each ← rate - y·log + stirling, sum += each`, func(r *rule.Rule) {
		grad, each, rate, y, log, logY := r.Buffer("grad"), r.Buffer("each"), r.Buffer("rate"), r.Buffer("y"), r.Buffer("log"), r.Buffer("logY")
		scale, eps, divide, above := r.Scalar("scale"), r.Scalar("eps"), r.Scalar("divide"), r.Scalar("above")
		zero, half := r.Const(0), r.Const(.5)
		z := rate.Add(eps)
		slope := z.Sub(y).Div(divide.Equal(zero).Select(r.Const(1), z))
		stirling := y.Add(half).Mul(logY).Sub(y).Add(r.Const(halfLog2Pi))
		loss := rate.Sub(weighted(r, y, log)).Add(above.Less(y).Select(stirling, zero))
		grad.Set(slope.Mul(scale))
		each.Set(loss)
		r.Sum("sum", loss)
	})

	All.Define("GaussianNLL", `
	d = x - y, v = max(var, least), q = d/v
	grad ← q·scale, gradVar ← ½(1 - d·q)/v·scale, each ← ½(max(log, logLeast) + d·q) + constant, sum += each`, func(r *rule.Rule) {
		grad, gradVar, each := r.Buffer("grad"), r.Buffer("gradVar"), r.Buffer("each")
		x, y, variance, log := r.Buffer("x"), r.Buffer("y"), r.Buffer("variance"), r.Buffer("log")
		scale, least, logLeast, constant := r.Scalar("scale"), r.Scalar("least"), r.Scalar("logLeast"), r.Scalar("constant")
		half := r.Const(.5)
		d, v := x.Sub(y), least.Max(variance)
		q := d.Div(v)
		square := d.Mul(q)
		loss := log.Max(logLeast).Add(square).Mul(half).Add(constant)
		grad.Set(q.Mul(scale))
		gradVar.Set(half.Sub(square.Mul(half)).Div(v).Mul(scale))
		each.Set(loss)
		r.Sum("sum", loss)
	})

	All.Define("KLDivergence", `
	grad ← -y·scale, each ← y·(log - x), sum += each`, func(r *rule.Rule) {
		grad, each, x, y, log := r.Buffer("grad"), r.Buffer("each"), r.Buffer("x"), r.Buffer("y"), r.Buffer("log")
		scale := r.Scalar("scale")
		loss := weighted(r, y, log.Sub(x))
		grad.Set(y.Neg().Mul(scale))
		each.Set(loss)
		r.Sum("sum", loss)
	})

	All.Define("FocalParts", `
	p = σ(x)
	wrong ← y·(1-p) + (1-y)·p, bend ← (1-2y)·p·(1-p)/wrong`, func(r *rule.Rule) {
		wrong, bend, x, y := r.Buffer("wrong"), r.Buffer("bend"), r.Buffer("x"), r.Buffer("y")
		no := r.Const(1).Sub(y)
		s := sidesOf(r, x)
		v := r.Const(0x1p-126).Max(y.Mul(s.unlike).Add(no.Mul(s.like)))
		wrong.Set(v)
		bend.Set(no.Sub(y).Mul(s.like.Mul(s.unlike).Div(v)))
	})

	All.Define("Focal", `
	m = wrong^gamma, alpha = alphaYes·y + alphaNo·(1-y)
	grad ← m·alpha·(grad + gamma·bend·each)·scale, each ← m·alpha·each, sum += each`, func(r *rule.Rule) {
		grad, each, y, wrong, bend := r.Buffer("grad"), r.Buffer("each"), r.Buffer("y"), r.Buffer("wrong"), r.Buffer("bend")
		scale, gamma, alphaYes, alphaNo := r.Scalar("scale"), r.Scalar("gamma"), r.Scalar("alphaYes"), r.Scalar("alphaNo")
		alpha := y.Mul(alphaYes).Add(r.Const(1).Sub(y).Mul(alphaNo))
		m := pow(r, wrong, gamma)
		loss := m.Mul(weighted(r, alpha, each))
		grad.Set(m.Mul(alpha.Mul(grad.Add(weighted(r, bend.Mul(gamma), each)))).Mul(scale))
		each.Set(loss)
		r.Sum("sum", loss)
	})

	All.Define("Weigh", `
	grad ← grad·w, each ← each·w, sum += each; 0 where w is`, func(r *rule.Rule) {
		grad, each, w := r.Buffer("grad"), r.Buffer("each"), r.Buffer("w")
		loss := weighted(r, w, each)
		grad.Set(weighted(r, w, grad))
		each.Set(loss)
		r.Sum("sum", loss)
	})
}

const halfLog2Pi = 0.918938533204672741780329736406

// weighted is a product that is 0 where the weight is.
func weighted(r *rule.Rule, weight, x rule.Value) rule.Value {
	return weight.Equal(r.Const(0)).Select(weight, weight.Mul(x))
}

// sides are what a cross-entropy needs of a logit, for either class.
type sides struct {
	positive, negative rule.Value // log(1 + e^x), log(1 + e^-x)
	like, unlike       rule.Value // σ(x), σ(-x)
}

func sidesOf(r *rule.Rule, x rule.Value) sides {
	one := r.Const(1)
	e := exp(r, x.Abs().Neg())
	near := log1p(r, e)
	far := near.Add(x.Abs())
	rest := e.Add(one)
	likely, unlikely := one.Div(rest), e.Div(rest)
	negative := x.Less(r.Const(0))
	return sides{negative.Select(near, far), negative.Select(far, near), negative.Select(unlikely, likely), negative.Select(likely, unlikely)}
}

// loss is the cross-entropy of classes with the weights no and yes, slope its derivative.
func (s sides) loss(r *rule.Rule, no, yes rule.Value) rule.Value {
	return weighted(r, no, s.positive).Add(weighted(r, yes, s.negative))
}

func (s sides) slope(no, yes rule.Value) rule.Value {
	return no.Mul(s.like).Sub(yes.Mul(s.unlike))
}

// pow is x^g for a normal x and a g of at least 0.
func pow(r *rule.Rule, x, g rule.Value) rule.Value {
	k, m := exponent(r, x)
	sum, small := logParts(r, m.Sub(r.Const(1)), k, r.Const(0))
	h := sum.Add(small)
	product := g.Mul(h)
	rest := g.FMA(sum.Sub(h).Add(small), g.FMA(h, product.Neg()))
	y := exp(r, product)
	return y.FMA(rest, y)
}
