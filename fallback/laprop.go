package fallback

// LaPropScalars are the numbers of one LaProp step.
type LaPropScalars struct {
	Common
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Input   float32 // the gradient's factor: √(1-β₂ᵗ)
	Eps     float32 // times √(1-β₂ᵗ)
	Weight1 float32 // of the quotient in m: see Weight
	Step    float32 // lr/(1-β₁ᵗ)
}

// LaProp takes the mean of gradients that are divided by the root already (Ziyin, Wang,
// Ueda 2020).
//
//	v ← v·beta2 + drop(x·root2, small)²
//	m ← lerp(m, x·input / (√v + eps), weight1)
//	p ← p - (m·step + p·decay)
func LaProp(p, g, m, v []float32, c *LaPropScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		m[i] = lerp(m[i], float32(x*c.Input)/(sqrt(v[i])+c.Eps), c.Weight1)
		p[i] = c.decayed(p[i], float32(m[i]*c.Step))
	}
}
