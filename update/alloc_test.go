package update

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestStateIsStaggered has parameters and gradients from Alloc.
func TestStateIsStaggered(t *testing.T) {
	o := mustNew(t, 1<<16, rules["amsgrad"])
	buffers := Alloc(1<<16, 2)
	for _, name := range slotNames(o, 0) {
		buffers = append(buffers, buffer(o, 0, name))
	}
	places := map[uintptr]bool{}
	for _, b := range buffers {
		places[address(b)%tune.Page] = true
	}
	if len(places) != 5 {
		t.Errorf("five buffers begin at %d places of a page", len(places))
	}
}

// TestAllocRefuses asks for what cannot be.
func TestAllocRefuses(t *testing.T) {
	for _, c := range []struct {
		n, buffers int
		arg        string
	}{{-1, 2, "n"}, {10, -1, "buffers"}, {math.MaxInt, 1, "buffers"}, {math.MaxInt / 4, 2, "buffers"}, {1, math.MaxInt, "buffers"}} {
		func() {
			defer func() {
				var e *ArgError
				if err, ok := recover().(error); !ok || !errors.As(err, &e) || e.Arg != c.arg {
					t.Errorf("Alloc(%d, %d): %v, want that %s is refused", c.n, c.buffers, err, c.arg)
				}
			}()
			Alloc(c.n, c.buffers)
		}()
	}
}

// heap is how many bytes of the heap f keeps.
func heap(f func() any) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return int(after.HeapAlloc - before.HeapAlloc)
}

// gpt2 is the sizes of its small model's tensors.
func gpt2() (sizes []int) {
	const d = 768
	sizes = append(sizes, 50257*d, 1024*d)
	for range 12 {
		sizes = append(sizes, d, d, d*3*d, 3*d, d*d, d, d, d, d*4*d, 4*d, 4*d*d, d)
	}
	return append(sizes, d, d)
}

// TestStateSize has sets whose state must not take much more memory than it needs.
func TestStateSize(t *testing.T) {
	if testing.Short() || emulated || math.MaxInt < 1<<40 {
		t.Skip("takes memory")
	}
	alike := make([]int, 50)
	for k := range alike {
		alike[k] = 512 << 10
	}
	for name, sizes := range map[string][]int{"GPT-2": gpt2(), "512 Ki each": alike,
		"8,000 each": slices.Repeat([]int{8000}, 1000), "20,000 each": slices.Repeat([]int{20_000}, 500), "80,000 each": slices.Repeat([]int{80_000}, 100)} {
		tensors, total := make([]Tensor, len(sizes)), 0
		for k, n := range sizes {
			tensors[k].Size = n
			total += n
		}
		got := heap(func() any {
			o, err := NewSet(tensors, rules["adam"])
			if err != nil {
				t.Fatal(err)
			}
			return o
		})
		if want := 2 * 4 * total; got > want+3*want/100 {
			t.Errorf("%s: %d bytes for a state of %d, %.1f %% more", name, got, want, 100*float64(got-want)/float64(want))
		}
	}
}
