package typetest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// A table has the kernels of an instruction set.
type table struct {
	mixed    func(p []float32, g, half []fallback.BF16, f, rounded []fallback.F16, sum *[rule.Lanes]float64)
	products map[*rule.Rule]func(list [][]float32)
}

// products are the kernels of such rules.
func products(products, operands func([][]float32)) map[*rule.Rule]func([][]float32) {
	return map[*rule.Rule]func([][]float32){Products: products, Operands: operands}
}

// A tensor has the buffers of Mixed, with one element more than the kernel may touch.
type tensor struct {
	p          []float32
	g, half    []fallback.BF16
	f, rounded []fallback.F16
}

const guard = 0x1234

// edge are parameters whose rounding is a tie, carries into the exponent or to infinity, is
// subnormal or 0, and what is no number.
var edge = []uint32{0x3f808000, 0x3f818000, 0x3f817fff, 0x3f7fffff, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0x7f800001, 0xffffffff, 0, 1 << 31, 1,
	0x477fefff, 0x477ff000, 0xc77fffff, 0x38800000, 0x387fffff, 0x33800000, 0x33000000, 0x33000001, 0x38002000, 0x38003000, 0x38001000}

func newTensor(n int, rng *rand.Rand) tensor {
	t := tensor{make([]float32, n+1), make([]fallback.BF16, n+1), make([]fallback.BF16, n+1), make([]fallback.F16, n+1), make([]fallback.F16, n+1)}
	for i := range n {
		bits := rng.Uint32()
		if i%3 == 0 {
			bits = edge[rng.IntN(len(edge))]
		}
		t.p[i], t.g[i], t.f[i] = math.Float32frombits(bits), fallback.BF16(rng.Uint32()), fallback.F16(rng.Uint32())
		if i%2 == 0 {
			t.g[i], t.f[i] = 0, 0
		}
	}
	t.p[n], t.g[n], t.half[n], t.f[n], t.rounded[n] = guard, guard, guard, guard, guard
	return t
}

// TestMixed compares every kernel with the rule run in Go, over all lengths.
func TestMixed(t *testing.T) {
	for name, table := range kernels() {
		rng := rand.New(rand.NewPCG(1, 2))
		for n := range 601 {
			n %= 301
			x := newTensor(n, rng)
			var sum, wantSum [rule.Lanes]float64
			want := x.expected(&wantSum)
			table.mixed(x.p[:n], x.g[:n], x.half[:n], x.f[:n], x.rounded[:n], &sum)
			compare(t, name, n, x, want)
			for lane := range sum {
				if sum[lane] != wantSum[lane] && (sum[lane] == sum[lane] || wantSum[lane] == wantSum[lane]) {
					t.Fatalf("%s: %d: lane %d is %g, want %g", name, n, lane, sum[lane], wantSum[lane])
				}
			}
			if t.Failed() {
				return
			}
		}
	}
}

// expected is the tensor after the rule, what is rounded being so by Go's reference.
func (x tensor) expected(sum *[rule.Lanes]float64) tensor {
	n := len(x.p) - 1
	y := tensor{append([]float32(nil), x.p...), x.g, append([]fallback.BF16(nil), x.half...), x.f, append([]fallback.F16(nil), x.rounded...)}
	g, f := make([]float32, n), make([]float32, n)
	fallback.WidenBF16(g, x.g)
	fallback.WidenF16(f, x.f)
	room := make([]float32, 2*n)
	Mixed.Eval(rule.Args{Buffers: [][]float32{y.p[:n], g, room[:n], f, room[n:]}, Sums: map[int]*[rule.Lanes]float64{0: sum}})
	fallback.NarrowBF16(y.half[:n], y.p)
	fallback.NarrowF16(y.rounded[:n], y.p)
	return y
}

func compare(t *testing.T, name string, n int, got, want tensor) {
	t.Helper()
	for i := range got.p {
		p, q := got.p[i], want.p[i]
		isNaN := p != p && q != q // of which arithmetic leaves one or the other
		if math.Float32bits(p) != math.Float32bits(q) && !isNaN {
			t.Errorf("%s: %d: p[%d] is %g, want %g", name, n, i, p, q)
		}
		if x, y := got.half[i], want.half[i]; x != y && !isNaN {
			t.Errorf("%s: %d: half[%d] of %g is %#x, want %#x", name, n, i, q, x, y)
		}
		if x, y := got.rounded[i], want.rounded[i]; x != y && !isNaN {
			t.Errorf("%s: %d: rounded[%d] of %g is %#x, want %#x", name, n, i, q, x, y)
		}
	}
}

// TestProducts compares every kernel with the rule run in Go, of numbers of all kinds of
// which no sum is NaN, whose bits may be any.
func TestProducts(t *testing.T) {
	for name, table := range kernels() {
		rng := rand.New(rand.NewPCG(3, 4))
		for n := range 200 {
			var b [4][]float32
			for k := range b {
				b[k] = make([]float32, n)
				for i := range b[k] {
					b[k][i] = float32(math.Ldexp(rng.NormFloat64(), rng.IntN(40)-20))
					if rng.IntN(8) == 0 {
						b[k][i] = math.Float32frombits(rng.Uint32N(1 << 24)) // of which products are subnormal
					}
				}
			}
			for r, kernel := range table.products {
				want := make([]float32, n)
				r.Eval(rule.Args{Buffers: [][]float32{want, b[1], b[2], b[3]}})
				kernel(b[:])
				for i := range want {
					if got := b[0][i]; math.Float32bits(got) != math.Float32bits(want[i]) {
						t.Fatalf("%s, %s: element %d of %d is %#x, want %#x", name, r.Name, i, n, math.Float32bits(got), math.Float32bits(want[i]))
					}
				}
			}
		}
	}
}
