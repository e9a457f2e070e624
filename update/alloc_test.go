package update

import (
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestStateIsStaggered has parameters and gradients from Alloc.
func TestStateIsStaggered(t *testing.T) {
	o := mustNew(t, 1<<16, rules["amsgrad"])
	buffers := Alloc(1<<16, 2)
	for _, name := range o.Buffers(0) {
		buffers = append(buffers, o.Buffer(0, name))
	}
	places := map[uintptr]bool{}
	for _, b := range buffers {
		places[address(b)%tune.Page] = true
	}
	if len(places) != 5 {
		t.Errorf("five buffers begin at %d places of a page", len(places))
	}
}
