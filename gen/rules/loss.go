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
	label = y·labelScale + labelShift
	loss = -label·max(log x, -100) - (1-label)·max(log(1-x), -100)
	slope = (x - label) / max((1-x)·x, 1e-12)`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		y = labelOf(r, y)
		one, least := r.Const(1), r.Const(-100)
		rest := one.Sub(x)
		yes := y.Mul(least.Max(log(r, x)))
		no := one.Sub(y).Mul(least.Max(log1p(r, x.Neg())))
		return yes.Add(no).Neg(), x.Sub(y).Div(r.Const(1e-12).Max(rest.Mul(x)))
	})

	defineLoss("BCEClip", `
	label = y·labelScale + labelShift, q = x clipped to [low, high]
	loss = -label·log q - (1-label)·log(1-q)
	slope = (q - label) / ((1-q)·q), 0 where x is clipped`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		y = labelOf(r, y)
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
	label = y·labelScale + labelShift
	loss = (1-label)·log(1 + e^x) + positive·label·log(1 + e^-x)
	slope = (1-label)·σ(x) - positive·label·σ(-x)`, func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		positive := r.Scalar("positive")
		label := labelOf(r, y)
		no, yes := r.Const(1).Sub(label), label.Mul(positive)
		s := sidesOf(r, x)
		return s.loss(r, no, yes), s.slope(no, yes)
	})
}

// labelOf is y·labelScale + labelShift.
func labelOf(r *rule.Rule, y rule.Value) rule.Value {
	labelScale, labelShift := r.Scalar("labelScale"), r.Scalar("labelShift")
	return y.Mul(labelScale).Add(labelShift)
}

// margin is the label and 1 - label·x.
func margin(r *rule.Rule, x, y rule.Value) (label, h rule.Value) {
	label = labelOf(r, y)
	return label, r.Const(1).Sub(label.Mul(x))
}
