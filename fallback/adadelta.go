package fallback

// AdadeltaScalars are the numbers of one Adadelta step.
type AdadeltaScalars struct {
	Common
	Beta2 float32
	Root2 float32 // √(1 - β₂)
	Small Mask    // the gradients and steps, times root2, whose squares do not count
	EpsIn float32 // added inside both roots
	Step  float32 // lr
}

// Adadelta has for its step size the root of the mean square of its own steps, over that
// of gradients (Zeiler 2012).
//
//	v ← v·beta2 + drop(x·root2, small)²
//	u = x·(√(delta + epsIn) / √(v + epsIn))
//	delta ← delta·beta2 + drop(u·root2, small)²
//	p ← p - (u·step + p·decay)
func Adadelta(p, g, v, delta []float32, c *AdadeltaScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32(x * (sqrt(delta[i]+c.EpsIn) / sqrt(v[i]+c.EpsIn)))
		delta[i] = float32(delta[i]*c.Beta2) + square(u, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(u*c.Step))
	}
}
