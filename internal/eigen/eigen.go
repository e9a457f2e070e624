// Package eigen makes orthonormal bases of square matrices: of the eigenvectors of a symmetric
// one, and of the columns of any. It computes in float64, each operation rounded once and in
// one order whoever shares the work, so that the bits are the same on every CPU, for any
// number of workers, and in C (c/src/eigen.c).
//
// Matrices of n rows are in n² numbers, one column after the other. Nothing waits for numbers
// to converge for longer than a bound: of a matrix with a NaN or an infinity all eigenvectors
// are NaN.
package eigen

import (
	"math"

	"github.com/lockstep-go/lockstep/internal/workers"
)

const (
	// panel is how many reflections a column has one after the other while it is in the cache.
	panel = 16

	// unitColumns are the columns that a worker takes at a time, unitRows the rows of all
	// columns that it rotates, and work how many operations take as long as an element of a
	// step. None changes a bit.
	unitColumns = 8
	unitRows    = 128
	work        = 4
)

// Bases makes bases of matrices of up to some rows. The zero Bases has no room yet.
type Bases struct {
	pool *workers.Pool
	n    int
	a    []float64 // the matrix, and what becomes of it

	tau            []float64 // factors of reflections
	diagonal, off  []float64
	cosine, sine   []float64 // of rotations
	places, values []float64

	reflecting reflecting
	reducing   reducing
	rotating   rotating
}

// Use has the goroutines of a pool share the work.
func (b *Bases) Use(pool *workers.Pool) { b.pool = pool }

// Grow makes room for matrices of so many rows: 8 bytes for each element and 56 for each row.
func (b *Bases) Grow(n int) {
	if n*n <= len(b.a) {
		return
	}
	b.a = make([]float64, n*n)
	list := make([]float64, 7*n)
	for _, x := range []*[]float64{&b.tau, &b.diagonal, &b.off, &b.cosine, &b.sine, &b.places, &b.values} {
		*x, list = list[:n:n], list[n:]
	}
}

// Matrix is room for a matrix of so many rows, of which a method makes a basis.
func (b *Bases) Matrix(n int) []float64 {
	b.n = n
	return b.a[:n*n]
}

// Column is a column of the basis.
func (b *Bases) Column(k int) []float64 { return b.a[k*b.n:][:b.n] }

// Places are which columns are the first, the second and so on of the basis by eigenvalues,
// as Eigenvectors or Sort leave them.
func (b *Bases) Places() []float64 { return b.places[:b.n] }

// Values is room for a number of each column, which are the eigenvalues after Eigenvectors and
// in descending order after Sort.
func (b *Bases) Values() []float64 { return b.values[:b.n] }

// Sort puts the values in descending order, equal ones and NaN in that of their columns.
func (b *Bases) Sort() {
	values, places := b.Values(), b.Places()
	for k, x := range values {
		j := k
		for ; j > 0 && values[j-1] < x; j-- {
			values[j], places[j] = values[j-1], places[j-1]
		}
		values[j], places[j] = x, float64(k)
	}
}

// Orthonormalize makes of the columns of the matrix an orthonormal basis of which the first k
// columns span what the first k of the matrix do, as far as those are independent: the Q of
// QR, by Householder's reflections. It takes 8/3·n³ operations.
func (b *Bases) Orthonormalize() {
	n := b.n
	for lo := 0; lo < n; lo += panel {
		hi := min(lo+panel, n)
		for k := lo; k < hi; k++ {
			v := b.Column(k)[k:]
			_, b.tau[k] = householder(v)
			for j := k + 1; j < hi; j++ {
				reflect(b.Column(j)[k:], v, b.tau[k])
			}
		}
		b.reflectAll(lo, hi, false)
	}
	b.form()
}

// form makes of reflections, of which column k has that of the rows from k on, the product of
// all, in their place.
func (b *Bases) form() {
	n := b.n
	for lo := (n - 1) / panel * panel; lo >= 0; lo -= panel {
		hi := min(lo+panel, n)
		b.reflectAll(lo, hi, true)
		for k := hi - 1; k >= lo; k-- {
			v := b.Column(k)
			for j := k + 1; j < hi; j++ {
				reflect(b.Column(j)[k:], v[k:], b.tau[k])
			}
			clear(v[:k])
			for i := k; i < n; i++ {
				v[i] = -float64(b.tau[k] * v[i])
			}
			v[k]++
		}
	}
}

// householder makes of x the vector v, of which the first element is 1, and a factor such that
// I - tau·v·vᵀ takes x to a multiple, beta, of the first axis.
func householder(x []float64) (beta, tau float64) {
	first := x[0]
	x[0] = 0
	squares := dot(x, x)
	x[0] = 1
	if squares == 0 {
		return first, 0
	}
	beta = -math.Copysign(math.Sqrt(float64(first*first)+squares), first)
	by := 1 / (first - beta)
	for i := 1; i < len(x); i++ {
		x[i] *= by
	}
	return beta, (beta - first) / beta
}

// reflect applies a reflection to x, which is as long as v.
func reflect(x, v []float64, tau float64) {
	if tau != 0 {
		add(x, v, -float64(tau*dot(x, v)))
	}
}

// dot is the sum of products: of eight lanes, which are added as pairs.
func dot(x, y []float64) float64 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float64
	y = y[:len(x)]
	for len(x) >= 8 {
		s0 += float64(x[0] * y[0])
		s1 += float64(x[1] * y[1])
		s2 += float64(x[2] * y[2])
		s3 += float64(x[3] * y[3])
		s4 += float64(x[4] * y[4])
		s5 += float64(x[5] * y[5])
		s6 += float64(x[6] * y[6])
		s7 += float64(x[7] * y[7])
		x, y = x[8:], y[8:]
	}
	rest := 0.0
	for i := range x {
		rest += float64(x[i] * y[i])
	}
	return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)) + rest
}

// add adds y times a factor to x.
func add(x, y []float64, by float64) {
	y = y[:len(x)]
	for i := range x {
		x[i] += float64(by * y[i])
	}
}

// reflectAll applies the reflections of the columns from lo to hi to all columns behind them:
// the first one first, or the last.
func (b *Bases) reflectAll(lo, hi int, backward bool) {
	columns := b.n - hi
	b.reflecting = reflecting{b, lo, hi, backward}
	b.pool.Run(&b.reflecting, (columns+unitColumns-1)/unitColumns, columns*(b.n-lo)*4*(hi-lo)/work, true)
}

// reflecting is the task of reflectAll.
type reflecting struct {
	b        *Bases
	lo, hi   int
	backward bool
}

func (r *reflecting) Do(unit, _ int) {
	b := r.b
	for j := r.hi + unit*unitColumns; j < min(r.hi+(unit+1)*unitColumns, b.n); j++ {
		for i := range r.hi - r.lo {
			k := r.lo + i
			if r.backward {
				k = r.hi - 1 - i
			}
			reflect(b.Column(j)[k:], b.Column(k)[k:], b.tau[k])
		}
	}
}
