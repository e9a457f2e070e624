package fallback

import "math"

// MatMulLen is how many products of an element of a matrix product are one sum.
const MatMulLen = 256

// MatMulScalars are the factors of MatMul.
type MatMulScalars struct {
	Alpha, Beta float32
}

// A Matrix is a matrix of float32: element i, j is Data[i·RowStride + j·ColumnStride].
type Matrix struct {
	Data                    []float32
	Rows, Columns           int
	RowStride, ColumnStride int
}

// RowMajor is the matrix of elements that lie row after row.
func RowMajor(rows, columns int, data []float32) Matrix {
	return Matrix{data, rows, columns, columns, 1}
}

// T is the transposed matrix, in the same memory.
func (m Matrix) T() Matrix {
	return Matrix{m.Data, m.Columns, m.Rows, m.ColumnStride, m.RowStride}
}

// At is the element in row i and column j.
func (m Matrix) At(i, j int) float32 { return m.Data[i*m.RowStride+j*m.ColumnStride] }

// MatMul is C ← α·A·B + β·D. Each element is, with all operations rounded once and
// products that are added not rounded at all (fused multiply-add),
//
//	c = α·s₀ + round(β·d), then c ← α·s₁ + c, c ← α·s₂ + c, …
//
// where s₀ is the sum of the first MatMulLen products, added in order to +0, and s₁ that
// of the next. If β is 0, d is not read and β·d is +0. C may be D, and overlaps A and B in
// nothing.
func MatMul(c, d, a, b Matrix, s *MatMulScalars) {
	for i := range c.Rows {
		for j := range c.Columns {
			var x float32
			if s.Beta != 0 {
				x = s.Beta * d.At(i, j)
			}
			for first := 0; first == 0 || first < a.Columns; first += MatMulLen {
				var sum float32
				for k := first; k < min(first+MatMulLen, a.Columns); k++ {
					sum = fma(a.At(i, k), b.At(k, j), sum)
				}
				x = fma(s.Alpha, sum, x)
			}
			c.Data[i*c.RowStride+j*c.ColumnStride] = x
		}
	}
}

// What MatMulTile makes at once.
const (
	MatMulRows    = 4
	MatMulColumns = 16
)

// MatMulTile is MatMul of MatMulRows × MatMulColumns elements and of n products, at most
// MatMulLen: a has the column of A of each product after the one of the product before,
// and b the row of B. The rows of c and d are so many elements apart.
func MatMulTile(n int, a, b, c []float32, rowsOfC int, d []float32, rowsOfD int, s *MatMulScalars) {
	var sums [MatMulRows * MatMulColumns]float32
	for k := range n {
		row := b[k*MatMulColumns:][:MatMulColumns]
		for i, x := range a[k*MatMulRows:][:MatMulRows] {
			sum := sums[i*MatMulColumns:][:MatMulColumns]
			for j := range sum {
				sum[j] = fma(x, row[j], sum[j])
			}
		}
	}
	for i := range MatMulRows {
		for j := range MatMulColumns {
			var x float32
			if s.Beta != 0 {
				x = s.Beta * d[i*rowsOfD+j]
			}
			c[i*rowsOfC+j] = fma(s.Alpha, sums[i*MatMulColumns+j], x)
		}
	}
}

// fma is x·y + z, rounded once.
//
// The product is exact in float64. Of the sum, which is rounded, float32 makes the same as
// of the exact one unless it is one of float32's numbers or half way between two: then its
// last 28 bits at least are zeros. Such a sum that is not exact is rounded to odd instead:
// to the one of its two neighbors whose last bit is 1, which is neither.
func fma(x, y, z float32) float32 {
	p, q := float64(x)*float64(y), float64(z)
	sum := p + q
	if math.Float64bits(sum)<<36 != 0 {
		return float32(sum)
	}
	part := sum - p
	lost := (p - (sum - part)) + (q - part)
	switch {
	case lost > 0 && sum > 0 || lost < 0 && sum < 0:
		sum = math.Float64frombits(math.Float64bits(sum) + 1)
	case lost > 0 || lost < 0: // of infinities it is NaN
		sum = math.Float64frombits(math.Float64bits(sum) - 1)
	}
	return float32(sum)
}
