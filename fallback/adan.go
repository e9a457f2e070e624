package fallback

// AdanScalars are the numbers of one Adan step.
type AdanScalars struct {
	Common
	Started float32 // 0 in the first step, which has no gradient before it, or else 1
	Weight1 float32 // of the gradient in m: see Weight
	Weight2 float32 // of its change in diff
	Beta3   float32
	Root3   float32 // √(1 - β₃)
	Small   Mask    // what is squared, times root3, whose squares do not count
	Ahead   float32 // the change's factor beside the gradient: β₂
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Step    float32 // m's factor: the learning rate, with its corrections
	Direct  float32 // diff's
}

// Adan is Adam whose means are of the gradient and of its change too, as Nesterov's
// momentum would have it (Xie et al. 2022).
//
//	y = (x - prev)·started
//	m ← lerp(m, x, weight1)
//	diff ← lerp(diff, y, weight2)
//	v ← v·beta3 + drop((x + y·ahead)·root3, small)²
//	prev ← x
//	p ← p - ((m·step + diff·direct) / (√(v·unbias + epsIn) + eps) + p·decay)
func Adan(p, g, m, diff, v, prev []float32, c *AdanScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		y := float32((x - prev[i]) * c.Started)
		m[i] = lerp(m[i], x, c.Weight1)
		diff[i] = lerp(diff[i], y, c.Weight2)
		v[i] = float32(v[i]*c.Beta3) + square(x+float32(y*c.Ahead), c.Root3, c.Small)
		prev[i] = x
		u := float32(m[i]*c.Step) + float32(diff[i]*c.Direct)
		p[i] = c.decayed(p[i], u/(sqrt(float32(v[i]*c.Unbias)+c.EpsIn)+c.Eps))
	}
}
