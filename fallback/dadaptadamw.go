package fallback

// DAdaptAdamWScalars are the numbers of D-Adapt AdamW.
type DAdaptAdamWScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Before  float32 // added to the root of v before the step
	Weight  float32 // of the gradient in the numerator
	Input   float32 // the step size in m
	Eps     float32
	Step    float32 // of m, which has the step size: 1, or what makes up for beta2
	Weight3 float32 // of the gradient in s: see Weight
	Rate    float32 // the step size in s
	Layer   float32 // of s in the denominator
}

// DAdaptAdamW is AdamW with D-Adaptation (Defazio, Mishchenko 2023): it adds up what the next
// distance is estimated from, how gradients agree with s, the mean of those before, and the
// magnitudes of s.
//
//	numerator += (x·weight)·(s / (√v + before))
//	m ← lerp(m, x·input, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	s ← lerp(s, x·rate, weight3)
//	denominator += |s·layer|
//	p ← p - (m·step / (√v + eps) + p·decay)
func DAdaptAdamW(p, g, m, v, s []float32, c *DAdaptAdamWScalars, numerator, denominator *[Lanes]float64) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		numerator[i%Lanes] += float64(float32(x*c.Weight)) * float64(s[i]/(sqrt(v[i])+c.Before))
		m[i] = lerp(m[i], float32(x*c.Input), c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		s[i] = lerp(s[i], float32(x*c.Rate), c.Weight3)
		denominator[i%Lanes] += float64(abs(float32(s[i] * c.Layer)))
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps))
	}
}
