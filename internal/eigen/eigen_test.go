package eigen

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/workers"
)

// A maker makes the elements of a matrix, one column after the other.
type maker struct {
	name string
	make func(rng *rand.Rand, a []float64, n int)
}

func random(rng *rand.Rand, a []float64, _ int) {
	for i := range a {
		a[i] = rng.NormFloat64()
	}
}

// symmetric has a's lower triangle above, too.
func symmetric(a []float64, n int) {
	for j := range n {
		for i := range j {
			a[j*n+i] = a[i*n+j]
		}
	}
}

// ofRank is the product of so many columns of normal numbers with their transposed.
func ofRank(rank int) func(rng *rand.Rand, a []float64, n int) {
	return func(rng *rand.Rand, a []float64, n int) {
		clear(a)
		x := make([]float64, n)
		for range rank {
			for i := range x {
				x[i] = rng.NormFloat64()
			}
			for j := range n {
				for i := range n {
					a[j*n+i] += x[i] * x[j]
				}
			}
		}
	}
}

func makers() []maker {
	return []maker{
		{"random", random},
		{"of rank 1", ofRank(1)},
		{"of rank 3", ofRank(3)},
		{"zeros", func(_ *rand.Rand, a []float64, _ int) { clear(a) }},
		{"ones", func(_ *rand.Rand, a []float64, _ int) {
			for i := range a {
				a[i] = 1
			}
		}},
		{"the unit matrix", func(_ *rand.Rand, a []float64, n int) {
			clear(a)
			for i := range n {
				a[i*n+i] = 1
			}
		}},
		{"of all sizes", func(rng *rand.Rand, a []float64, n int) {
			for j := range n {
				for i := range n {
					a[j*n+i] = rng.NormFloat64() * math.Pow(10, float64(-30*(i+j))/float64(n))
				}
			}
		}},
		{"tiny", func(rng *rand.Rand, a []float64, n int) {
			random(rng, a, n)
			for i := range a {
				a[i] *= 0x1p-149
			}
		}},
		{"huge", func(rng *rand.Rand, a []float64, n int) {
			random(rng, a, n)
			for i := range a {
				a[i] *= 0x1p126
			}
		}},
		{"one column", func(rng *rand.Rand, a []float64, n int) {
			clear(a)
			random(rng, a[n/2*n:][:n], n)
		}},
		{"an arrow", func(rng *rand.Rand, a []float64, n int) {
			clear(a)
			for i := range n {
				a[i*n+i], a[i], a[i*n] = rng.NormFloat64(), 1, 1
			}
		}},
	}
}

var lengths = []int{0, 1, 2, 3, 5, 16, 17, 33, 64, 100}

func newBases(n, goroutines int) *Bases {
	b := new(Bases)
	b.Use(workers.New(1, 1))
	b.pool.SetLimit(goroutines)
	b.Grow(n)
	return b
}

// orthonormal wants columns of length 1 that are orthogonal, up to n roundings.
func orthonormal(t *testing.T, b *Bases) {
	t.Helper()
	n := b.n
	for j := range n {
		for k := range j + 1 {
			want := 0.0
			if j == k {
				want = 1
			}
			sum := 0.0
			for i, x := range b.Column(j) {
				sum += x * b.Column(k)[i]
			}
			if !(math.Abs(sum-want) <= 4*float64(n+1)*0x1p-52) {
				t.Fatalf("the product of columns %d and %d is %g, want %g", j, k, sum, want)
			}
		}
	}
}

