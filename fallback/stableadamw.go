package fallback

// StableAdamWScalars are the numbers of StableAdamW, the first of two passes, of which
// LAMBMove is the second.
type StableAdamWScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Eps     float32 // times √(1-β₂ᵗ)
}

// StableAdamW is the first pass of AdamW with update clipping (Wortsman et al. 2023): it
// updates the moments and adds up the squares of u, the gradient in units of the root of
// v.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	u = x / max(√v, eps)
//	updates += u²
func StableAdamW(p, g, m, v []float32, c *StableAdamWScalars, updates *[Lanes]float64) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := x / larger(c.Eps, sqrt(v[i]))
		updates[i%Lanes] += float64(u) * float64(u)
	}
}
