package fallback

// ProdigyScalars are the numbers of Prodigy, the first of two passes, of which LAMBMove is
// the second.
type ProdigyScalars struct {
	Common
	Distance float32 // to the solution, as it is known: d
	Weight1  float32 // of the gradient in m: see Weight
	Beta2    float32
	Root2    float32 // √(1 - β₂)
	Small    Mask    // the gradients, times distance and root2, whose squares do not count
	Weight   float32 // of the gradient in the numerator
	Beta3    float32
	Input    float32 // of the gradient in s
}

// Prodigy is the first pass of Prodigy (Mishchenko, Defazio 2023): it updates the moments and
// adds up what the distance is estimated from, how far parameters have come from p0 where
// gradients point, and the magnitudes of s.
//
//	y = x·distance
//	m ← lerp(m, y, weight1)
//	v ← v·beta2 + drop(y·root2, small)²
//	numerator += (x·weight)·(p0 - p)
//	s ← s·beta3 + x·input
//	denominator += |s|
func Prodigy(p, g, p0, s, m, v []float32, c *ProdigyScalars, numerator, denominator *[Lanes]float64) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		y := float32(x * c.Distance)
		m[i] = lerp(m[i], y, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(y, c.Root2, c.Small)
		s[i] = float32(s[i]*c.Beta3) + float32(x*c.Input)
		numerator[i%Lanes] += float64(float32(x*c.Weight)) * float64(p0[i]-p[i])
		denominator[i%Lanes] += float64(abs(s[i]))
	}
}
