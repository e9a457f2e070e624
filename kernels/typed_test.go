package kernels_test

import (
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	. "github.com/lockstep-go/lockstep/kernels"
)

// TestTyped widens, narrows and clears parts of buffers of each type.
func TestTyped(t *testing.T) {
	x := []float32{1, 2, 3.0009765625, -4}
	testTyped(t, x, Float32, slices.Clone(x), 4, func(x float32) float32 { return x })
	testTyped(t, x, Bfloat16, make([]BF16, 4), 2, BF16.Float32)
	testTyped(t, x, Float16, make([]F16, 4), 2, F16.Float32)
}

func testTyped[T Number](t *testing.T, x []float32, kind Element, h []T, bytes int, widen func(T) float32) {
	t.Helper()
	b := TypedOf(h)
	if b.Element() != kind || b.Len() != 4 || b.IsNil() || kind.Bytes() != bytes || b.Slice(3, 4).Address() != b.Address()+uintptr(3*bytes) {
		t.Errorf("%v: %d elements of %v", kind, b.Len(), b.Element())
	}
	for _, table := range Available() {
		b.Narrow(table, x)
		want := map[Element]float32{Float32: 3.0009765625, Bfloat16: 3, Float16: 3}[kind] // ties are even
		if widen(h[2]) != want || widen(h[3]) != -4 {
			t.Errorf("%v, %v: %v of %v", table, kind, h, x)
		}
		got := []float32{7, 7, 7, 7}
		b.Slice(1, 3).Widen(table, got[1:])
		if !slices.Equal(got, []float32{7, 2, want, 7}) {
			t.Errorf("%v, %v: a part is %v", table, kind, got)
		}
	}
	b.Slice(1, 3).Clear()
	if widen(h[0]) != 1 || widen(h[1]) != 0 || widen(h[2]) != 0 || widen(h[3]) != -4 {
		t.Errorf("%v: cleared in part it is %v", kind, h)
	}
	if end := b.Slice(4, 4); end.Len() != 0 || end.IsNil() {
		t.Errorf("%v: the end has %d elements", kind, end.Len())
	}
	if list := TypedList([][]T{nil, h}); !list[0].IsNil() || list[1] != b || !TypedOf[T](nil).IsNil() {
		t.Errorf("%v: the list is %v", kind, list)
	}
	for name, call := range map[string]func(){
		"a part beyond the end":    func() { b.Slice(1, 5) },
		"a part before the start":  func() { b.Slice(-1, 2) },
		"a part that ends earlier": func() { b.Slice(2, 1) },
		"a short buffer to widen":  func() { b.Widen(Active(), make([]float32, 3, 4)) },
		"a short one to narrow":    func() { b.Narrow(Active(), make([]float32, 3, 4)) },
		"another type": func() {
			if kind == Float32 {
				panic("it is float32")
			}
			b.Float32()
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v: %s went through", kind, name)
				}
			}()
			call()
		}()
	}
}

// TestToHalves is what rounding makes of numbers half way between two, beyond the largest, and
// below the smallest.
func TestToHalves(t *testing.T) {
	for x, want := range map[float32]BF16{1: 0x3f80, 1.00390625: 0x3f80, 1.01171875: 0x3f82, 3.4e38: 0x7f80, -0x1p-149: 0x8000, 0x1.8p-134: 0x0001} {
		if got := fallback.ToBF16(x); got != want {
			t.Errorf("%g is %#x, want %#x", x, got, want)
		}
	}
	for x, want := range map[float32]F16{1: 0x3c00, 1.00048828125: 0x3c00, 1.00146484375: 0x3c02, 65519: 0x7bff, 65520: 0x7c00, 0x1p-25: 0, 0x1.8p-25: 1, -0x1p-14: 0x8400, 0x1.ffcp-15: 0x0400, 0x1.ff8p-15: 0x03ff} {
		if got := fallback.ToF16(x); got != want {
			t.Errorf("%g is %#x, want %#x", x, got, want)
		}
	}
}
