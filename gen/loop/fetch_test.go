package loop

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestFetches follows the prefetches of a list: at each tensor the first lines of all
// buffers of the one that is so many further on, as long as there is one.
func TestFetches(t *testing.T) {
	const line = 64
	for name, m := range machines {
		for _, r := range []*rule.Rule{rules.SGD, rules.Adam, rules.SumSquares} {
			plan := m.plans(r)[0]
			plan.resident = 99
			p := lower(roundStores(r), m, m.choice(r, 0, plan))
			rng := rand.New(rand.NewPCG(1, 2))
			for n := range 18 { // of 1 to 9 tensors, with usual scalars and others
				x := newRun(r, m, n, rng)
				x.run(p)
				var want []int64
				for k := tune.FetchAhead; k < len(x.at); k++ {
					for _, buffer := range x.at[k] {
						for j := range tune.FetchLines {
							want = append(want, buffer+int64(line*j))
						}
					}
				}
				if !slices.Equal(x.fetched, want) {
					t.Fatalf("%s, %s: of %d tensors %d lines are fetched, want %d", r.Name, name, len(x.at), len(x.fetched), len(want))
				}
			}
		}
	}
}
