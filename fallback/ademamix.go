package fallback

// AdEMAMixScalars are the numbers of one AdEMAMix step.
type AdEMAMixScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Weight3 float32 // and in slow
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Step    float32 // m's factor: the learning rate, with its corrections
	Mix     float32 // slow's: α times the learning rate
}

// AdEMAMix is Adam with a second mean that remembers for longer (Pagliardini, Ablin,
// Grangier 2024).
//
//	m ← lerp(m, x, weight1)
//	slow ← lerp(slow, x, weight3)
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - ((m·step + slow·mix) / (√(v·unbias + epsIn) + eps) + p·decay)
func AdEMAMix(p, g, m, slow, v []float32, c *AdEMAMixScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		slow[i] = lerp(slow[i], x, c.Weight3)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32(m[i]*c.Step) + float32(slow[i]*c.Mix)
		p[i] = c.decayed(p[i], u/(sqrt(float32(v[i]*c.Unbias)+c.EpsIn)+c.Eps))
	}
}

// SimplifiedAdEMAMixScalars are the numbers of one SimplifiedAdEMAMix step.
type SimplifiedAdEMAMixScalars struct {
	Common
	Beta1  float32
	Beta2  float32
	Root2  float32 // √(1 - β₂)
	Small  Mask    // the gradients, times root2, whose squares do not count
	Unbias float32 // the factor inside the root
	EpsIn  float32 // added inside the root
	Eps    float32 // added outside
	Alpha  float32 // the gradient's factor
	Step   float32 // the learning rate
}

// SimplifiedAdEMAMix has a sum of gradients and the gradient itself for the two means of
// AdEMAMix (Morwani et al. 2025).
//
//	m ← m·beta1 + x
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - ((m + x·alpha)·step / (√(v·unbias + epsIn) + eps) + p·decay)
func SimplifiedAdEMAMix(p, g, m, v []float32, c *SimplifiedAdEMAMixScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = float32(m[i]*c.Beta1) + x
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32((m[i] + float32(x*c.Alpha)) * c.Step)
		p[i] = c.decayed(p[i], u/(sqrt(float32(v[i]*c.Unbias)+c.EpsIn)+c.Eps))
	}
}
