package kernels_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/internal/allocs"
	. "github.com/lockstep-go/lockstep/kernels"
)

// A product is a case of MatMul.
type product struct {
	m, n, k           int
	transA, transB    bool
	apart             int // rows have so many elements more than columns
	offset            int // where matrices begin in their memory
	alpha, beta       float32
	inPlace           bool // C is D
	symmetric, random bool
	seed              uint64
}

func (c product) String() string {
	return fmt.Sprintf("%d × %d of %d products, transposed %v %v, rows %d apart, offset %d, alpha %g, beta %g, in place %v, symmetric %v, random %v, seed %d",
		c.m, c.n, c.k, c.transA, c.transB, c.apart, c.offset, c.alpha, c.beta, c.inPlace, c.symmetric, c.random, c.seed)
}

// operands makes the matrices, and the memory that C lies in, with guards around it.
func (c product) operands() (p *MatMul, memory []float32) {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	matrix := func(rows, columns int, trans bool) (fallback.Matrix, []float32) {
		if trans {
			rows, columns = columns, rows
		}
		memory := make([]float32, agree.Guard+c.offset+rows*(columns+c.apart)+agree.Guard)
		for i := range memory {
			memory[i] = agree.Value(rng, c.random)
		}
		m := fallback.RowMajor(rows, columns, memory[agree.Guard+c.offset:])
		m.RowStride += c.apart
		if m.Data = m.Data[:max(0, (rows-1)*m.RowStride+columns)]; rows == 0 || columns == 0 {
			m.Data = nil
		}
		if trans {
			m = m.T()
		}
		return m, memory
	}
	p = &MatMul{MatMulScalars: fallback.MatMulScalars{Alpha: c.alpha, Beta: c.beta}, Symmetric: c.symmetric}
	p.C, memory = matrix(c.m, c.n, false)
	p.A, _ = matrix(c.m, c.k, c.transA)
	if p.B = p.A.T(); !c.symmetric {
		p.B, _ = matrix(c.k, c.n, c.transB)
	}
	p.D = p.C
	if !c.inPlace {
		p.D, _ = matrix(c.m, c.n, false)
	}
	if c.symmetric {
		for i := range c.m {
			for j := range i {
				p.D.Data[j*p.D.RowStride+i] = p.D.At(i, j)
			}
		}
	}
	return p, memory
}

// reference is the memory of C as the reference leaves it.
func (c product) reference() []float32 {
	p, memory := c.operands()
	fallback.MatMul(p.C, p.D, p.A, p.B, &p.MatMulScalars)
	return memory
}

// differ is the first place where memories differ, or -1. A NaN equals a NaN.
func differ(got, want []float32) int {
	for i, x := range got {
		if y := want[i]; math.Float32bits(x) != math.Float32bits(y) && (x == x || y == y) {
			return i
		}
	}
	return -1
}

func compareProduct(t *testing.T, table Table, c product, want []float32) {
	t.Helper()
	p, memory := c.operands()
	p.Run(table, room(table, p))
	if i := differ(memory, want); i >= 0 {
		t.Fatalf("%v, %v: element %d of the memory is %g (%#x), want %g (%#x)", table, c, i,
			memory[i], math.Float32bits(memory[i]), want[i], math.Float32bits(want[i]))
	}
}

func room(table Table, p *MatMul) []float32 {
	return make([]float32, MatMulRoom(table, p.C.Rows, p.C.Columns, p.A.Columns))
}

