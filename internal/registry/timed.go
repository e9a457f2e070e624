package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

var nan, inf = math.NaN(), math.Inf(1)

// single is the float32 nearest to x, which is what frameworks that have no defaults are
// given.
func single(x float64) float64 { return float64(float32(x)) }

// A Timed is a kernel with scalars as it is timed. Steps are small, so that any number of
// them leaves ordinary numbers.
type Timed struct {
	Name    string
	Buffers int // of parameters, gradient and state
	Scalars any // a pointer to the kernel's own
	Run     func(t kernels.Table, list *kernels.List)
	Full    bool // timed with -full alone
}

// usual are the scalars that steps share, decaying those of steps with weight decay.
var (
	usual    = fallback.Common{Scale: 1, Drop: fallback.DropSubnormal}
	decaying = fallback.Common{Scale: 1, Decay: 1e-9, Drop: fallback.DropSubnormal}
)

func timed[C any](name string, buffers int, kernel func(kernels.Table, *kernels.List, *C), c C) Timed {
	return Timed{Name: name, Buffers: buffers, Scalars: &c, Run: func(t kernels.Table, list *kernels.List) { kernel(t, list, &c) }}
}

// timedSums is timed for a kernel that adds to two sums.
func timedSums[C any](name string, buffers int, kernel func(kernels.Table, *kernels.List, *C, *[fallback.Lanes]float64, *[fallback.Lanes]float64), c C) Timed {
	var first, second [fallback.Lanes]float64
	return Timed{Name: name, Buffers: buffers, Scalars: &c, Run: func(t kernels.Table, list *kernels.List) { kernel(t, list, &c, &first, &second) }}
}

// timedSum is timedSums for a kernel with one.
func timedSum[C any](name string, buffers int, kernel func(kernels.Table, *kernels.List, *C, *[fallback.Lanes]float64), c C) Timed {
	return timedSums(name, buffers, func(t kernels.Table, list *kernels.List, c *C, sum, _ *[fallback.Lanes]float64) {
		kernel(t, list, c, sum)
	}, c)
}

func (t Timed) inFull() Timed {
	t.Full = true
	return t
}
