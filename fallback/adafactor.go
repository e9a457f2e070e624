package fallback

import "math"

// AdafactorScalars are the numbers of Adafactor.
type AdafactorScalars struct {
	Common
	Beta2 float32
	Root2 float32 // √(1 - β₂)
	Small Mask    // the gradients, times root2, whose squares do not count
	Added float32 // to the mean of squares
	Least float32 // the least divisor
}

// Adafactor is the first pass of Adafactor over a vector, whose second moment is not
// factored (Shazeer, Stern 2018): it updates v and adds up the squares of the direction u
// and of the parameters.
//
//	v ← v·beta2 + (drop(x·root2, small)² + added)
//	u = x / max(√v, least)
func Adafactor(p, g, v []float32, c *AdafactorScalars, updates, params *[Lanes]float64) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + (square(x, c.Root2, c.Small) + c.Added)
		u := x / leastRoot(v[i], c.Least)
		updates[i%Lanes] += float64(u) * float64(u)
		params[i%Lanes] += float64(p[i]) * float64(p[i])
	}
}

// leastRoot is √v, or the least divisor; NaN stays NaN.
func leastRoot(v, least float32) float32 {
	root := sqrt(v)
	if least > root {
		return least
	}
	return root
}

// AdafactorMoveScalars are the numbers of AdafactorMove.
type AdafactorMoveScalars struct {
	Common
	Least float32 // as in Adafactor
	Step  float32 // what u is multiplied by
}

// AdafactorMove is the second pass of Adafactor over a vector.
//
//	u = x / max(√v, least)
//	p ← p - (u·step + p·decay)
func AdafactorMove(p, g, v []float32, c *AdafactorMoveScalars) {
	for i := range p {
		u := c.gradient(g[i], p[i]) / leastRoot(v[i], c.Least)
		p[i] = c.decayed(p[i], float32(u*c.Step))
	}
}

// AdafactorMomentumScalars are the numbers of AdafactorMomentum.
type AdafactorMomentumScalars struct {
	Common
	Least   float32 // as in Adafactor
	Step    float32 // what u is multiplied by
	Weight1 float32 // of the step in m: see Weight
}

// AdafactorMomentum is AdafactorMove with a running mean of its steps.
//
//	u = x / max(√v, least)
//	m ← lerp(m, u·step, weight1)
//	p ← p - (m + p·decay)
func AdafactorMomentum(p, g, m, v []float32, c *AdafactorMomentumScalars) {
	for i := range p {
		u := c.gradient(g[i], p[i]) / leastRoot(v[i], c.Least)
		m[i] = lerp(m[i], float32(u*c.Step), c.Weight1)
		p[i] = c.decayed(p[i], m[i])
	}
}

// AdafactorSquaresScalars are the numbers of AdafactorSquares.
type AdafactorSquaresScalars struct {
	Scale float32 // the gradient's factor
	Root  float32 // a factor that keeps sums of squares finite
	Small Mask    // the gradients, times root, whose squares do not count
}

// AdafactorSquares is what the factors of a matrix' second moment are made of: its squares,
// summed up by row, in 32 lanes and these in the order of Total, and added up by column.
// The matrix is row-major with len(column) columns.
//
//	y = drop(g·scale·root, small)²
//	row ← Σ y of it
//	column ← column + y, one row after the other
func AdafactorSquares(row, g, column []float32, c *AdafactorSquaresScalars) {
	for i := range row {
		of := g[i*len(column):][:len(column)]
		var lanes [Lanes]float32
		for j := range column {
			y := square(float32(of[j]*c.Scale), c.Root, c.Small)
			lanes[j%Lanes] += y
			column[j] += y
		}
		row[i] = total(&lanes)
	}
}

// AdafactorFactoredScalars are the numbers of AdafactorFactored.
type AdafactorFactoredScalars struct {
	Scale float32 // the gradient's factor
	Drop  Mask    // the gradients, scaled, that are taken for 0
	Most  float32 // the largest factor
}

// AdafactorFactored measures the direction u of a matrix, row-major with len(column)
// columns, whose gradient is multiplied by the factors of its row and its column: it adds
// up the squares of u and of the parameters.
//
//	u = drop(g·scale, drop)·min(row·column, most)
func AdafactorFactored(p, g, row, column []float32, c *AdafactorFactoredScalars, updates, params *[Lanes]float64) {
	for i := range row {
		from := i * len(column)
		for j := range column {
			u := factored(g[from+j], row[i], column[j], c.Scale, c.Most, c.Drop)
			updates[j%Lanes] += float64(u) * float64(u)
			params[j%Lanes] += float64(p[from+j]) * float64(p[from+j])
		}
	}
}