func norm(a []float64) float64 {
	sum := 0.0
	for _, x := range a {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// each runs a test on every kind of matrix.
func each(t *testing.T, test func(t *testing.T, m maker, n int)) {
	for _, m := range makers() {
		for _, n := range lengths {
			t.Run(fmt.Sprintf("%s, %d rows", m.name, n), func(t *testing.T) { test(t, m, n) })
		}
	}
}

// TestOrthonormalize wants an orthonormal basis, and that the matrix is its product with a
// triangular one: what columns of the basis from k+1 on have of column k is 0.
func TestOrthonormalize(t *testing.T) {
	each(t, func(t *testing.T, m maker, n int) {
		b := newBases(n, 1)
		a := b.Matrix(n)
		m.make(rand.New(rand.NewPCG(1, uint64(n))), a, n)
		from := append([]float64{}, a...)
		b.Orthonormalize()
		orthonormal(t, b)
		for k := range n {
			column := from[k*n:][:n]
			for j := k + 1; j < n; j++ {
				sum := 0.0
				for i, x := range b.Column(j) {
					sum += x * column[i]
				}
				if !(math.Abs(sum) <= 4*float64(n+1)*0x1p-52*norm(column)) {
					t.Fatalf("column %d has %g of the basis' column %d, want 0", k, sum, j)
				}
			}
		}
	})
}

// TestEigenvectors wants an orthonormal basis whose columns the matrix multiplies by their
// values, in descending order, and the values to have the trace and the norm of the matrix.
func TestEigenvectors(t *testing.T) {
	each(t, func(t *testing.T, m maker, n int) {
		b := newBases(n, 1)
		a := b.Matrix(n)
		m.make(rand.New(rand.NewPCG(2, uint64(n))), a, n)
		symmetric(a, n)
		from := append([]float64{}, a...)
		b.Eigenvectors()
		orthonormal(t, b)
		limit := 8 * float64(n+1) * 0x1p-52 * norm(from)
		trace, squares := 0.0, 0.0
		for k, place := range b.Places() {
			value, v := b.Values()[k], b.Column(int(place))
			trace += value
			squares += value * value
			if k > 0 && !(value <= b.Values()[k-1]) {
				t.Errorf("value %d is %g, behind %g", k, value, b.Values()[k-1])
			}
			for i := range n {
				sum := 0.0
				for j, x := range v {
					sum += from[j*n+i] * x
				}
				if !(math.Abs(sum-value*v[i]) <= limit) {
					t.Fatalf("element %d of the matrix' product with vector %d is %g, want %g within %.2g", i, k, sum, value*v[i], limit)
				}
			}
		}
		for i := range n {
			trace -= from[i*n+i]
		}
		if !(math.Abs(trace) <= limit*float64(n+1)) || !(math.Abs(math.Sqrt(squares)-norm(from)) <= limit) {
			t.Errorf("the values' trace is %g off, and their norm %g, want %g", trace, math.Sqrt(squares), norm(from))
		}
	})
}

// TestIteration has the vectors that the two methods find of one matrix be the same: those of
// eigenvalues that are apart are what QR of the matrix' products converges to.
func TestIteration(t *testing.T) {
	const n, turns = 12, 60
	rng := rand.New(rand.NewPCG(3, 3))
	b := newBases(n, 1)
	random(rng, b.Matrix(n), n)
	b.Orthonormalize()
	q := append([]float64{}, b.a[:n*n]...)
	a := make([]float64, n*n) // eigenvalues 1, 1/2, 1/4, ...
	for j := range n {
		for i := range n {
			for k := range n {
				a[j*n+i] += q[k*n+i] * q[k*n+j] * math.Ldexp(1, -k)
			}
		}
	}
	symmetric(a, n)
	copy(b.Matrix(n), a)
	b.Eigenvectors()
	want := make([]float64, 0, n*n)
	for k, place := range b.Places() {
		if x := b.Values()[k]; math.Abs(x-math.Ldexp(1, -k)) > 1e-14 {
			t.Errorf("value %d is %g", k, x)
		}
		want = append(want, b.Column(int(place))...)
	}
	x := b.Matrix(n)
	random(rng, x, n)
	for range turns {
		b.Orthonormalize()
		q := append([]float64{}, x...)
		for j := range n {
			for i := range n {
				x[j*n+i] = 0
				for k := range n {
					x[j*n+i] += a[k*n+i] * q[j*n+k]
				}
			}
		}
	}
	b.Orthonormalize()
	for k := range n {
		sum := 0.0
		for i, y := range b.Column(k) {
			sum += y * want[k*n+i]
		}
		if math.Abs(math.Abs(sum)-1) > 1e-10 {
			t.Errorf("vectors %d have the product %g, want 1 or -1", k, sum)
		}
	}
}

// TestNotFinite has bases of what is not finite come to an end, with NaN.
func TestNotFinite(t *testing.T) {
	const n = 40
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, make := range []func(b *Bases){(*Bases).Eigenvectors, (*Bases).Orthonormalize} {
			b := newBases(n, 2)
			a := b.Matrix(n)
			random(rand.New(rand.NewPCG(4, 4)), a, n)
			a[0] = x
			make(b)
			if got := b.Column(0)[0]; got == got {
				t.Errorf("with %g the first element is %g, want NaN", x, got)
			}
		}
		b := newBases(n, 1)
		b.Matrix(n)
		copy(b.Values(), []float64{1, x, 2, math.NaN(), 3})
		b.Sort()
		seen := map[float64]bool{}
		for _, place := range b.Places() {
			seen[place] = true
		}
		if len(seen) != n {
			t.Errorf("with %g there are %d places, want %d", x, len(seen), n)
		}
	}
}

// TestSort puts values in order, and equal ones as they were.
func TestSort(t *testing.T) {
	b := newBases(6, 1)
	b.Matrix(6)
	copy(b.Values(), []float64{1, 3, 1, 3, math.Copysign(0, -1), 0})
	b.Sort()
	if got := fmt.Sprint(b.Values(), b.Places()); got != "[3 3 1 1 -0 0] [1 3 0 2 4 5]" {
		t.Errorf("the order is %s", got)
	}
}

// TestNothing turns what is so small that its squares are 0 by some angle.
func TestNothing(t *testing.T) {
	const n = 7
	b := newBases(n, 1)
	a := b.Matrix(n)
	clear(a)
	for k := range n {
		a[k*n+k], b.off[k] = 1, 0x1p-700
	}
	b.off[n-1] = 0
	b.diagonalize()
	orthonormal(t, b)
}

// TestBits has the bits that bases came to when they were written, for any number of workers.
func TestBits(t *testing.T) {
	const n = 300
	pinned := map[string]uint64{"eigenvectors": 0xf68629527b6b84e9, "orthonormal": 0x360b5b298a5034ef}
	for name, make := range map[string]func(b *Bases){"eigenvectors": (*Bases).Eigenvectors, "orthonormal": (*Bases).Orthonormalize} {
		for _, goroutines := range []int{1, 2, 7} {
			b := newBases(n, goroutines)
			a := b.Matrix(n)
			rng := rand.New(rand.NewPCG(5, 5))
			for i := range a {
				a[i] = float64(rng.Int32N(1<<24)-1<<23) * 0x1p-23
			}
			symmetric(a, n)
			make(b)
			h := fnv.New64a()
			for _, x := range b.a {
				fmt.Fprintf(h, "%016x", math.Float64bits(x))
			}
			if h.Sum64() != pinned[name] {
				t.Errorf("%s, %d workers: the bits are %#016x, want %#016x", name, goroutines, h.Sum64(), pinned[name])
			}
		}
	}
}

// TestAllocs makes bases without allocating.
func TestAllocs(t *testing.T) {
	const n = 100
	b := newBases(n, 2)
	random(rand.New(rand.NewPCG(6, 6)), b.Matrix(n), n)
	symmetric(b.a, n)
	if count := allocs.PerRun(5, func() {
		b.Orthonormalize()
		symmetric(b.a, n)
		b.Eigenvectors()
	}); count > 0 {
		t.Errorf("%g allocations", count)
	}
}
