package fallback

// Add2Scalars are the numbers of Add2.
type Add2Scalars struct {
	Scale1 float32 // g1's factor
	Scale2 float32 // g2's
}

// Add2 adds two gradients up, each with a factor.
//
//	x ← g1·scale1 + g2·scale2
func Add2(x, g1, g2 []float32, c *Add2Scalars) {
	for i := range x {
		x[i] = float32(g1[i]*c.Scale1) + float32(g2[i]*c.Scale2)
	}
}

// Add3Scalars are the numbers of Add3.
type Add3Scalars struct {
	Scale1 float32
	Scale2 float32
	Scale3 float32
}

// Add3 adds three gradients up, one after the other.
//
//	x ← (g1·scale1 + g2·scale2) + g3·scale3
func Add3(x, g1, g2, g3 []float32, c *Add3Scalars) {
	for i := range x {
		x[i] = float32(g1[i]*c.Scale1) + float32(g2[i]*c.Scale2) + float32(g3[i]*c.Scale3)
	}
}

// Add4Scalars are the numbers of Add4.
type Add4Scalars struct {
	Scale1 float32
	Scale2 float32
	Scale3 float32
	Scale4 float32
}

// Add4 adds four gradients up, one after the other.
//
//	x ← ((g1·scale1 + g2·scale2) + g3·scale3) + g4·scale4
func Add4(x, g1, g2, g3, g4 []float32, c *Add4Scalars) {
	for i := range x {
		x[i] = float32(g1[i]*c.Scale1) + float32(g2[i]*c.Scale2) + float32(g3[i]*c.Scale3) + float32(g4[i]*c.Scale4)
	}
}

// AccumulateScalars are the numbers of Accumulate.
type AccumulateScalars struct {
	Scale float32 // the gradient's factor
}

// Accumulate adds a gradient to the sum of others.
//
//	x ← x + g·scale
func Accumulate(x, g []float32, c *AccumulateScalars) {
	for i := range x {
		x[i] += float32(g[i] * c.Scale)
	}
}

// CenterScalars are the numbers of Center.
type CenterScalars struct {
	Mean float32
}

// Center takes a mean off a gradient.
//
//	x ← g - mean
func Center(x, g []float32, c *CenterScalars) {
	for i := range x {
		x[i] = g[i] - c.Mean
	}
}

// AverageScalars are the numbers of Average.
type AverageScalars struct {
	Weight float32 // of the parameters
}

// Average moves a running mean of parameters towards them.
//
//	a ← a + (p - a)·weight
func Average(a, p []float32, c *AverageScalars) {
	for i := range a {
		a[i] += float32((p[i] - a[i]) * c.Weight)
	}
}
