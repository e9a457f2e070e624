package fallback

// MomentumScalars are the numbers of one Momentum step.
type MomentumScalars struct {
	Common
	Beta  float32
	Input float32 // the gradient's factor in the buffer: 1 - dampening, or lr
	Step  float32 // lr, or 1 if it is in the buffer
}

// Momentum is gradient descent with a heavy ball (Polyak 1964).
//
//	m ← m·beta + x·input
//	p ← p - (m·step + p·decay)
func Momentum(p, g, m []float32, c *MomentumScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = float32(m[i]*c.Beta) + float32(x*c.Input)
		p[i] = c.still(p[i], float32(m[i]*c.Step))
	}
}

// MomentumBF16Scalars are the numbers of one MomentumBF16 step.
type MomentumBF16Scalars = MomentumScalars

// MomentumBF16 is Momentum along gradients of BF16, which leaves a copy of the parameters.
//
//	m ← m·beta + x·input
//	p ← p - (m·step + p·decay)
//	h ← p, rounded to nearest even
func MomentumBF16(p []float32, g []BF16, m []float32, h []BF16, c *MomentumBF16Scalars) {
	for i := range p {
		x := c.gradient(g[i].Float32(), p[i])
		m[i] = float32(m[i]*c.Beta) + float32(x*c.Input)
		p[i] = c.still(p[i], float32(m[i]*c.Step))
		h[i] = ToBF16(p[i])
	}
}

// NesterovScalars are the numbers of one Nesterov step.
type NesterovScalars struct {
	Common
	Beta   float32
	Input  float32 // the gradient's factor in the buffer
	Direct float32 // and in the step
	Step   float32 // the buffer's factor in the step
}

// Nesterov is Momentum that looks ahead (Sutskever et al. 2013).
//
//	m ← m·beta + x·input
//	p ← p - (x·direct + m·step + p·decay)
func Nesterov(p, g, m []float32, c *NesterovScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = float32(m[i]*c.Beta) + float32(x*c.Input)
		p[i] = c.still(p[i], float32(x*c.Direct)+float32(m[i]*c.Step))
	}
}