// shapes calls f with cases of all small sizes, and of some that more than one sum, unit
// and panel make.
func shapes(f func(product)) {
	factors := []float32{0, 1, -4.775, float32(math.Copysign(0, -1)), 0x1p-140, float32(math.Inf(1)), float32(math.NaN())}
	seed := uint64(0)
	add := func(m, n, k int) {
		seed++
		c := product{m: m, n: n, k: k, seed: seed, apart: int(seed % 3), offset: int(seed % 5), random: seed%4 == 1,
			transA: seed%2 > 0, transB: seed/2%2 > 0, inPlace: seed/4%2 > 0, alpha: 1, beta: factors[seed%3]}
		if seed%7 == 0 {
			c.alpha, c.beta = factors[seed/7%7], factors[seed/49%7]
		}
		if m == n && seed%3 > 0 {
			c.symmetric = true
		}
		f(c)
	}
	step := 1
	switch {
	case emulated:
		step = 13
	case testing.Short():
		step = 3
	}
	for n := 0; n <= 70; n += step {
		for k := 0; k <= 20; k++ {
			add(1+(n*13+k)%70, n, k)
			add(n, 1+(n*29+3*k)%70, 71-k)
			add(n, n, k)
		}
	}
	for _, s := range [][3]int{{1, 1, 1000}, {3, 3, 256}, {130, 140, 257}, {15, 300, 511}, {300, 15, 512}, {200, 200, 513}, {257, 257, 77}} {
		add(s[0], s[1], s[2])
		add(s[0], s[0], s[2])
	}
}

// TestMatMul compares products on every table with the reference.
func TestMatMul(t *testing.T) {
	shapes(func(c product) {
		want := c.reference()
		for _, table := range Available() {
			compareProduct(t, table, c, want)
		}
	})
}

// TestMatMulParts packs ranges of products, and multiplies rows and columns apart by a B and an A
// that are packed once, with the bits of the whole product.
func TestMatMulParts(t *testing.T) {
	c := product{m: 40, n: 50, k: 600, alpha: 2, beta: -1, seed: 6, transA: true, apart: 1}
	want := c.reference()
	compare := func(table Table, what string, got []float32) {
		t.Helper()
		if i := differ(got, want); i >= 0 {
			t.Errorf("%v, %s: element %d is %g, want %g", table, what, i, got[i], want[i])
		}
	}
	part := func(m fallback.Matrix, row, column, rows, columns int) fallback.Matrix {
		m.Data = m.Data[row*m.RowStride+column*m.ColumnStride:]
		m.Rows, m.Columns = rows, columns
		return m
	}
	for _, table := range Available() {
		p, memory := c.operands()
		p.Begin(table, room(table, p))
		for lo := 560; lo >= 0; lo -= 80 { // across the ends of sums
			p.PackProducts(lo, min(lo+80, c.k))
		}
		for unit := range p.Tiles() {
			p.Multiply(unit)
		}
		compare(table, "ranges", memory)

		for _, of := range []string{"B", "A"} {
			p, memory = c.operands()
			packed, rows, columns := *p, 16, 0
			packed.C, packed.D, packed.A = part(p.C, 0, 0, 0, c.n), part(p.D, 0, 0, 0, c.n), part(p.A, 0, 0, 0, c.k)
			if of == "A" {
				packed = *p
				rows, columns = 0, 16
				packed.C, packed.D, packed.B = part(p.C, 0, 0, c.m, 0), part(p.D, 0, 0, c.m, 0), part(p.B, 0, 0, c.k, 0)
			}
			packed.Begin(table, room(table, &packed))
			for unit := range packed.Packs() {
				packed.Pack(unit)
			}
			own := make([]float32, MatMulRoom(table, rows, columns, c.k))
			for at := 0; at < c.m && of == "B" || at < c.n && of == "A"; at += 16 {
				some := *p
				if of == "B" {
					n := min(16, c.m-at)
					some.C, some.D, some.A, some.B = part(p.C, at, 0, n, c.n), part(p.D, at, 0, n, c.n), part(p.A, at, 0, n, c.k), fallback.Matrix{}
				} else {
					n := min(16, c.n-at)
					some.C, some.D, some.A, some.B = part(p.C, 0, at, c.m, n), part(p.D, 0, at, c.m, n), fallback.Matrix{}, part(p.B, 0, at, c.k, n)
				}
				some.RunPacked(&packed, own)
			}
			compare(table, of+" packed once", memory)
		}
	}
}

