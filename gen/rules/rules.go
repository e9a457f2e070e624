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

// signTimes is -1, 0 or 1 times t ≥ 0 by the sign of x, and 0 for a zero x.
func signTimes(r *rule.Rule, x, t rule.Value) rule.Value {
	return x.Equal(r.Const(0)).Select(r.Const(0), x.And(r.Bits(1<<31)).Xor(t))
}
