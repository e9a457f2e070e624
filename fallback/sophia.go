package fallback

// SophiaScalars are the numbers of one Sophia step.
type SophiaScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Gamma   float32 // of h in the divisor
	Eps     float32 // the least divisor
	Step    float32 // lr, times what corrects m's bias
	Clip    float32 // lr, times the largest quotient
}

// Sophia divides the mean of gradients by an estimate of the Hessian's diagonal, and clips
// what comes of it (Liu et al. 2023).
//
//	m ← lerp(m, x, weight1)
//	u = m·step / max(h·gamma, eps)
//	p ← p - (clamp(u, clip) + p·decay)
func Sophia(p, g, m, h []float32, c *SophiaScalars) {
	for i := range p {
		m[i] = lerp(m[i], c.gradient(g[i], p[i]), c.Weight1)
		u := float32(m[i]*c.Step) / larger(c.Eps, float32(h[i]*c.Gamma))
		p[i] = c.decayed(p[i], clamp(u, c.Clip))
	}
}
