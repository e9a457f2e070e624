package fallback

// SGDScalars are the numbers of one SGD step.
type SGDScalars struct {
	Common
	Step float32 // lr
}

// SGD is gradient descent.
//
//	p ← p - (x·step + p·decay)
func SGD(p, g []float32, c *SGDScalars) {
	for i := range p {
		p[i] = c.still(p[i], float32(c.gradient(g[i], p[i])*c.Step))
	}
}
