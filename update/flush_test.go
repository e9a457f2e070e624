package update

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/internal/engine"
)

// TestFlush lets small state decay without gradients.
func TestFlush(t *testing.T) {
	const steps = 2000
	for name, c := range map[string]struct {
		rule func(o Options) Rule
		zero bool // from some step on
	}{
		"momentum": {func(o Options) Rule { return Momentum{Options: o, Momentum: .9} }, true},
		"nesterov": {func(o Options) Rule { return Momentum{Options: o, Momentum: .9, Nesterov: true} }, true},
		"adagrad":  {func(o Options) Rule { return AdaGrad{Options: o, Eps: 1e-8} }, false},
		"adam":     {func(o Options) Rule { return Adam{Options: o, Beta1: .9, Beta2: .999, Eps: 1e-8} }, true},
		"amsgrad":  {func(o Options) Rule { return Adam{Options: o, Beta1: .9, Beta2: .999, Eps: 1e-8, AMSGrad: true} }, true},
	} {
		for _, keep := range []bool{false, true} {
			o := mustNew(t, 70, c.rule(Options{LR: .1, KeepSubnormals: keep}))
			p, g := make([]float32, 70), make([]float32, 70)
			for _, buffer := range o.Buffers(0) {
				for i := range o.Buffer(0, buffer) {
					o.Buffer(0, buffer)[i] = 1e-28
					if buffer == "m" || buffer == "momentum" {
						o.Buffer(0, buffer)[i] *= float32(1 - i%2*2) // also negative: the zero must not be
					}
				}
			}
			for range steps {
				must(t, o.Step(p, g))
			}
			for _, buffer := range o.Buffers(0) {
				for i, x := range o.Buffer(0, buffer) {
					want := c.zero && !keep && buffer != "max_v"
					if (math.Float32bits(x) == 0) != want {
						t.Fatalf("%s, KeepSubnormals %v: %s[%d] is %g", name, keep, buffer, i, x)
					}
				}
			}
		}
	}

	// The bound is 2⁻⁹⁵, where the gradient has ceased; where it is small itself what it
	// has moved stays.
	for bits, want := range map[float32]float32{0x1p-95: 0x1p-95, -0x1p-95: -0x1p-95, 0x1.fffffep-96: 0, -0x1.fffffep-96: 0} {
		for _, g := range []float32{0, 0x1p-148, 0x1p-126} {
			o := mustNew(t, 1, Momentum{Momentum: .5})
			o.Buffer(0, "momentum")[0] = 2 * bits
			must(t, o.SetSteps(engine.FlushEvery-1))
			must(t, o.Step([]float32{0}, []float32{g}))
			stored := want
			if g == 0x1p-126 {
				stored = bits + g
			}
			if got := o.Buffer(0, "momentum"); !sameBits(got, []float32{stored}) {
				t.Errorf("%g with gradient %g is stored as %g, want %g", bits, g, got, stored)
			}
		}
	}
}
