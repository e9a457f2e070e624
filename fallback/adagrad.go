package fallback

// AdaGradScalars are the numbers of one AdaGrad step.
type AdaGradScalars struct {
	Common
	Small Mask    // the gradients whose squares do not count
	EpsIn float32 // added inside the root
	Eps   float32 // added outside
	Step  float32 // lr / (1 + (t-1)·lr decay)
}

// AdaGrad divides by the root of the sum of squared gradients (Duchi, Hazan,
// Singer 2011).
//
//	a ← a + drop(x, small)²
//	p ← p - (x·step / (√(a + epsIn) + eps) + p·decay)
func AdaGrad(p, g, a []float32, c *AdaGradScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		y := drop(x, c.Small)
		a[i] += float32(y * y)
		p[i] = c.still(p[i], float32(x*c.Step)/(sqrt(a[i]+c.EpsIn)+c.Eps))
	}
}

// AdaGradBF16Scalars are the numbers of one AdaGradBF16 step.
type AdaGradBF16Scalars = AdaGradScalars

// AdaGradBF16 is AdaGrad along gradients of BF16, which leaves a copy of the parameters.
//
//	a ← a + drop(x, small)²
//	p ← p - (x·step / (√(a + epsIn) + eps) + p·decay)
//	h ← p, rounded to nearest even
func AdaGradBF16(p []float32, g []BF16, a []float32, h []BF16, c *AdaGradBF16Scalars) {
	for i := range p {
		x := c.gradient(g[i].Float32(), p[i])
		y := drop(x, c.Small)
		a[i] += float32(y * y)
		p[i] = c.still(p[i], float32(x*c.Step)/(sqrt(a[i]+c.EpsIn)+c.Eps))
		h[i] = ToBF16(p[i])
	}
}

// AdaGradProxScalars are the numbers of one AdaGradProx step.
type AdaGradProxScalars struct {
	Common
	Small  Mask    // the gradients whose squares do not count
	EpsIn  float32 // added inside the root
	Eps    float32 // added outside
	Step   float32 // lr / (1 + (t-1)·lr decay)
	ProxL1 float32
	ProxL2 float32
}

// AdaGradProx is AdaGrad with a proximal step for L1 and L2, whose strength
// follows each element's own step size (Duchi, Singer 2009).
//
//	rate = step / (√(a + epsIn) + eps)
//	p ← soft(p - (x·rate + p·decay), rate·proxL1) / (1 + rate·proxL2)
func AdaGradProx(p, g, a []float32, c *AdaGradProxScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		y := drop(x, c.Small)
		a[i] += float32(y * y)
		rate := c.Step / (sqrt(a[i]+c.EpsIn) + c.Eps)
		p[i] = prox(c.decayed(p[i], float32(x*rate)), rate, c.ProxL1, c.ProxL2)
	}
}

// prox is the proximal operator of rate·(l1|u| + ½l2·u²).
func prox(u, rate, l1, l2 float32) float32 {
	return soft(u, float32(rate*l1)) / (float32(rate*l2) + 1)
}
