package fallback

// MADGRADScalars are the numbers of one MADGRAD step.
type MADGRADScalars struct {
	Common
	Root   float32 // √λ, which the gradient is multiplied by before it is squared
	Small  Mask    // of products with root whose squares do not count
	Lambda float32 // of the gradient in the sum
	Eps    float32
	Weight float32 // of the new parameters: 1 - momentum
}

// MADGRAD steps towards what dual averaging makes of the first parameters, the origin (Defazio,
// Jelassi 2021). A is the sum of squares.
//
//	a ← a + drop(x·root, small)²
//	s ← s + x·lambda
//	u = (p - origin) + s / (∛a + eps)
//	p ← p - (u·weight + p·decay)
func MADGRAD(p, g, s, a, origin []float32, c *MADGRADScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		a[i] += square(x, c.Root, c.Small)
		s[i] += float32(x * c.Lambda)
		u := (p[i] - origin[i]) + s[i]/(cbrt(a[i])+c.Eps)
		p[i] = c.decayed(p[i], float32(u*c.Weight))
	}
}
