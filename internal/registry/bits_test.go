package registry

import (
	"encoding/binary"
	"hash/fnv"
	"testing"
)

// TestBits keeps the bits what they are, whatever the machine: these numbers are
// the same for each LOCKSTEP_ISA and each GOARCH. To change one is to break what
// users rely on.
func TestBits(t *testing.T) {
	const n, steps = 259, 20
	for _, s := range Samples() {
		o, p := mustNew(t, n, s.Rule), uniform(n, 1)
		must(t, o.SetGradScale(1./3))
		for step := range steps {
			must(t, o.SetLR(Options(s.Rule).LR*(1-float64(step)/(2*steps))))
			must(t, o.Step(p, uniform(n, uint64(step))))
		}
		h := fnv.New64a()
		must(t, binary.Write(h, binary.LittleEndian, p))
		for _, name := range slotNames(o, 0) {
			must(t, binary.Write(h, binary.LittleEndian, buffer(o, 0, name)))
		}
		switch got := h.Sum64(); {
		case s.Bits == 0:
			t.Errorf("%s: new sample: its bits are %#016x", s.Name, got)
		case got != s.Bits:
			t.Errorf("%s: the bits have changed: %#016x, were %#016x", s.Name, got, s.Bits)
		}
	}
}
