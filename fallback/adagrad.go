package fallback

// AdaGradScalars are the numbers of one AdaGrad step.
type AdaGradScalars struct {
	Scale  float32 // the gradient's factor
	EpsIn  float32 // added inside the root
	Eps    float32 // added outside
	Decay  float32 // 1 - lr·(weight decay)
	Step   float32 // lr / (1 + (t-1)·lr decay)
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient that counts has one, scaled too: see KeepAll
}

// AdaGrad divides by the root of the sum of squared gradients (Duchi, Hazan,
// Singer 2011).
//
//	x = g·scale
//	a ← a + x²
//	p ← p·decay - x·step / (√(a + epsIn) + eps)
func AdaGrad(p, g, a []float32, c *AdaGradScalars) {
	for i := range p {
		x := flush(float32(flush(g[i], c.Counts)*c.Scale), c.Counts)
		a[i] += float32(x * x)
		p[i] = float32(flush(p[i], c.Lasts)*c.Decay) - float32(x*c.Step)/(sqrt(a[i]+c.EpsIn)+c.Eps)
	}
}

// AdaGradProxScalars are the numbers of one AdaGradProx step.
type AdaGradProxScalars struct {
	Scale  float32 // the gradient's factor
	EpsIn  float32 // added inside the root
	Eps    float32 // added outside
	Decay  float32 // 1 - lr·(weight decay)
	Step   float32 // lr / (1 + (t-1)·lr decay)
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient that counts has one, scaled too: see KeepAll
	L1     float32
	L2     float32
}

// AdaGradProx is AdaGrad with a proximal step for L1 and L2, whose strength
// follows each element's own step size (Duchi, Singer 2009).
//
//	rate = step / (√(a + epsIn) + eps)
//	p ← soft(p·decay - x·rate, rate·l1) / (1 + rate·l2)
func AdaGradProx(p, g, a []float32, c *AdaGradProxScalars) {
	for i := range p {
		x := flush(float32(flush(g[i], c.Counts)*c.Scale), c.Counts)
		a[i] += float32(x * x)
		rate := c.Step / (sqrt(a[i]+c.EpsIn) + c.Eps)
		p[i] = prox(float32(flush(p[i], c.Lasts)*c.Decay)-float32(x*rate), rate, c.L1, c.L2)
	}
}

// prox is the proximal operator of rate·(l1|u| + ½l2·u²).
func prox(u, rate, l1, l2 float32) float32 {
	return soft(u, float32(rate*l1)) / (float32(rate*l2) + 1)
}
