package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// A newtonSchulz is the scalars of Muon's second pass.
type newtonSchulz struct {
	size                           float64 // of the direction, which is divided by it
	factor                         float64 // 1/size, or 0
	a, b, c                        float32
	iterations                     int
	dion                           bool
	schatten, spectral, aol        bool
	eps, epsFloor                  float64
	adaptive, normalizes, exactRMS bool
	beta2, epsRow                  float64
}

func (s *muon) newtonSchulz(in *engine.StepInput) newtonSchulz {
	size := math.Sqrt(in.Sums[0])
	if !s.SchattenNorm && !s.SpectralNorm && !s.AOL {
		size = max(size+s.Eps, s.EpsFloor)
	}
	factor := 0.0
	if size != 0 {
		factor = 1 / size
	}
	return newtonSchulz{
		size: size, factor: factor, a: float32(s.A), b: float32(s.B), c: float32(s.C), iterations: s.Iterations, dion: s.Dion,
		schatten: s.SchattenNorm, spectral: s.SpectralNorm, aol: s.AOL, eps: s.Eps, epsFloor: s.EpsFloor,
		adaptive: s.Adaptive, normalizes: s.Beta2 > 0, exactRMS: s.ExactRMS, beta2: s.Beta2, epsRow: s.EpsRow,
	}
}

// coefficients are those of an iteration.
func (c *newtonSchulz) coefficients(k int) (x, s, square float64) {
	if c.dion {
		return dion[k][0], dion[k][1], dion[k][2]
	}
	return float64(c.a), float64(c.b), float64(c.c)
}

// dion are the coefficients of Dion.
var dion = [5][3]float64{
	{4.0848, -6.8946, 2.9270},
	{3.9505, -6.3029, 2.6377},
	{3.7418, -5.5913, 2.3037},
	{2.8769, -3.1427, 1.2046},
	{2.8366, -3.0525, 1.2012},
}

// scaleTo1 is the factor of a matrix that makes a norm 1, which is a norm of X as it is.
func (c *newtonSchulz) scaleTo1(norm float64) float64 {
	return c.size / max(float64(c.size*norm)+c.eps, c.epsFloor)
}

// newtonSchulzRoom is the room for another X and that of the beginning, XXᵀ, the polynomial of
// it, what products take, and a number for each row or column.
func newtonSchulzRoom(t kernels.Table, rows, columns, _ int) int {
	return 2*rows*columns + 2*min(rows, columns)*min(rows, columns) + productRoom(t, rows, columns) + max(rows, columns)
}

// productRoom is the room of the largest product.
func productRoom(t kernels.Table, rows, columns int) int {
	short, long := min(rows, columns), max(rows, columns)
	return max(kernels.MatMulRoom(t, short, short, long), kernels.MatMulRoom(t, rows, columns, short))
}

// An orthogonalizer has the matrices of a pass.
type orthogonalizer struct {
	t       kernels.Table
	team    *engine.Team
	high    bool            // columns are fewer than rows
	x, y    fallback.Matrix // of which one is the state
	s, p    fallback.Matrix // XXᵀ and its polynomial, of XᵀX if it is high
	room    []float32       // of products
	numbers []float32
}

// orthogonalize is the second pass. X is multiplied on its shorter side, of which a matrix
// and its transposed have the same:
//
//	S = XXᵀ, P = B·S + C·S², X ← A·X + P·X        of XᵀX on the right if columns are fewer
//
// What scales X in the first iteration, f, goes into its products: B·f²·S + C·f⁴·S², and
// A·f·X + f·P·X.
func orthogonalize(t kernels.Table, m *engine.Matrix, c *newtonSchulz) {
	n, size, room := min(m.Rows, m.Columns), m.Rows*m.Columns, m.Room
	take := func(rows, columns int) fallback.Matrix {
		taken := room[: rows*columns : rows*columns]
		room = room[rows*columns:]
		return fallback.RowMajor(rows, columns, taken)
	}
	direction := fallback.RowMajor(m.Rows, m.Columns, m.State[len(m.State)-1])
	o := orthogonalizer{t: t, team: m.Team, high: m.Columns < m.Rows, x: direction}
	o.y = take(m.Rows, m.Columns)
	o.s, o.p = take(n, n), take(n, n)
	o.room = take(1, productRoom(t, m.Rows, m.Columns)).Data
	o.numbers = take(1, max(m.Rows, m.Columns)).Data
	if c.iterations%2 > 0 {
		o.x, o.y = o.y, o.x // so that the last one ends in the state
	}
	m.Team.Scale(o.x.Data[:size], direction.Data, c.factor)
	first := take(m.Rows, m.Columns)
	if c.adaptive {
		copy(first.Data, o.x.Data[:size])
	}
	f := 1.0
	if c.spectral {
		f = c.scaleTo1(o.largest())
	}
	for k := range c.iterations {
		o.square()
		switch {
		case k == 0 && c.schatten:
			f = c.scaleTo1(math.Sqrt(o.norm(o.s)))
		case k == 0 && c.aol:
			o.scaleEach(c)
		}
		o.iterate(c, k, f)
		f = 1
	}
	o.lengthen(m, c, first, direction)
}

