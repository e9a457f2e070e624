package checkpoint

import (
	"path/filepath"
	"testing"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

// TestRowsOfPython has state by row after the steps that the tests of Python take too, whose
// file has the same bits of it.
func TestRowsOfPython(t *testing.T) {
	tensors := []update.Tensor{{Name: "table", Size: 35, Columns: 5}, {Name: "bias", Size: 5, Rule: 1}}
	r := newRun(t, tensors, textbook.RowwiseAdam(.125), textbook.RowwiseAdaGrad(.125))
	of := func(a, b, n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32((i*a+b)%11-5) / 8
		}
		return x
	}
	r.params = [][]float32{of(3, 0, 35), of(3, 0, 5)}
	for step := range 5 {
		must(t, r.StepSet(r.params, [][]float32{of(5, step, 35), of(5, step, 5)}))
	}
	path := filepath.Join(t.TempDir(), "state")
	must(t, Save(path, r.Optimizer, Options{Shapes: map[string][]int{"table": {7, 5}}}))
	golden(t, path, "testdata/go_rows.safetensors")

	want := state(t, r.Optimizer)
	must(t, r.StepSet(r.params, [][]float32{of(1, 0, 35), of(1, 0, 5)}))
	_, err := Load("testdata/python_rows.safetensors", r.Optimizer)
	must(t, err)
	if got := state(t, r.Optimizer); got != want {
		t.Errorf("from Python %s\nwant %s", got, want)
	}
}
