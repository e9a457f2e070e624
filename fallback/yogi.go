package fallback

// YogiScalars are the numbers of one Yogi step.
type YogiScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Step    float32 // the learning rate, with the corrections of bias that are not in Unbias
}

// Yogi is Adam whose v approaches the square of the gradient by a part of the square,
// whichever is larger (Zaheer et al. 2018).
//
//	m ← lerp(m, x, weight1)
//	y = drop(x·root2, small)²
//	v ← v + y if v < x², v - y if v > x²
//	p ← p - (m·step / (√(v·unbias + epsIn) + eps) + p·decay)
func Yogi(p, g, m, v []float32, c *YogiScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] += towards(v[i], float32(x*x), square(x, c.Root2, c.Small))
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(float32(v[i]*c.Unbias)+c.EpsIn)+c.Eps))
	}
}

// towards is y with the sign that leads from v to another number, and 0 where v is it.
func towards(v, to, y float32) float32 {
	switch {
	case v < to:
		return y
	case to < v:
		return -y
	}
	return 0
}
