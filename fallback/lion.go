package fallback

// LionScalars are the numbers of one Lion step.
type LionScalars struct {
	Common
	Weight1 float32 // of the gradient in the direction: see Weight
	Weight2 float32 // and in m
	Step    float32 // lr
}

// Lion steps along the sign of a mean of momentum and gradient (Chen et al. 2023). It
// takes every gradient for what it is: drop is not heeded.
//
//	p ← p - (sign(lerp(m, x, weight1))·step + p·decay)
//	m ← lerp(m, x, weight2)
func Lion(p, g, m []float32, c *LionScalars) {
	for i := range p {
		x := c.wholeGradient(g[i], p[i])
		p[i] = c.decayed(p[i], signTimes(lerp(m[i], x, c.Weight1), c.Step))
		m[i] = lerp(m[i], x, c.Weight2)
	}
}

// LionBF16Scalars are the numbers of one LionBF16 step.
type LionBF16Scalars = LionScalars

// LionBF16 is Lion along gradients of BF16, which leaves a copy of the parameters.
//
//	p ← p - (sign(lerp(m, x, weight1))·step + p·decay)
//	m ← lerp(m, x, weight2)
//	h ← p, rounded to nearest even
func LionBF16(p []float32, g []BF16, m []float32, h []BF16, c *LionBF16Scalars) {
	for i := range p {
		x := c.wholeGradient(g[i].Float32(), p[i])
		p[i] = c.decayed(p[i], signTimes(lerp(m[i], x, c.Weight1), c.Step))
		m[i] = lerp(m[i], x, c.Weight2)
		h[i] = ToBF16(p[i])
	}
}
