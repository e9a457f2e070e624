package update_test

import (
	"testing"

	"github.com/lockstep-go/lockstep/kernels"
)

// TestSetTable has an optimizer take another table after each step, with the bits of one
// that keeps its own.
func TestSetTable(t *testing.T) {
	o, p, g := newSet(t, []int{5, 7000}, plainAdam)
	want, q, _ := newSet(t, []int{5, 7000}, plainAdam)
	if o.Table() != kernels.Active() {
		t.Errorf("the table is %v, and %v the active one", o.Table(), kernels.Active())
	}
	for _, table := range kernels.Available() {
		must(t, o.SetTable(table))
		if o.Table() != table {
			t.Errorf("the table is %v, not %v", o.Table(), table)
		}
		must(t, o.StepSet(p, g))
		must(t, want.StepSet(q, g))
	}
	for k := range p {
		if !sameBits(p[k], q[k]) {
			t.Errorf("tensor %s differs", name(k))
		}
	}
	wantArg(t, "no table", o.SetTable(255), "t")
}
