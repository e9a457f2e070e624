package fallback

// AdaBeliefScalars are the numbers of one AdaBelief step.
type AdaBeliefScalars struct {
	Common
	Beta2   float32
	Root2   float32 // β₁·√(1 - β₂): x is β₁ times as far from the new m as from the old
	Small   Mask    // the distances from m, times root2, whose squares do not count
	EpsIn   float32 // added to s in each step
	Weight1 float32 // of the gradient in m: see Weight
	Eps     float32 // times √(1-β₂ᵗ), added outside of the root
	Step    float32 // lr·√(1-β₂ᵗ)/(1-β₁ᵗ)
}

// AdaBelief divides by the root of the mean square of what the gradient is away from its
// own mean (Zhuang et al. 2020).
//
//	s ← s·beta2 + drop((x - m)·root2, small)² + epsIn
//	m ← lerp(m, x, weight1)
//	p ← p - (m·step / (√s + eps) + p·decay)
func AdaBelief(p, g, m, s []float32, c *AdaBeliefScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		s[i] = float32(s[i]*c.Beta2) + square(x-m[i], c.Root2, c.Small) + c.EpsIn
		m[i] = lerp(m[i], x, c.Weight1)
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(s[i])+c.Eps))
	}
}
