// Package rules holds the rules, one file each. All is what is generated.
package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// All is every rule; a file adds its own when it defines it.
var All rule.Set

// soft is the soft threshold, the proximal operator of t|u|: u pulled towards
// zero by t, and zero within.
func soft(u, t rule.Value) rule.Value {
	return u.Sub(t.Neg().Max(u).Min(t))
}

// prox is the proximal operator of rate·(l1|u| + ½l2·u²).
func prox(s *rule.Step, u, rate, l1, l2 rule.Value) rule.Value {
	return soft(u, rate.Mul(l1)).Div(rate.Mul(l2).Add(s.Const(1)))
}

// signTimes is t times the sign of x, which is x itself for zeros and NaN.
func signTimes(r *rule.Rule, x, t rule.Value) rule.Value {
	zero := r.Const(0)
	return zero.Less(x).Select(t, x.Less(zero).Select(t.Neg(), x))
}
