package loop

import (
	"math/rand/v2"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// TestBeyond sums products of which one factor is infinite where a buffer's elements are
// 0, as they seem beyond its end, where the other factor is 0.
func TestBeyond(t *testing.T) {
	r := new(rule.Set).Define("Quotients", "", func(r *rule.Rule) {
		x, y := r.Buffer("x"), r.Buffer("y")
		r.Dot("dot", x, r.Const(1).Div(y))
		r.Dot("other", r.Const(1).Div(x), y)
	})
	for name, m := range machines {
		rng := rand.New(rand.NewPCG(1, 3))
		for k, plan := range m.plans(r) {
			plan.resident = 99
			p := lower(r, m, m.choice(r, k, plan))
			for n := range 30 {
				newRun(r, m, n, rng).compare(t, name, p)
			}
		}
	}
}
