package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// defineLoss defines two kernels of one loss of predictions x and targets y:
// both store the gradient, slope·scale, and sum the losses; the second, named
// Each, stores the losses too.
func defineLoss(name string, formula func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value)) {
	define := func(name string, stores bool) {
		All.Define(name, func(r *rule.Rule) {
			grad := r.Buffer("grad")
			var each rule.Value
			if stores {
				each = r.Buffer("each")
			}
			x, y := r.Buffer("x"), r.Buffer("y")
			scale := r.Scalar("scale")
			loss, slope := formula(r, x, y)
			grad.Set(slope.Mul(scale))
			if stores {
				each.Set(loss)
			}
			r.Sum("sum", loss)
		})
	}
	define(name, false)
	define(name+"Each", true)
}

func init() {
	// (x - y)²
	defineLoss("MSE", func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		d := x.Sub(y)
		return d.Mul(d), d.Add(d)
	})

	// max(h, 0), h = 1 - label·x
	defineLoss("Hinge", func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		label, h := margin(r, x, y)
		loss = r.Const(0).Max(h)
		return loss, r.Const(0).Less(h).Select(label.Neg(), loss)
	})

	// max(h, 0)²
	defineLoss("SquaredHinge", func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		label, h := margin(r, x, y)
		positive := r.Const(0).Max(h)
		return positive.Mul(positive), label.Mul(positive).Mul(r.Const(-2))
	})

	// -y·log x - (1-y)·log(1-x), the logarithms not below -100
	defineLoss("BCE", func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		one, least := r.Const(1), r.Const(-100)
		rest := one.Sub(x)
		yes := y.Mul(least.Max(log(r, x)))
		no := one.Sub(y).Mul(least.Max(log1p(r, x.Neg())))
		return yes.Add(no).Neg(), x.Sub(y).Div(r.Const(1e-12).Max(rest.Mul(x)))
	})

	// -y·log q - (1-y)·log(1-q), q = x clipped to [low, high]
	defineLoss("BCEClip", func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		zero, one := r.Const(0), r.Const(1)
		low, high := r.Const(1e-7), r.Const(1-1e-7)
		q := high.Min(low.Max(x))
		rest := one.Sub(q)
		yes := y.Mul(log(r, q))
		no := one.Sub(y).Mul(log(r, rest))
		inside := q.Sub(y).Div(rest.Mul(q))
		return yes.Add(no).Neg(), x.Less(low).Select(zero, high.Less(x).Select(zero, inside))
	})

	// weight·log(1 + e^-|x|) + (x < 0 ? -positive·y·x : (1-y)·x)
	defineLoss("BCEWithLogits", func(r *rule.Rule, x, y rule.Value) (loss, slope rule.Value) {
		positive := r.Scalar("positive")
		zero, one := r.Const(0), r.Const(1)
		e := exp(r, x.Abs().Neg())
		weight := y.Mul(positive.Sub(one)).Add(one)
		yes := y.Mul(positive)
		negative := x.Less(zero)
		linear := negative.Select(yes.Mul(x.Neg()), one.Sub(y).Mul(x))
		sigmoid := negative.Select(e, one).Div(e.Add(one))
		return weight.Mul(log1p(r, e)).Add(linear), weight.Mul(sigmoid).Sub(yes)
	})
}

// margin is the label, y·labelScale + labelShift, and 1 - label·x.
func margin(r *rule.Rule, x, y rule.Value) (label, h rule.Value) {
	labelScale, labelShift := r.Scalar("labelScale"), r.Scalar("labelShift")
	label = y.Mul(labelScale).Add(labelShift)
	return label, r.Const(1).Sub(label.Mul(x))
}

// Exp, Log, Log1p and Sqrt are the elementary functions over a buffer.
var (
	Exp = All.Define("Exp", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(exp(r, x))
	})
	Log = All.Define("Log", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(log(r, x))
	})
	Log1p = All.Define("Log1p", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(log1p(r, x))
	})
	Sqrt = All.Define("Sqrt", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(x.Sqrt())
	})
)
