package fallback

// LAMBScalars are the numbers of LAMB, the first of two passes. Decay is the weight
// decay alone here.
type LAMBScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Eps     float32 // times √(1-β₂ᵗ)
	Step    float32 // √(1-β₂ᵗ)/(1-β₁ᵗ)
}

// LAMB is the first pass of LAMB (You et al. 2020): it updates the moments and adds up
// the squares of the parameters and of the direction u, whose norms are the layer's
// trust ratio.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	u = m·step / (√v + eps) + p·decay
func LAMB(p, g, m, v []float32, c *LAMBScalars, params, updates *[Lanes]float64) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps) + float32(p[i]*c.Decay)
		params[i%Lanes] += float64(p[i]) * float64(p[i])
		updates[i%Lanes] += float64(u) * float64(u)
	}
}

// LAMBMoveScalars are the numbers of LAMBMove.
type LAMBMoveScalars struct {
	Common
	Eps  float32 // as in LAMB
	Step float32 // as in LAMB
	Rate float32 // lr·‖p‖/‖u‖
}

// LAMBMove is the second pass of LAMB.
//
//	u = m·step / (√v + eps) + p·decay
//	p ← p - u·rate
func LAMBMove(p, m, v []float32, c *LAMBMoveScalars) {
	for i := range p {
		u := float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps) + float32(p[i]*c.Decay)
		p[i] -= float32(u * c.Rate)
	}
}