// multiply is a product with a term that is added.
func (o *orthogonalizer) multiply(c, d, a, b fallback.Matrix, alpha, beta float64, symmetric bool) {
	scalars := fallback.MatMulScalars{Alpha: float32(alpha), Beta: float32(beta)}
	o.team.Multiply(o.t, kernels.MatMul{C: c, D: d, A: a, B: b, MatMulScalars: scalars, Symmetric: symmetric}, o.room)
}

// square makes S of X.
func (o *orthogonalizer) square() {
	left, right := o.x, o.x.T()
	if o.high {
		left, right = right, left
	}
	o.multiply(o.s, o.s, left, right, 1, 0, true)
}

// iterate makes X of itself, times f, and S, which is of X without f.
func (o *orthogonalizer) iterate(c *newtonSchulz, k int, f float64) {
	x, s, square := c.coefficients(k)
	o.multiply(o.p, o.s, o.s, o.s, square*f*f*f*f, s*f*f, true)
	left, right := o.p, o.x
	if o.high {
		left, right = right, left
	}
	o.multiply(o.y, o.x, left, right, f, x*f, false)
	o.x, o.y = o.y, o.x
}

// norm is the root of the sum of squares.
func (o *orthogonalizer) norm(m fallback.Matrix) float64 {
	o.team.Dots(o.numbers, m, m)
	return math.Sqrt(total(o.numbers[:m.Rows]))
}

func total(list []float32) float64 {
	sum := 0.0
	for _, x := range list {
		sum += float64(x)
	}
	return sum
}

// largest is the largest singular value of X. That of M² is the square of that of M, and the
// norm of a matrix that has been squared often enough is the largest alone: within
// n^(2⁻²⁶) after 24 times, and before once a square of norm 1 is as long as what it is of.
func (o *orthogonalizer) largest() float64 {
	const most, asLong = 24, 1 - 0x1p-16
	var alphas [most]float64
	o.square()
	norm, n := o.norm(o.s), 0
	for n < most && norm > 0 {
		alpha := float64(float32(1 / float64(norm*norm)))
		alphas[n] = alpha
		n++
		o.multiply(o.p, o.p, o.s, o.s, alpha, 0, true)
		o.s, o.p = o.p, o.s
		norm = o.norm(o.s)
		if norm >= asLong {
			break
		}
	}
	for n > 0 {
		n--
		norm = math.Sqrt(norm / alphas[n])
	}
	return math.Sqrt(norm)
}

// scaleEach scales the rows of X, or its columns, each by a norm of its own, and S with them.
func (o *orthogonalizer) scaleEach(c *newtonSchulz) {
	by := o.numbers[:o.s.Rows]
	o.team.Sizes(by, o.s)
	for i, x := range by {
		by[i] = finiteFactor(c.scaleTo1(math.Sqrt(float64(x))))
	}
	o.team.ScaleBoth(o.s, by)
	if o.high {
		o.team.ScaleColumns(o.x, by)
	} else {
		o.team.ScaleRows(o.x, by)
	}
}

// finiteFactor leaves zeros of rows as they are.
func finiteFactor(x float64) float32 { return float32(min(x, math.MaxFloat32)) }

// lengthen makes the direction as long as Adaptive and Beta2 say.
func (o *orthogonalizer) lengthen(m *engine.Matrix, c *newtonSchulz, first, direction fallback.Matrix) {
	scale := 1.0
	if c.adaptive {
		o.team.Dots(o.numbers, first, direction)
		scale = c.size * total(o.numbers[:m.Rows])
	}
	switch {
	case c.normalizes:
		o.team.Dots(o.numbers, direction, direction)
		c.rowFactors(o.numbers[:m.Rows], m.State[1], m.Columns, scale)
		o.team.ScaleRows(direction, o.numbers)
	case c.adaptive:
		o.team.Scale(direction.Data, direction.Data, scale)
	}
}

// rowFactors makes of the sums of a matrix' squares by row what NorMuon scales rows by, and
// moves their means.
func (c *newtonSchulz) rowFactors(row, v []float32, columns int, scale float64) {
	before, after := 0.0, 0.0
	for i, x := range row {
		mean := float64(x) / float64(columns)
		v[i] = float32(float64(c.beta2*float64(v[i])) + float64((1-c.beta2)*mean))
		by := c.rowFactor(v[i])
		before += float64(x)
		after += float64(by * by * float64(x))
	}
	size := math.Sqrt(before)
	if c.exactRMS {
		size = math.Sqrt(float64(len(row)) * float64(columns))
	}
	scale *= size / (math.Sqrt(after) + c.epsRow)
	for i := range row {
		row[i] = finiteFactor(c.rowFactor(v[i]) * scale)
	}
}

// rowFactor is what a row with the mean v is multiplied by.
func (c *newtonSchulz) rowFactor(v float32) float64 { return 1 / (math.Sqrt(float64(v)) + c.epsRow) }
