package fallback

// AdamScalars are the numbers of one Adam step.
type AdamScalars struct {
	Scale  float32 // the gradient's factor
	Alpha1 float32 // 1 - β₁
	Beta2  float32
	Alpha2 float32 // 1 - β₂
	Eps    float32 // times √(1-β₂ᵗ) where it is meant for the corrected root
	Decay  float32 // 1 - lr·(weight decay)
	Step   float32 // lr·√(1-β₂ᵗ)/(1-β₁ᵗ)
	Keep   float32 // bits of which a stored m or v has one: see KeepAll
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient that counts has one, scaled too: see KeepAll
}

// Adam is Adam (Kingma, Ba 2015), and AdamW (Loshchilov, Hutter 2019) where
// decay is not 1.
//
//	x = g·scale
//	m ← m + (x - m)·alpha1
//	v ← v·beta2 + x·alpha2·x
//	p ← p·decay - m·step / (√v + eps)
func Adam(p, g, m, v []float32, c *AdamScalars) {
	for i := range p {
		x := flush(float32(flush(g[i], c.Counts)*c.Scale), c.Counts)
		m[i] = flush(m[i]+float32((x-m[i])*c.Alpha1), c.Keep)
		v[i] = flush(float32(v[i]*c.Beta2)+float32(float32(x*c.Alpha2)*x), c.Keep)
		p[i] = float32(flush(p[i], c.Lasts)*c.Decay) - float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps)
	}
}

// AdamProxScalars are the numbers of one AdamProx or AMSGrad step.
type AdamProxScalars struct {
	Scale  float32 // the gradient's factor
	Alpha1 float32 // 1 - β₁
	Beta2  float32
	Alpha2 float32 // 1 - β₂
	Unbias float32 // the factor inside the root
	EpsIn  float32 // added inside the root
	Eps    float32 // added outside
	Decay  float32 // 1 - lr·(weight decay)
	Step   float32 // the learning rate, with the corrections of bias that are not in Unbias
	Keep   float32 // bits of which a stored m or v has one: see KeepAll
	Lasts  float32 // bits of which a parameter has one that lasts: see KeepAll
	Counts float32 // bits of which a gradient that counts has one, scaled too: see KeepAll
	L1     float32
	L2     float32
}

// AdamProx is Adam with a term inside the root and a proximal step for L1 and
// L2, whose strength follows each element's own step size.
//
//	rate = step / (√(v·unbias + epsIn) + eps)
//	p ← soft(p·decay - m·rate, rate·l1) / (1 + rate·l2)
func AdamProx(p, g, m, v []float32, c *AdamProxScalars) {
	for i := range p {
		x := flush(float32(flush(g[i], c.Counts)*c.Scale), c.Counts)
		m[i] = flush(m[i]+float32((x-m[i])*c.Alpha1), c.Keep)
		v[i] = flush(float32(v[i]*c.Beta2)+float32(float32(x*c.Alpha2)*x), c.Keep)
		rate := c.rate(v[i])
		p[i] = prox(float32(flush(p[i], c.Lasts)*c.Decay)-float32(m[i]*rate), rate, c.L1, c.L2)
	}
}

// AMSGradScalars are the numbers of one AMSGrad step.
type AMSGradScalars = AdamProxScalars

// AMSGrad is AdamProx that divides by h, the largest v so far (Reddi, Kale,
// Kumar 2018). A NaN in v reaches h and stays in both.
func AMSGrad(p, g, m, v, h []float32, c *AMSGradScalars) {
	for i := range p {
		x := flush(float32(flush(g[i], c.Counts)*c.Scale), c.Counts)
		m[i] = flush(m[i]+float32((x-m[i])*c.Alpha1), c.Keep)
		v[i] = flush(float32(v[i]*c.Beta2)+float32(float32(x*c.Alpha2)*x), c.Keep)
		if !(h[i] > v[i]) {
			h[i] = v[i]
		}
		h[i] = flush(h[i], c.Keep)
		rate := c.rate(h[i])
		p[i] = prox(float32(flush(p[i], c.Lasts)*c.Decay)-float32(m[i]*rate), rate, c.L1, c.L2)
	}
}

// rate is the step size of an element with second moment v.
func (c *AdamProxScalars) rate(v float32) float32 {
	return c.Step / (sqrt(float32(v*c.Unbias)+c.EpsIn) + c.Eps)
}
