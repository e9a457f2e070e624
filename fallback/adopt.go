package fallback

// ADOPTScalars are the numbers of one ADOPT step.
type ADOPTScalars struct {
	Common
	Eps     float32 // the least divisor
	Clip    float32 // the largest magnitude of a quotient: (t-1)^¼, or infinite
	Weight1 float32 // of the quotient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Direct  float32 // the quotient's factor in the step, 0 without Nesterov
	Step    float32 // m's
}

// ADOPT divides a gradient by the root of v without it, and clips the quotient before it
// takes the mean (Taniguchi et al. 2024).
//
//	u = clamp(x / max(√v, eps), clip)
//	m ← lerp(m, u, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - (u·direct + m·step + p·decay)
func ADOPT(p, g, m, v []float32, c *ADOPTScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		u := clamp(x/larger(c.Eps, sqrt(v[i])), c.Clip)
		m[i] = lerp(m[i], u, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(u*c.Direct)+float32(m[i]*c.Step))
	}
}

// clamp is u, or the limit with its sign if it is larger than that.
func clamp(u, limit float32) float32 {
	if -limit > u {
		u = -limit
	}
	if limit < u {
		u = limit
	}
	return u
}