// TestMatMulOrder shares units among goroutines and does them backwards.
func TestMatMulOrder(t *testing.T) {
	for _, symmetric := range []bool{false, true} {
		c := product{m: 400, n: 400, k: 300, alpha: 2, beta: -1, symmetric: symmetric, seed: 5, inPlace: true}
		for _, table := range Available() {
			p, want := c.operands()
			p.Run(table, room(table, p))
			p, got := c.operands()
			p.Begin(table, room(table, p))
			if p.Tiles() < 4 || p.Packs() < 4 {
				t.Fatalf("%v: %d units to pack and %d to multiply, want several", table, p.Packs(), p.Tiles())
			}
			apart(p.Packs(), p.Pack)
			apart(p.Tiles(), p.Multiply)
			if i := differ(got, want); i >= 0 {
				t.Errorf("%v: element %d depends on the order", table, i)
			}
		}
	}
}

// apart does units, the last ones first, each in a goroutine of its own.
func apart(units int, do func(int)) {
	var running sync.WaitGroup
	for k := range units {
		running.Go(func() { do(units - 1 - k) })
	}
	running.Wait()
}

// TestMatMulExact multiplies integers whose sums are exact.
func TestMatMulExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const m, n, k = 37, 41, 600
	a, b := make([]float32, m*k), make([]float32, k*n)
	for _, s := range [][]float32{a, b} {
		for i := range s {
			s[i] = float32(rng.IntN(101) - 50)
		}
	}
	for _, table := range Available() {
		p := &MatMul{C: fallback.RowMajor(m, n, make([]float32, m*n)), A: fallback.RowMajor(m, k, a), B: fallback.RowMajor(k, n, b)}
		p.Alpha = 1
		p.Run(table, room(table, p))
		for i := range m {
			for j := range n {
				sum := 0
				for l := range k {
					sum += int(a[i*k+l]) * int(b[l*n+j])
				}
				if got := p.C.At(i, j); got != float32(sum) {
					t.Fatalf("%v: element %d, %d is %g, want %d", table, i, j, got, sum)
				}
			}
		}
	}
}

// TestMatMulFuses compares single products and sums with exact arithmetic, also where
// rounding the sum in float64 first would be seen, and results are subnormal.
func TestMatMulFuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	finite := func() float32 {
		for {
			if x := agree.Value(rng, rng.IntN(2) > 0); x-x == 0 {
				return x
			}
		}
	}
	cases := [][3]float32{
		{1 + 0x1p-12, 1 + 0x1p-12, 0x1p-60}, {1 + 0x1p-12, 1 + 0x1p-12, -0x1p-60}, // beside the middle of two numbers
		{0x1p-75, 0x1p-75 + 0x1p-98, 0x1p-127 + 0x1p-149}, {0x1p-75, 0x1p-75 - 0x1p-99, 0x1p-127}, // and of two subnormal ones
		{0x1p-149, 0x1p-149, 0x1p-126}, {-0x1p-149, 0x1p-149, 0x1p-149}, {0x1p-149, 0x1p-149, 0},
		{0x1.fffffep127, 1, 0x1p102}, {0x1.fffffep127, 1, 0x1p103}, {0x1p64, 0x1p64, -0x1p127}, {-1, 0, 0},
	}
	for range 20000 {
		x, y, z := finite(), finite(), finite()
		if rng.IntN(2) > 0 { // products and sums of one order of magnitude
			z = float32(-float64(x) * float64(y) * (1 + math.Ldexp(rng.Float64()-.5, -rng.IntN(40))))
		}
		cases = append(cases, [3]float32{x, y, z})
	}
	for _, table := range Available() {
		for _, c := range cases {
			x, y, z := c[0], c[1], c[2]
			if z-z != 0 {
				continue
			}
			p := &MatMul{C: fallback.RowMajor(1, 1, []float32{0}), A: fallback.RowMajor(1, 2, []float32{z, x}), B: fallback.RowMajor(2, 1, []float32{1, y})}
			p.Alpha = 1
			p.Run(table, room(table, p))
			exact := new(big.Float).SetPrec(2000)
			exact.Mul(exact.SetFloat64(float64(x)), new(big.Float).SetFloat64(float64(y)))
			exact.Add(exact, new(big.Float).SetFloat64(float64(z)))
			want, _ := exact.Float32()
			if got := p.C.Data[0]; got != want {
				t.Fatalf("%v: %g·%g + %g is %g (%#x), want %g (%#x)", table, x, y, z, got, math.Float32bits(got), want, math.Float32bits(want))
			}
		}
	}
}