// factored is the direction of an element; NaN stays NaN.
func factored(g, row, column, scale, most float32, small Mask) float32 {
	factor := float32(row * column)
	if most < factor {
		factor = most
	}
	return float32(drop(float32(g*scale), small) * factor)
}

// AdafactorFactoredMoveScalars are the numbers of AdafactorFactoredMove.
type AdafactorFactoredMoveScalars struct {
	Scale float32 // as in AdafactorFactored
	Drop  Mask    // as in AdafactorFactored
	Most  float32 // as in AdafactorFactored
	Decay float32 // lr·(weight decay)
	Step  float32 // what u is multiplied by
}

// AdafactorFactoredMove moves a matrix, row-major with len(column) columns.
//
//	u = drop(g·scale, drop)·min(row·column, most)
//	p ← p - (u·step + p·decay)
func AdafactorFactoredMove(p, g, row, column []float32, c *AdafactorFactoredMoveScalars) {
	for i := range row {
		from := i * len(column)
		for j := range column {
			u := factored(g[from+j], row[i], column[j], c.Scale, c.Most, c.Drop)
			p[from+j] -= float32(u*c.Step) + float32(p[from+j]*c.Decay)
		}
	}
}

// AdafactorFactoredMomentumScalars are the numbers of AdafactorFactoredMomentum.
type AdafactorFactoredMomentumScalars struct {
	Scale   float32 // as in AdafactorFactored
	Drop    Mask    // as in AdafactorFactored
	Most    float32 // as in AdafactorFactored
	Decay   float32 // lr·(weight decay)
	Step    float32 // what u is multiplied by
	Weight1 float32 // of the step in m: see Weight
}

// AdafactorFactoredMomentum is AdafactorFactoredMove with a running mean of its steps.
//
//	u = drop(g·scale, drop)·min(row·column, most)
//	m ← lerp(m, u·step, weight1)
//	p ← p - (m + p·decay)
func AdafactorFactoredMomentum(p, g, m, row, column []float32, c *AdafactorFactoredMomentumScalars) {
	for i := range row {
		from := i * len(column)
		for j := range column {
			u := factored(g[from+j], row[i], column[j], c.Scale, c.Most, c.Drop)
			m[from+j] = lerp(m[from+j], float32(u*c.Step), c.Weight1)
			p[from+j] -= m[from+j] + float32(p[from+j]*c.Decay)
		}
	}
}

// AdafactorFactorsScalars are the numbers of AdafactorFactors.
type AdafactorFactorsScalars struct {
	Weight    float64 // of the squares in the means
	EpsSquare float64 // added to each square
	EpsFloor  float64 // the least mean of the rows' means
	Squares   float64 // what sums of squares are divided by: the square of the Root that they had
}

// AdafactorFactors makes factors of the sums of squares that AdafactorSquares leaves: of a
// row in row, as if it had so many summed columns, of a column in sums. It moves the means of rows
// and columns towards them.
//
//	rowVar ← rowVar + (mean + epsSquare - rowVar)·weight
//	colVar ← colVar + (mean + epsSquare - colVar)·weight
//	row ← √(max(mean of rowVar, epsFloor) / rowVar)
//	column ← 1/√colVar
func AdafactorFactors(rowVar, colVar, row, column []float32, sums []float64, summed int, c *AdafactorFactorsScalars) {
	mean, rows := 0., float64(len(row))
	for i := range row {
		c.move(&rowVar[i], float64(row[i])/float64(c.Squares*float64(summed)))
		mean += float64(rowVar[i])
	}
	mean = max(mean/rows, c.EpsFloor)
	for i := range row {
		row[i] = rootOf(mean, rowVar[i])
	}
	for j := range column {
		c.move(&colVar[j], sums[j]/float64(c.Squares*rows))
		column[j] = rootOf(1, colVar[j])
	}
}

// move moves a mean towards that of squares.
func (c *AdafactorFactorsScalars) move(x *float32, square float64) {
	from := float64(*x)
	*x = float32(from + float64(c.Weight*(square+c.EpsSquare-from)))
}

// rootOf is √(x/y), which is infinite where y is 0.
func rootOf(x float64, y float32) float32 {
	if y == 0 {
		return float32(math.Inf(1))
	}
	return float32(math.Sqrt(x / float64(y)))
}
