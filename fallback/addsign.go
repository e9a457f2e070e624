package fallback

// AddSignScalars are the numbers of one AddSign step.
type AddSignScalars struct {
	Common
	Agree   float32 // the gradient's factor where its sign is that of m
	Differ  float32 // where it is the other
	Neither float32 // where one of them is 0
	Weight  float32 // of the gradient in m: see Weight
}

// AddSign takes a longer step where the gradient's sign is that of its mean; with other
// scalars it is PowerSign (Bello, Zoph, Vasudevan, Le 2017).
//
//	m ← lerp(m, x, weight)
//	same = sign(m)·sign(x)
//	p ← p - (x·(agree if same > 0, differ if same < 0, else neither) + p·decay)
func AddSign(p, g, m []float32, c *AddSignScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight)
		factor := c.Neither
		switch same := signTimes(m[i], signTimes(x, 1)); {
		case same > 0:
			factor = c.Agree
		case same < 0:
			factor = c.Differ
		}
		p[i] = c.decayed(p[i], float32(x*factor))
	}
}
