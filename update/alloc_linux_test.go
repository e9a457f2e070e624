//go:build linux && !purego

package update

import (
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestFirstStep counts the pages that the first step has the system find. Its threads' own,
// and those that the system moves meanwhile, are found in some tries and not in all.
func TestFirstStep(t *testing.T) {
	if emulated || testing.Short() {
		t.Skip("takes memory")
	}
	for _, on := range []bool{true, false} {
		SetHugePages(on)
		const n = 8 << 20
		least := firstStep(t, n)
		for try := 1; try < 10 && least > 4*4*n/tune.HugePage/2; try++ {
			least = min(least, firstStep(t, n))
		}
		if least > 4*4*n/tune.HugePage/2 {
			t.Errorf("huge pages %v: the first step had the system find %d pages", on, least)
		}
	}
	SetHugePages(true)
}

// firstStep is how many pages the system finds during one.
func firstStep(t *testing.T, n int) int64 {
	runtime.GC()
	debug.FreeOSMemory()
	buffers := Alloc(n, 2)
	o := mustNew(t, n, rules["adam"])
	before := faults(t)
	if err := o.Step(buffers[0], buffers[1]); err != nil {
		t.Fatal(err)
	}
	return faults(t) - before
}

// faults is how many pages the system has found for this program without a disk.
func faults(t *testing.T) int64 {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Skip(err)
	}
	return int64(used.Minflt)
}
