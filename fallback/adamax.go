package fallback

// AdamaxScalars are the numbers of one Adamax step.
type AdamaxScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	EpsIn   float32 // added to the gradient's magnitude
	Eps     float32 // added to u
	Step    float32 // lr/(1-β₁ᵗ)
}

// Adamax is Adam in the infinity norm (Kingma, Ba 2015): it divides by the largest
// magnitude of a gradient, of which each step forgets a part. A NaN stays in m.
//
//	m ← lerp(m, x, weight1)
//	u ← max(u·beta2, |x| + epsIn)
//	p ← p - (m·step / (u + eps) + p·decay)
func Adamax(p, g, m, u []float32, c *AdamaxScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		u[i] = larger(float32(u[i]*c.Beta2), abs(x)+c.EpsIn)
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(u[i]+c.Eps))
	}
}
