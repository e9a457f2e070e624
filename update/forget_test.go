package update_test

import (
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/lockstep-go/lockstep/update"
)

// TestForget has no step keep the buffers of large tensors alive.
func TestForget(t *testing.T) {
	var table *update.Optimizer
	for _, n := range []int{10_000, 600_000} {
		for name, step := range map[string]func(o *update.Optimizer, p, g []float32) error{
			"StepSet": func(o *update.Optimizer, p, g []float32) error {
				return o.StepSet([][]float32{p, nil}, [][]float32{g, nil})
			},
			"a norm": func(o *update.Optimizer, p, g []float32) error {
				return errors.Join(o.SetMaxNorm(1), o.StepSet([][]float32{p, nil}, [][]float32{g, nil}))
			},
			"Apply": func(o *update.Optimizer, p, g []float32) error {
				return errors.Join(o.Begin(), o.Apply(0, 0, p, g), o.End())
			},
			"StepRows": func(_ *update.Optimizer, p, g []float32) (err error) {
				table, err = update.NewSet([]update.Tensor{{Size: n, Columns: n / 1000}}, plainAdam)
				indices := make([]int32, 1000)
				for k := range indices {
					indices[k] = int32(k) &^ 1
				}
				return errors.Join(err, table.SetMaxNorm(1), update.StepRows(table, p, indices, g))
			},
		} {
			o, _, _ := newSet(t, []int{n, 0}, plainAdam)
			p, g := make([]float32, n), make([]float32, n)
			params, grads := weak.Make(&p[0]), weak.Make(&g[0])
			must(t, step(o, p, g))
			p, g = nil, nil
			// A helper lets go when it finds no more work, which may be after the step.
			for since := time.Now(); params.Value() != nil || grads.Value() != nil; runtime.GC() {
				if time.Since(since) > time.Minute {
					t.Errorf("%s of %d elements keeps its buffers", name, n)
					break
				}
			}
			runtime.KeepAlive(o)
			runtime.KeepAlive(table)
		}
	}
}