// TestMatMulRefuses calls it with sizes that do not fit each other.
func TestMatMulRefuses(t *testing.T) {
	for name, change := range map[string]func(p *MatMul){
		"rows of A":         func(p *MatMul) { p.A = fallback.RowMajor(3, 3, p.A.Data) },
		"rows of B":         func(p *MatMul) { p.B = fallback.RowMajor(2, 5, p.B.Data) },
		"columns of D":      func(p *MatMul) { p.D = fallback.RowMajor(4, 4, p.D.Data) },
		"a short A":         func(p *MatMul) { p.A.Data = p.A.Data[:11:11] },
		"a short C":         func(p *MatMul) { p.C.Data = p.C.Data[:19] },
		"C in columns":      func(p *MatMul) { p.C = fallback.RowMajor(5, 4, p.C.Data).T() },
		"no symmetric size": func(p *MatMul) { p.Symmetric = true },
	} {
		p, _ := product{m: 4, n: 5, k: 3, alpha: 1, beta: 1}.operands()
		change(p)
		refuses(t, name, func() { p.Begin(Active(), make([]float32, 1000)) })
	}
	p, _ := product{m: 4, n: 5, k: 3, alpha: 1, beta: 1}.operands()
	refuses(t, "no room", func() { p.Begin(Active(), room(Active(), p)[1:]) })
}

func refuses(t *testing.T, name string, call func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: went through", name)
		}
	}()
	call()
}

// TestMatMulAllocs multiplies without allocating.
func TestMatMulAllocs(t *testing.T) {
	p, _ := product{m: 30, n: 50, k: 300, alpha: 1, beta: 1}.operands()
	r := room(Active(), p)
	if n := allocs.PerRun(5, func() { p.Run(Active(), r) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// FuzzMatMul looks for sizes and values on which tables differ.
func FuzzMatMul(f *testing.F) {
	f.Add(uint16(33), uint16(35), uint16(300), uint16(7), uint64(1))
	f.Fuzz(func(t *testing.T, m, n, k, flags uint16, seed uint64) {
		c := product{m: int(m % 80), n: int(n % 80), k: int(k % 600), seed: seed, apart: int(flags >> 8 % 4), offset: int(flags >> 10 % 8),
			transA: flags&1 > 0, transB: flags&2 > 0, inPlace: flags&4 > 0, random: flags&8 > 0, alpha: 1.5, beta: float32(flags >> 4 & 1)}
		if flags&32 > 0 {
			c.n, c.symmetric = c.m, true
		}
		want := c.reference()
		for _, table := range Available() {
			compareProduct(t, table, c, want)
		}
	})
}

// BenchmarkMatMul times products of square matrices.
func BenchmarkMatMul(b *testing.B) {
	tables := slices.DeleteFunc(Available(), func(t Table) bool { return t != Active() && t.Bits() > 0 && t.Bits() == Active().Bits() })
	for _, table := range tables {
		for _, n := range []int{64, 256, 1024} {
			for _, symmetric := range []bool{false, true} {
				c := product{m: n, n: n, k: n, alpha: 1, transB: symmetric, symmetric: symmetric}
				b.Run(fmt.Sprintf("isa=%v/n=%d/symmetric=%v", table, n, symmetric), func(b *testing.B) {
					p, _ := c.operands()
					r := room(table, p)
					for b.Loop() {
						p.Run(table, r)
					}
					b.ReportMetric(2*float64(n)*float64(n)*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gflop/s")
				})
			}
		}
	}
}
