package typetest

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A mixed is the kernel of Mixed.
type mixed = func(list [][]float32, sum *[rule.Lanes]float64)

// A tensor has the buffers of Mixed, with one element more than the kernel may touch.
type tensor struct {
	p       []float32
	g, half []uint16
}

const guard = 0x1234

// edge are parameters whose rounding is a tie, carries into the exponent or to infinity,
// and what is no number.
var edge = []uint32{0x3f808000, 0x3f818000, 0x3f817fff, 0x3f7fffff, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0x7f800001, 0xffffffff, 0, 1 << 31, 1}

func newTensor(n int, rng *rand.Rand) tensor {
	t := tensor{make([]float32, n+1), make([]uint16, n+1), make([]uint16, n+1)}
	for i := range n {
		bits := rng.Uint32()
		if i%3 == 0 {
			bits = edge[rng.IntN(len(edge))]
		}
		t.p[i], t.g[i] = math.Float32frombits(bits), uint16(rng.Uint32())
		if i%2 == 0 {
			t.g[i] = 0
		}
	}
	t.p[n], t.g[n], t.half[n] = guard, guard, guard
	return t
}

// list is the tensor as a kernel's buffers, those of BF16 as slices of float32, of which
// a kernel asks only where they begin.
func (t tensor) list() [][]float32 {
	as := func(x []uint16) []float32 {
		return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
	}
	return [][]float32{t.p[:len(t.p)-1], as(t.g), as(t.half)}
}

// nearest is x as a BF16, by way of its neighbours.
func nearest(x float32) uint16 {
	down := uint16(math.Float32bits(x) >> 16)
	if x != x {
		return down | 0x40
	}
	at := func(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }
	up := down + 1
	above := at(up)
	if math.IsInf(above, 0) && !math.IsInf(float64(x), 0) {
		above = math.Copysign(0x1p128, float64(x))
	}
	switch low, high := math.Abs(float64(x)-at(down)), math.Abs(above-float64(x)); {
	case math.IsInf(float64(x), 0) || low < high || low == high && down%2 == 0:
		return down
	}
	return up
}

// TestMixed compares every kernel with the rule run in Go, over all lengths and lists.
func TestMixed(t *testing.T) {
	for name, kernel := range kernels() {
		rng := rand.New(rand.NewPCG(1, 2))
		for n := range 301 {
			var list [][]float32
			var tensors []tensor
			var sum, want [rule.Lanes]float64
			for k := range 1 + n%9 {
				x := newTensor((n+37*k)%301, rng)
				tensors, list = append(tensors, x), append(list, x.list()...)
			}
			wanted := expected(tensors, &want)
			kernel(list, &sum)
			for k, x := range tensors {
				compare(t, name, n, x, wanted[k])
			}
			for lane := range sum {
				if sum[lane] != want[lane] && (sum[lane] == sum[lane] || want[lane] == want[lane]) {
					t.Fatalf("%s: %d: lane %d is %g, want %g", name, n, lane, sum[lane], want[lane])
				}
			}
			if t.Failed() {
				return
			}
		}
	}
}

// expected are the tensors after the rule.
func expected(tensors []tensor, sum *[rule.Lanes]float64) []tensor {
	var list []tensor
	for _, x := range tensors {
		n := len(x.p) - 1
		y := tensor{append([]float32(nil), x.p...), x.g, append([]uint16(nil), x.half...)}
		g, half := make([]float32, n), make([]float32, n)
		for i := range g {
			g[i] = math.Float32frombits(uint32(x.g[i]) << 16)
		}
		Mixed.Eval(rule.Args{Buffers: [][]float32{y.p[:n], g, half}, Sums: map[int]*[rule.Lanes]float64{0: sum}})
		for i := range half {
			y.half[i] = nearest(half[i])
		}
		list = append(list, y)
	}
	return list
}

func compare(t *testing.T, name string, n int, got, want tensor) {
	t.Helper()
	for i := range got.p {
		a, b := math.Float32bits(got.p[i]), math.Float32bits(want.p[i])
		if a != b && (got.p[i] == got.p[i] || want.p[i] == want.p[i]) {
			t.Errorf("%s: %d: p[%d] is %#x, want %#x", name, n, i, a, b)
		}
		isNaN := func(h uint16) bool { return h&0x7fff > 0x7f80 }
		if a, b := got.half[i], want.half[i]; a != b && !(isNaN(a) && isNaN(b)) {
			t.Errorf("%s: %d: half[%d] of %#x is %#x, want %#x", name, n, i, math.Float32bits(want.p[i]), a, b)
		}
	}
}
