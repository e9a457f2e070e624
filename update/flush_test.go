package update

import (
	"testing"

	"github.com/lockstep-go/lockstep/internal/engine"
)

// TestFlush has the bound of small state, 2⁻⁹⁵, where the gradient has ceased; where it is
// small itself what it has moved stays. TestFades lets the state of every rule decay.
func TestFlush(t *testing.T) {
	for bits, want := range map[float32]float32{0x1p-95: 0x1p-95, -0x1p-95: -0x1p-95, 0x1.fffffep-96: 0, -0x1.fffffep-96: 0} {
		for _, g := range []float32{0, 0x1p-148, 0x1p-126} {
			o := mustNew(t, 1, Momentum{Momentum: .5})
			buffer(o, 0, "momentum")[0] = 2 * bits
			must(t, o.SetSteps(engine.FlushEvery-1))
			must(t, o.Step([]float32{0}, []float32{g}))
			stored := want
			if g == 0x1p-126 {
				stored = bits + g
			}
			if got := buffer(o, 0, "momentum"); !sameBits(got, []float32{stored}) {
				t.Errorf("%g with gradient %g is stored as %g, want %g", bits, g, got, stored)
			}
		}
	}
}
