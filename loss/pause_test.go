package loss

import (
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/internal/buffers"
)

// emulated machines have neither the time nor the clock for large tests.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

// TestLongRow takes the gradient of one long row while collections run beside it. All
// that is long must let the collector in between: it waits for less than half of what it
// takes to clear the row, here and now. What other programs do to this one is not the
// gradient's doing: one of some tries must do, unless what clears little at a time is
// held up as long.
func TestLongRow(t *testing.T) {
	if testing.Short() || emulated || runtime.GOMAXPROCS(0) == 1 {
		t.Skip("takes memory and a clock")
	}
	const columns, tries, times = 16 << 20, 6, 6
	x, w, grad := make([]float32, columns), make([]float32, columns), make([]float32, columns)
	l, err := NewLinear(Squared, columns, false)
	if err != nil {
		t.Fatal(err)
	}
	clear(grad) // which finds its pages
	best, idle, bound := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for try := 0; try < tries && best >= bound; try++ {
		start := time.Now()
		clear(grad)
		bound = min(bound, time.Since(start)/2)
		idle = min(idle, stopped(func() {
			for range times {
				for lo := 0; lo < columns; lo += 1 << 10 {
					buffers.Clear(grad[lo : lo+1<<10])
				}
			}
		}))
		best = min(best, stopped(func() {
			for range times {
				if _, err := l.Gradient(x, []float32{1}, w, grad); err != nil {
					t.Error(err)
				}
			}
		}))
	}
	if idle >= bound {
		t.Skipf("what can be stopped at any time took %v to stop: this machine is busy", idle)
	}
	if best >= bound {
		t.Errorf("at best %v until all goroutines had stopped, want less than %v", best, bound)
	}
}

// stopped is how long it took at worst to stop all goroutines for a collection while a
// function ran.
func stopped(f func()) time.Duration {
	sample := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}}
	metrics.Read(sample)
	before := append([]uint64(nil), sample[0].Value.Float64Histogram().Counts...)
	var done atomic.Bool
	go func() {
		f()
		done.Store(true)
	}()
	for !done.Load() {
		runtime.GC()
	}
	metrics.Read(sample)
	worst, after := 0.0, sample[0].Value.Float64Histogram()
	for k, n := range after.Counts {
		if n > before[k] {
			worst = after.Buckets[k+1]
		}
	}
	return time.Duration(worst * float64(time.Second))
}
