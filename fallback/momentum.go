package fallback

// MomentumScalars are the numbers of one Momentum step. With the learning rate
// outside the buffer Input is 1 - dampening and Step is lr; inside, Input is lr
// and Step is 1.
type MomentumScalars struct {
	Beta   float32 // momentum
	Input  float32 // the gradient's factor, its scale included
	Decay  float32 // 1 - lr·(weight decay)
	Step   float32
	Keep   float32 // bits of which a stored m has one: see KeepAll
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient has one that counts: see KeepAll
}

// Momentum is gradient descent with a heavy ball (Polyak 1964).
//
//	m ← m·beta + g·input
//	p ← p·decay - m·step
func Momentum(p, g, m []float32, c *MomentumScalars) {
	for i := range p {
		m[i] = flush(float32(m[i]*c.Beta)+float32(flush(g[i], c.Counts)*c.Input), c.Keep)
		p[i] = float32(flush(p[i], c.Lasts)*c.Decay) - float32(m[i]*c.Step)
	}
}

// NesterovScalars are the numbers of one Nesterov step.
type NesterovScalars struct {
	Beta   float32 // momentum
	Input  float32 // the gradient's factor in the buffer, its scale included
	Decay  float32 // 1 - lr·(weight decay)
	Direct float32 // the gradient's factor in the step, its scale included
	Step   float32
	Keep   float32 // bits of which a stored m has one: see KeepAll
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient has one that counts: see KeepAll
}

// Nesterov is Momentum that looks ahead (Sutskever et al. 2013).
//
//	m ← m·beta + g·input
//	p ← p·decay - (g·direct + m·step)
func Nesterov(p, g, m []float32, c *NesterovScalars) {
	for i := range p {
		x := flush(g[i], c.Counts)
		m[i] = flush(float32(m[i]*c.Beta)+float32(x*c.Input), c.Keep)
		p[i] = float32(flush(p[i], c.Lasts)*c.Decay) - (float32(x*c.Direct) + float32(m[i]*c.Step))
	}
}
