package update_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// TestFades lets small state of every sample decay without gradients, and its plan says
// what becomes of it: what fades is +0 in the end, or kept with KeepSubnormals, and what
// does not fade is what it was.
func TestFades(t *testing.T) {
	for _, s := range registry.Samples() {
		for _, keep := range []bool{false, true} {
			r := registry.With(s.Rule, func(o *update.Options) { o.KeepSubnormals, o.L1, o.L2 = keep, 0, 0 })
			t.Run(s.Name, func(t *testing.T) { fade(t, r) })
		}
	}
}

func fade(t *testing.T, r update.Rule) {
	const n, small, soon, steps = 70, 1e-28, 16, 2000
	slots, kept := update.Slots(r)
	slots = slices.DeleteFunc(slots, func(s engine.Slot) bool { return s.Scratch })
	o := newOne(t, n, r)
	p, g := make([]float32, n), make([]float32, n)
	for range 10 { // the first one of ADOPT begins v anew, a later one of Schedule-Free RAdam the mean
		must(t, o.Step(p, g))
	}
	for k, name := range slotNames(o, 0) {
		for i := range buffer(o, 0, name) {
			buffer(o, 0, name)[i] = small
			if !slots[k].Square && name != "u" && i%2 > 0 { // the zero must not be negative; Adamax' u is none
				buffer(o, 0, name)[i] = -small
			}
		}
	}
	for step := 1; step <= steps; step++ {
		must(t, o.Step(p, g))
		for k, s := range slots {
			if s.Name == "prev" || s.Name == "ax" { // the gradient before, or parameters, whatever they were
				continue
			}
			b := buffer(o, 0, s.Name)
			if len(b) == 1 { // of the tensor, which nobody flushes
				continue
			}
			x := b[n-1]
			goes := !kept && s.Fades < 1 && (!s.Square || s.Flushes != 0)
			switch size := math.Abs(float64(x)); {
			case step == steps && goes && math.Float32bits(x) != 0 && !(size >= 0x1p-95): // as that of squares to which eps is added
				t.Errorf("slot %d, %s, ends as %g, want +0 or what is not small", k, s.Name, x)
			case step == soon && !goes && x == 0:
				t.Errorf("slot %d, %s, is 0 after %d steps, though KeepSubnormals is %v and the plan that it fades by %g", k, s.Name, step, kept, s.Fades)
			case step == soon && s.Fades == 1 && size < .99*small && !strings.Contains(r.Name(), "lion") && r.Name() != "signum" && r.Name() != "novograd" && s.Name != "behind": // the smallest m has a sign, NovoGrad's Decay feeds it, and behind fades as 1/t does
				t.Errorf("slot %d, %s, has become %g from %g: it fades, and the plan's Fades should say by what", k, s.Name, size, small)
			}
		}
	}
}

// TestSlots holds the order of a plan's slots to that of its kernel's buffers, where both
// have a name.
func TestSlots(t *testing.T) {
	named := 0
	for _, s := range registry.Samples() {
		slots, _ := update.Slots(s.Rule)
		slots = slices.DeleteFunc(slices.Clone(slots), func(s engine.Slot) bool { return s.Extent == engine.PerRow }) // which no kernel takes
		for _, name := range update.Kernels(s.Rule) {
			buffers := buffersOf(t, name)[2:] // behind parameters and gradients
			if len(buffers) != len(slots) {
				t.Errorf("%s: the plan has %d slots, the kernel %s takes %q", s.Name, len(slots), name, buffers)
				continue
			}
			for k, slot := range slots {
				if at := slices.Index(buffers, slot.Name); at == k {
					named++
				} else if at >= 0 {
					t.Errorf("%s: %q is slot %d of the plan, and buffer %d of the state that the kernel %s takes, %q", s.Name, slot.Name, k, at, name, buffers)
				}
			}
		}
	}
	if named < 20 {
		t.Errorf("%d slots have the names of buffers", named)
	}
}

// buffersOf are the names of a kernel's buffers.
func buffersOf(t *testing.T, kernel string) []string {
	t.Helper()
	for _, k := range kernels.All() {
		if k.Name == kernel {
			var list []string
			for _, b := range k.Buffers {
				list = append(list, b.Name)
			}
			return list
		}
	}
	t.Fatalf("there is no kernel %s", kernel)
	return nil
}
