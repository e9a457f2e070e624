//go:build linux && !purego

package update

import (
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestFirstStep counts the pages that the first step has the system find.
func TestFirstStep(t *testing.T) {
	if emulated || testing.Short() {
		t.Skip("takes memory")
	}
	for _, on := range []bool{true, false} {
		SetHugePages(on)
		runtime.GC()
		debug.FreeOSMemory()
		const n = 8 << 20
		buffers := Alloc(n, 2)
		o := mustNew(t, n, rules["adam"])
		var before, after unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
			t.Skip(err)
		}
		if err := o.Step(buffers[0], buffers[1]); err != nil {
			t.Fatal(err)
		}
		if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
			t.Skip(err)
		}
		if faults := after.Minflt - before.Minflt; faults > 4*4*n/tune.HugePage/2 {
			t.Errorf("huge pages %v: the first step had the system find %d pages", on, faults)
		}
	}
	SetHugePages(true)
}
