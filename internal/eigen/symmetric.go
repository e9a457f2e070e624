package eigen

import "math"

// mostTurns bounds how often an eigenvalue is turned towards: two or three times are enough.
const mostTurns = 50

// Eigenvectors makes of a symmetric matrix, all of which is read, its eigenvectors, which are
// the columns of the basis, and Values, its eigenvalues. Places has them from the largest
// value to the smallest. It is reduced to three diagonals by Householder's reflections, and
// those to one by the QL algorithm with implicit shifts: some 9·n³ operations.
func (b *Bases) Eigenvectors() {
	if b.n == 0 {
		return
	}
	if !b.isFinite() {
		for k := range b.a[:b.n*b.n] {
			b.a[k] = math.NaN()
		}
		for k := range b.n {
			b.values[k] = math.NaN()
		}
		b.Sort()
		return
	}
	b.reduce()
	b.shift()
	b.form()
	b.diagonalize()
	copy(b.Values(), b.diagonal)
	b.Sort()
}

func (b *Bases) isFinite() bool {
	for _, x := range b.a[:b.n*b.n] {
		if math.Abs(x) > math.MaxFloat64 || x != x {
			return false
		}
	}
	return true
}

// reduce leaves three diagonals of the matrix, and reflections in the columns below them. What
// a reflection changes of other columns, v·wᵀ + w·vᵀ, is taken off in the pass over them that
// the next one needs.
func (b *Bases) reduce() {
	n, r := b.n, &b.reducing
	*r = reducing{b: b, p: b.sine[:n], w: b.cosine[:n]}
	for k := range n - 1 {
		x := b.Column(k)
		r.subtract(k, k)
		b.diagonal[k] = x[k]
		b.off[k], b.tau[k] = householder(x[k+1:])
		r.k = k
		b.pool.Run(r, (n-1-k+unitColumns-1)/unitColumns, (n-1-k)*(n-1-k)*6/work, true)
		v, p := x[k+1:], r.p[k+1:]
		if b.tau[k] != 0 {
			add(p, v, -float64(float64(b.tau[k]/2)*dot(p, v)))
		}
		r.v, r.w, r.p, r.pending = v, r.p, r.w, b.tau[k] != 0
	}
	r.subtract(n-1, n-1)
	b.diagonal[n-1], b.off[n-1], b.tau[n-1] = b.Column(n - 1)[n-1], 0, 0
}

// reducing is the task of reduce: it makes p, the product of the matrix with the reflection of
// column k.
type reducing struct {
	b    *Bases
	k    int
	p, w []float64 // by row
	v    []float64 // the reflection before, of the last rows

	pending bool // what it changes is yet to be taken off
}

func (r *reducing) Do(unit, _ int) {
	b, k := r.b, r.k
	v := b.Column(k)[k+1:]
	for j := k + 1 + unit*unitColumns; j < min(k+1+(unit+1)*unitColumns, b.n); j++ {
		r.subtract(j, k+1)
		r.p[j] = 0
		if b.tau[k] != 0 {
			r.p[j] = b.tau[k] * dot(b.Column(j)[k+1:], v)
		}
	}
}

// subtract takes off what the reflection before changes of a column, from a row on.
func (r *reducing) subtract(j, row int) {
	if !r.pending {
		return
	}
	x, n := r.b.Column(j)[row:], r.b.n
	v, w := r.v[len(r.v)-(n-row):], r.w[row:n]
	vj, wj := r.v[len(r.v)-(n-j)], r.w[j]
	for i := range x {
		x[i] -= float64(v[i]*wj) + float64(w[i]*vj)
	}
}

// shift puts each reflection one column further, where form looks for that of its rows.
func (b *Bases) shift() {
	n := b.n
	for k := n - 1; k > 0; k-- {
		copy(b.Column(k)[k:], b.Column(k - 1)[k:])
		b.tau[k] = b.tau[k-1]
	}
	b.tau[0], b.a[0] = 0, 1
}

// diagonalize turns the columns until the diagonal beside the main one is 0.
func (b *Bases) diagonalize() {
	d, off := b.diagonal[:b.n], b.off[:b.n]
	largest := 0.0
	for k := range d {
		largest = max(largest, math.Abs(d[k])+math.Abs(off[k]))
	}
	small := largest * 0x1p-52
	for first := range d {
		for range mostTurns {
			last := first
			for last < b.n-1 && math.Abs(off[last]) > small {
				last++
			}
			if last == first {
				break
			}
			b.turn(first, last)
		}
	}
}

// turn is a sweep of rotations from a last row up to the first one of a block.
func (b *Bases) turn(first, last int) {
	d, off := b.diagonal, b.off
	// The shift is the eigenvalue of the first two rows that is nearer to the first.
	half := (d[first+1] - d[first]) / (2 * off[first])
	root := math.Copysign(math.Sqrt(float64(half*half)+1), half)
	g := d[last] - d[first] + off[first]/(half+root)
	sine, cosine, less := 1.0, 1.0, 0.0
	for i := last - 1; i >= first; i-- {
		f, h := float64(sine*off[i]), float64(cosine*off[i])
		r := math.Sqrt(float64(f*f) + float64(g*g))
		off[i+1] = r
		if sine, cosine = 0, 1; r > 0 { // nothing can be turned by any angle
			sine, cosine = f/r, g/r
		}
		g = d[i+1] - less
		r = float64((d[i]-g)*sine) + float64(float64(2*cosine)*h)
		less = float64(sine * r)
		d[i+1] = g + less
		g = float64(cosine*r) - h
		b.sine[i], b.cosine[i] = sine, cosine
	}
	d[first] -= less
	off[first], off[last] = g, 0
	b.rotating = rotating{b, first, last}
	b.pool.Run(&b.rotating, (b.n+unitRows-1)/unitRows, b.n*(last-first)*6/work, true)
}

// rotating is the task of a sweep's rotations of columns next to each other.
type rotating struct {
	b           *Bases
	first, last int
}

func (r *rotating) Do(unit, _ int) {
	b, lo := r.b, unit*unitRows
	hi := min(lo+unitRows, b.n)
	for k := r.last - 1; k >= r.first; k-- {
		x, y := b.Column(k)[lo:hi], b.Column(k + 1)[lo:hi]
		sine, cosine := b.sine[k], b.cosine[k]
		for i, f := range y {
			y[i] = float64(sine*x[i]) + float64(cosine*f)
			x[i] = float64(cosine*x[i]) - float64(sine*f)
		}
	}
}
