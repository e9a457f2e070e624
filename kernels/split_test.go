package kernels_test

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	. "github.com/lockstep-go/lockstep/kernels"
)

// TestSplit splits every 4093rd float32, or all of them with -all, and joins it: the halves are
// what the definition makes of them in integers, and the bits come back.
func TestSplit(t *testing.T) {
	stride := uint64(4093)
	if *all {
		stride = 1
	}
	const chunk = 1<<14 + 5
	var next atomic.Uint64
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			x, back, h, r := make([]float32, chunk), make([]float32, chunk), make([]BF16, chunk), make([]BF16, chunk)
			for !t.Failed() {
				first := (next.Add(chunk) - chunk) * stride
				if first >= 1<<32 {
					return
				}
				for i := range x {
					x[i] = math.Float32frombits(uint32(min(first+uint64(i)*stride, 1<<32-1)))
				}
				for _, table := range Available() {
					SplitBF16(table, h, r, x)
					JoinBF16(table, back, h, r)
					for i := range x {
						bits := math.Float32bits(x[i])
						upper := (int64(bits) + 1<<15) >> 16
						if rest := int64(bits) - upper<<16; h[i] != BF16(upper) || int64(int16(r[i])) != rest {
							t.Errorf("%v: the halves of %#x are %#x and %d, want %#x and %d", table, bits, h[i], int16(r[i]), BF16(upper), rest)
							return
						}
						if got := math.Float32bits(back[i]); got != bits {
							t.Errorf("%v: %#x comes back as %#x", table, bits, got)
							return
						}
					}
				}
			}
		})
	}
	running.Wait()
}
