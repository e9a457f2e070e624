package update_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// bubbled calls f in a testing/synctest bubble, or outside.
func bubbled(t *testing.T, within bool, f func()) {
	t.Helper()
	if within {
		synctest.Test(t, func(*testing.T) { f() })
	} else {
		f()
	}
}

// TestBubbles takes steps of two workers in testing/synctest bubbles and outside, in every
// order, with optimizers that were made on either side.
func TestBubbles(t *testing.T) {
	sizes := []int{tune.ApartLen, tune.ApartLen + 1, 4 * tune.ApartLen}
	if testing.Short() || os.Getenv("LOCKSTEP_EMULATED") != "" {
		sizes = sizes[:1]
	}
	lamb := update.LAMB{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-6}
	for _, n := range sizes {
		for order := range 16 {
			within := func(turn int) bool { return order>>turn&1 == 1 }
			t.Run(fmt.Sprintf("%d, order %04b", n, order), func(t *testing.T) {
				plain, params, grads := newSet(t, []int{n, 100}, plainAdam, lamb)
				must(t, plain.SetWorkers(1))
				var o *update.Optimizer
				var copied [][]float32
				bubbled(t, within(0), func() {
					o, copied, _ = newSet(t, []int{n, 100}, plainAdam, lamb)
					must(t, o.SetWorkers(2))
				})
				for turn := 1; turn < 4; turn++ {
					bubbled(t, within(turn), func() {
						for range 3 {
							must(t, o.StepSet(copied, grads))
						}
						must(t, o.SetMaxNorm(float64(turn)))
					})
					for range 3 {
						must(t, plain.StepSet(params, grads))
					}
					must(t, plain.SetMaxNorm(float64(turn)))
				}
				for k := range params {
					wantEqual(t, name(k), o, plain, k, k, copied[k], params[k])
				}
			})
		}
	}
}
