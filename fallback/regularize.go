package fallback

// RegularizeScalars are the numbers of Regularize.
type RegularizeScalars struct {
	Scale float32 // the gradient's factor
	L2    float32
	L1    float32
}

// Regularize adds the gradients of L2 and L1 penalties to a gradient.
//
//	x ← g·scale + p·l2 + sign(p)·l1
func Regularize(x, g, p []float32, c *RegularizeScalars) {
	for i := range x {
		x[i] = float32(g[i]*c.Scale) + float32(p[i]*c.L2) + signTimes(p[i], c.L1)
	}
}

// ClipScalars are the numbers of Clip.
type ClipScalars struct {
	Part  float32 // of the gradient's factor, where one float32 is too few
	Scale float32 // the rest of it
	Limit float32 // the largest magnitude
}

// Clip scales a gradient and holds it within a limit. NaN stays NaN.
//
//	x ← clamp(g·part·scale, ±limit)
func Clip(x, g []float32, c *ClipScalars) {
	for i := range x {
		scaled := float32(g[i]*c.Part) * c.Scale
		if scaled > c.Limit {
			scaled = c.Limit
		}
		if scaled < -c.Limit {
			scaled = -c.Limit
		}
		x[i] = scaled
	}
}

// ShrinkScalars are the numbers of Shrink.
type ShrinkScalars struct {
	Threshold float32 // lr·l1
	Shrink    float32 // 1 / (1 + lr·l2)
}

// Shrink is the proximal step of L1 and L2 with one step size for all elements.
//
//	p ← soft(p, threshold)·shrink
func Shrink(p []float32, c *ShrinkScalars) {
	for i := range p {
		p[i] = soft(p[i], c.Threshold) * c.Shrink
	}
}

// PenaltyScalars are the numbers of Penalty.
type PenaltyScalars struct {
	L2 float32
	L1 float32
}

// Penalty adds the gradient of l1·|p| + ½l2·p² to g, and |p| and p² to the sums.
//
//	g ← g + p·l2 + sign(p)·l1
func Penalty(g, p []float32, c *PenaltyScalars, absolute, squares *[Lanes]float64) {
	for i := range g {
		g[i] = g[i] + float32(p[i]*c.L2) + signTimes(p[i], c.L1)
		absolute[i%Lanes] += float64(abs(p[i]))
		squares[i%Lanes] += float64(p[i]) * float64(p[i])
	}
}
