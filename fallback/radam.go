package fallback

// RAdamScalars are the numbers of one RAdam step.
type RAdamScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Direct  float32 // the gradient's factor in the step, 0 without Nesterov
	Step    float32 // m's: the learning rate, with its corrections
	Adapts  float32 // 0 if the step is not divided by the root
}

// RAdam is Adam that divides by the root in steps alone in which v is of gradients enough
// (Liu et al. 2020).
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	d = √(v·unbias + epsIn) + eps, or 1 if adapts is 0
//	p ← p - ((x·direct + m·step) / d + p·decay)
func RAdam(p, g, m, v []float32, c *RAdamScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		d := float32(1)
		if c.Adapts != 0 {
			d = sqrt(float32(v[i]*c.Unbias)+c.EpsIn) + c.Eps
		}
		u := float32(x*c.Direct) + float32(m[i]*c.Step)
		p[i] = c.decayed(p[i], u/d)
	}
}
