package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// defineLoss defines the kernel of a loss of predictions x and targets y: it stores
// the gradient, slope·scale, and each loss, and sums the losses.
func defineLoss(name, doc string, formula func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value)) {
	All.Define(name, doc+"\n\tgrad ← slope·scale, each ← loss, sum += loss", func(r *rule.Rule) {
		grad, each, x, y := r.Buffer("grad"), r.Buffer("each"), r.Buffer("x"), r.Buffer("y")
		scale := r.Scalar("scale")
		loss, slope := formula(r, x, y)
		grad.Set(slope.Mul(scale))
		each.Set(loss)
		r.Sum("sum", loss)
	})
}

// defineSquare defines the kernel of a loss that is the square of a residual. The sum is
// of squares in float64, which holds those that float32 does not.
func defineSquare(name, doc string, formula func(r *rule.Rule, x, y rule.Value) (residual, slope rule.Value)) {
	All.Define(name, doc, func(r *rule.Rule) {
		grad, each, x, y := r.Buffer("grad"), r.Buffer("each"), r.Buffer("x"), r.Buffer("y")
		scale := r.Scalar("scale")
		residual, slope := formula(r, x, y)
		grad.Set(slope.Mul(scale))
		each.Set(residual.Mul(residual))
		r.Dot("sum", residual, residual)
	})
}

func init() {
	defineSquare("MSE", `
	grad ← 2(x - y)·scale, each ← (x - y)², sum += (x - y)²`, func(_ *rule.Rule, x, y rule.Value) (residual, slope rule.Value) {
		d := x.Sub(y)
		return d, d.Add(d)
	})

	defineSquare("SquaredHinge", `
	label = y·labelScale + labelShift, h = max(1 - label·x, 0)
	grad ← -2·label·h·scale, each ← h², sum += h²`, func(r *rule.Rule, x, y rule.Value) (residual, slope rule.Value) {
		label, h := margin(r, x, y)
		h = r.Const(0).Max(h)
		return h, label.Mul(h).Mul(r.Const(-2))
	})

	defineLoss("Hinge", `
	label = y·labelScale + labelShift, h = 1 - label·x
	loss = max(h, 0), slope = h > 0 ? -label : 0`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		label, h := margin(r, x, y)
		loss = r.Const(0).Max(h)
		return loss, r.Const(0).Less(h).Select(label.Neg(), loss)
	})

	defineLoss("BCE", `
	loss = -y·max(log x, -100) - (1-y)·max(log(1-x), -100)
	slope = (x - y) / max((1-x)·x, 1e-12)`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		one, least := r.Const(1), r.Const(-100)
		rest := one.Sub(x)
		yes := y.Mul(least.Max(log(r, x)))
		no := one.Sub(y).Mul(least.Max(log1p(r, x.Neg())))
		return yes.Add(no).Neg(), x.Sub(y).Div(r.Const(1e-12).Max(rest.Mul(x)))
	})

	defineLoss("BCEClip", `
	q = x clipped to [low, high]
	loss = -y·log q - (1-y)·log(1-q)
	slope = (q - y) / ((1-q)·q), 0 where x is clipped`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		zero, one := r.Const(0), r.Const(1)
		low, high := r.Const(1e-7), r.Const(1-1e-7)
		q := high.Min(low.Max(x))
		rest := one.Sub(q)
		yes := y.Mul(log(r, q))
		no := one.Sub(y).Mul(log(r, rest))
		inside := q.Sub(y).Div(rest.Mul(q))
		return yes.Add(no).Neg(), x.Less(low).Select(zero, high.Less(x).Select(zero, inside))
	})

	defineLoss("BCEWithLogits", `
	loss = (1-y)·log(1 + e^x) + positive·y·log(1 + e^-x)
	slope = (1-y)·σ(x) - positive·y·σ(-x)`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		positive := r.Scalar("positive")
		zero, one := r.Const(0), r.Const(1)
		no, yes := one.Sub(y), y.Mul(positive)
		e := exp(r, x.Abs().Neg())
		near := log1p(r, e)
		far := near.Add(x.Abs())
		rest := e.Add(one)
		likely, unlikely := one.Div(rest), e.Div(rest)
		negative := x.Less(zero)
		weighted := func(weight, x rule.Value) rule.Value { return weight.Equal(zero).Select(weight, weight.Mul(x)) }
		loss = weighted(no, negative.Select(near, far)).Add(weighted(yes, negative.Select(far, near)))
		slope = no.Mul(negative.Select(unlikely, likely)).Sub(yes.Mul(negative.Select(likely, unlikely)))
		return loss, slope
	})
}

// margin is the label, y·labelScale + labelShift, and 1 - label·x.
func margin(r *rule.Rule, x, y rule.Value) (label, h rule.Value) {
	labelScale, labelShift := r.Scalar("labelScale"), r.Scalar("labelShift")
	label = y.Mul(labelScale).Add(labelShift)
	return label, r.Const(1).Sub(label.Mul(x))
}
