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
