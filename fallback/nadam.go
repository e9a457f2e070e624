package fallback

// NAdamScalars are the numbers of one NAdam step.
type NAdamScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Direct  float32 // the gradient's factor in the step: lr(1-μ)/(1-Πμ)
	Step    float32 // m's: lr·μ/(1-Πμ) of the next step's momentum μ
}

// NAdam is Adam whose step is of the gradient too, which looks ahead (Dozat 2016).
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - ((x·direct + m·step) / (√(v·unbias + epsIn) + eps) + p·decay)
func NAdam(p, g, m, v []float32, c *NAdamScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32(x*c.Direct) + float32(m[i]*c.Step)
		p[i] = c.decayed(p[i], u/(sqrt(float32(v[i]*c.Unbias)+c.EpsIn)+c.Eps))
	}
}
