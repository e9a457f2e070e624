package fallback

// SGDScalars are the numbers of one SGD step.
type SGDScalars struct {
	Decay  float32 // 1 - lr·(weight decay + L2)
	Step   float32 // lr, times the gradient's scale
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient has one that counts: see KeepAll
}

// SGD is gradient descent: p ← p·decay - g·step.
func SGD(p, g []float32, c *SGDScalars) {
	for i := range p {
		p[i] = float32(flush(p[i], c.Lasts)*c.Decay) - float32(flush(g[i], c.Counts)*c.Step)
	}
}
