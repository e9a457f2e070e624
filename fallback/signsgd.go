package fallback

// SignSGDScalars are the numbers of one SignSGD step.
type SignSGDScalars struct {
	Common
	Step float32 // lr
}

// SignSGD steps along the sign of the gradient (Bernstein et al. 2018). It takes every
// gradient for what it is: drop is not heeded.
//
//	p ← p - (sign(x)·step + p·decay)
func SignSGD(p, g []float32, c *SignSGDScalars) {
	for i := range p {
		p[i] = c.still(p[i], signTimes(c.wholeGradient(g[i], p[i]), c.Step))
	}
}
