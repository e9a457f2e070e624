package fallback

// SGDScalars are the numbers of one SGD step.
type SGDScalars struct {
	Decay float32 // 1 - lr·(weight decay + L2)
	Step  float32 // lr, times the gradient's scale
}

// SGD is gradient descent: p ← p·decay - g·step.
func SGD(p, g []float32, c *SGDScalars) {
	for i := range p {
		p[i] = float32(p[i]*c.Decay) - float32(g[i]*c.Step)
	}
}
