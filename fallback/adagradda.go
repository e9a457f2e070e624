package fallback

// AdaGradDAScalars are the numbers of one AdaGradDA step.
type AdaGradDAScalars struct {
	Common
	Small  Mask    // the gradients whose squares do not count
	Step   float32 // lr
	ProxL1 float32 // t·l1
	ProxL2 float32 // t·lr·l2
}

// AdaGradDA is AdaGrad by dual averaging (Duchi, Hazan, Singer 2011): it makes parameters
// of the sum of all gradients. Its decay is not heeded.
//
//	s ← s + x
//	a ← a + drop(x, small)²
//	p ← soft(-s, proxL1)·step / (√a + proxL2)
func AdaGradDA(p, g, s, a []float32, c *AdaGradDAScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		y := drop(x, c.Small)
		s[i] += x
		a[i] += float32(y * y)
		p[i] = float32(soft(-s[i], c.ProxL1)*c.Step) / (sqrt(a[i]) + c.ProxL2)
	}
}
