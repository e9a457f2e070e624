//go:build (amd64 || arm64) && !purego && !noasm

package kernels_test

import (
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/internal/allocs"
	. "github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/kernels/asm/mode"
)

// odd are modes of arithmetic that a library in C may have left to a thread, and what
// Info says of them, if it sees them.
var odd = map[string][]struct {
	name string
	mode uint32
	info string
}{
	"amd64": {
		{"FTZ", 0x8000, "FTZ"}, {"DAZ", 0x0040, "DAZ"}, {"FTZ and DAZ", 0x8040, "FTZ"},
		{"down", 0x2000, "rounded down"}, {"up", 0x4000, "rounded up"}, {"to 0", 0x6000, "rounded to 0"},
	},
	"arm64": {
		{"FZ", 1 << 24, "FTZ"}, {"up", 1 << 22, "rounded up"}, {"down", 2 << 22, "rounded down"}, {"to 0", 3 << 22, "rounded to 0"},
		{"AHP", 1 << 26, ""}, {"DN", 1 << 25, ""}, // which conversions of F16 alone would show, and a NaN's bits
	},
}[runtime.GOARCH]

// inMode runs f on a thread whose arithmetic has another mode.
func inMode(t *testing.T, odd uint32, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := mode.Get()
	mode.Set(before | odd)
	set := mode.Get() & mode.Mask
	f()
	after := mode.Get() & mode.Mask
	mode.Set(before)
	if after != set {
		t.Errorf("the thread's mode is %#x after a call, and was %#x before", after, set)
	}
}

// within is a kernel that is called on a thread in such a mode.
func within(t *testing.T, odd uint32, kernel any) any {
	f := reflect.ValueOf(kernel)
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) (results []reflect.Value) {
		inMode(t, odd, func() { results = f.Call(args) })
		return results
	}).Interface()
}

// TestModes calls kernels on threads whose arithmetic is another one, which must change
// no bit, nor be changed by it.
func TestModes(t *testing.T) {
	for _, odd := range odd {
		t.Run(odd.name, func(t *testing.T) {
			for _, table := range Available() {
				for _, kernel := range All() {
					want, got := kernel.Bare(reference), kernel.Bare(table)
					for seed := range uint64(4) {
						c := agree.Case{N: 77, More: []int{5}, Rows: 3, Seed: seed, Random: seed%2 > 0}
						if _, err := agree.Compare(within(t, odd.mode, got), want, kernel.Buffers, c); err != nil {
							t.Fatalf("%v/%s: %v", table, kernel.Name, err)
						}
					}
				}
			}
			var info string
			inMode(t, odd.mode, func() { info = Info() })
			if odd.info != "" && (!strings.Contains(info, odd.info) || strings.Contains(Info(), odd.info)) {
				t.Errorf("Info says %q, and %q in the usual mode", info, Info())
			}
		})
	}
}

// TestModeAllocs calls a kernel without allocating.
func TestModeAllocs(t *testing.T) {
	x, lanes := make([]float32, 100), new([32]float64)
	list := NewList(1, [][]float32{x})
	for _, odd := range odd {
		inMode(t, odd.mode, func() {
			if n := allocs.PerRun(10, func() { SumSquares(Active(), list, lanes) }); n != 0 {
				t.Errorf("%g allocations", n)
			}
		})
	}
}

// TestModePanics has a kernel panic, which must leave the thread as it was.
func TestModePanics(t *testing.T) {
	inMode(t, odd[0].mode, func() {
		defer func() {
			if recover() == nil {
				t.Error("went through")
			}
		}()
		SumSquares(reference, NewList(1, [][]float32{make([]float32, 5)}), nil)
	})
}

// TestMatMulModes multiplies on such threads.
func TestMatMulModes(t *testing.T) {
	for _, o := range odd {
		for seed := range uint64(8) {
			c := product{m: 20, n: 40, k: 30, alpha: 1, beta: 1, random: true, seed: seed}
			want := c.reference()
			for _, table := range Available() {
				p, got := c.operands()
				r := room(table, p)
				inMode(t, o.mode, func() { p.Run(table, r) })
				if i := differ(got, want); i >= 0 {
					t.Fatalf("%v, %s: element %d is %g, want %g", table, o.name, i, got[i], want[i])
				}
			}
		}
	}
}
