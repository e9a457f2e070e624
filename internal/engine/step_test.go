package engine

import (
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestWays takes the same steps by Run, RunSmall and Parts.
func TestWays(t *testing.T) {
	const n = 1000
	var want []uint32
	for name, take := range map[string]func(r *run, g []float32){
		"Run": func(r *run, g []float32) { r.Run(r.params, [][]float32{g}) },
		"RunSmall": func(r *run, g []float32) {
			r.Place(r.params, [][]float32{g}, true)
			r.RunSmall(r.params[0], g)
		},
		"Part": func(r *run, g []float32) {
			var w Worker
			for _, lo := range []int{600, 0} {
				hi := min(n, lo+600)
				r.Part(&w, 0, lo, r.params[0][lo:hi], kernels.TypedOf(g[lo:hi]))
			}
			r.End()
		},
	} {
		r := newRun(proofs["Schedule-Free"], []Tensor{{Size: n}}, Options{LR: .1, WeightDecay: .1}, false)
		for step := range 20 {
			r.Begin(1, nil)
			take(r, r.gradients(step)[0])
		}
		if want == nil {
			want = r.all()
		}
		if !slices.Equal(r.all(), want) {
			t.Errorf("%s: other bits", name)
		}
	}
}

// TestAllocs takes steps of several passes.
func TestAllocs(t *testing.T) {
	r := newRun(proofs["Adafactor"], tensorsOf(tune.ApartLen), Options{LR: .1, L1: .1}, true)
	r.SetWorkers(2)
	grads := r.gradients(3)
	if n := allocs.PerRun(3, func() {
		r.Begin(1, grads)
		r.Run(r.params, grads)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
