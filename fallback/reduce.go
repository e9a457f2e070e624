package fallback

// Sum adds the elements to the lanes.
func Sum(x []float32, sum *[Lanes]float64) {
	for i := range x {
		sum[i%Lanes] += float64(x[i])
	}
}

// SumAbs adds the magnitudes to the lanes.
func SumAbs(x []float32, sum *[Lanes]float64) {
	for i := range x {
		sum[i%Lanes] += float64(abs(x[i]))
	}
}

// SumSquares adds the squares to the lanes. A square of a float32 is exact in
// float64, so that it cannot overflow and a fused addition changes nothing.
func SumSquares(x []float32, sum *[Lanes]float64) {
	for i := range x {
		sum[i%Lanes] += float64(x[i]) * float64(x[i])
	}
}

// MaxAbs keeps the largest magnitude in the lanes. NaN counts as nothing.
func MaxAbs(x []float32, max *[Lanes]float32) {
	for i := range x {
		if abs(x[i]) > max[i%Lanes] {
			max[i%Lanes] = abs(x[i])
		}
	}
}

// RowMost stores the largest magnitude of each row of a matrix, row-major with len(w) columns; w is no
// more than that length. NaN counts as nothing.
func RowMost(most, x, w []float32) {
	for k := range most {
		most[k] = 0
		for _, y := range x[k*len(w):][:len(w)] {
			most[k] = larger(abs(y), most[k])
		}
	}
}

// CountBeyondScalars are the numbers of CountBeyond.
type CountBeyondScalars struct {
	Limit float32
}

// CountBeyond adds the number of elements whose magnitude is above a limit, or that are
// NaN, to the lanes.
func CountBeyond(x []float32, c *CountBeyondScalars, count *[Lanes]float64) {
	for i := range x {
		if !(abs(x[i]) <= c.Limit) {
			count[i%Lanes]++
		}
	}
}
