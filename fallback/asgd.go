package fallback

// ASGDScalars are the numbers of one ASGD step.
type ASGDScalars struct {
	Common
	Step   float32 // eta
	Weight float32 // mu, of the parameter in ax: see Weight
}

// ASGD is gradient descent that keeps the mean of the parameters it has been at (Polyak,
// Juditsky 1992).
//
//	p ← p - (x·step + p·decay)
//	ax ← lerp(ax, p, weight)
func ASGD(p, g, ax []float32, c *ASGDScalars) {
	for i := range p {
		p[i] = c.decayed(p[i], float32(c.gradient(g[i], p[i])*c.Step))
		ax[i] = lerp(ax[i], p[i], c.Weight)
	}
}
