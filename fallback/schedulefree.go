package fallback

// ScheduleFreeAdamWScalars are the numbers of one ScheduleFreeAdamW step.
type ScheduleFreeAdamWScalars struct {
	Common
	Beta2  float32
	Root2  float32 // √(1 - β₂)
	Small  Mask    // the gradients, times root2, whose squares do not count
	Eps    float32 // with its correction
	Step   float32 // the learning rate, with its correction
	Rest   float32 // what the mean's new weight leaves of behind: 1 - c
	Input  float32 // and of the step in it: β₁(1 - c)
	Direct float32 // the step's factor: 1 - β₁, or 1 where c is 1
	Mix    float32 // behind's: c/(1 - c), or 0 where c is 1
}

// ScheduleFreeAdamW is Adam without a mean of gradients whose parameters are averaged
// instead of its learning rate scheduled (Defazio et al. 2024). behind is how far
// they are from the point that takes the steps.
//
//	v ← v·beta2 + drop(x·root2, small)²
//	u = x·step / (√v + eps) + p·decay
//	behind ← behind·rest + u·input
//	p ← p - (u·direct + behind·mix)
func ScheduleFreeAdamW(p, g, behind, v []float32, c *ScheduleFreeAdamWScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32(x*c.Step)/(sqrt(v[i])+c.Eps) + float32(p[i]*c.Decay)
		behind[i] = float32(behind[i]*c.Rest) + float32(u*c.Input)
		p[i] -= float32(u*c.Direct) + float32(behind[i]*c.Mix)
	}
}

// ScheduleFreeRAdamScalars are the numbers of one ScheduleFreeRAdam step.
type ScheduleFreeRAdamScalars struct {
	Common
	Beta2  float32
	Root2  float32 // √(1 - β₂)
	Small  Mask    // the gradients, times root2, whose squares do not count
	Eps    float32 // with its correction
	Step   float32 // the learning rate, rectified and with its correction
	Adapts float32 // 0 if the step is not divided by the root
	Rest   float32 // what the mean's new weight leaves of behind: 1 - c
	Input  float32 // and of the step in it: β₁(1 - c)
	Direct float32 // the step's factor: 1 - β₁, or 1 where c is 1
	Mix    float32 // behind's: c/(1 - c), or 0 where c is 1
}

// ScheduleFreeRAdam is ScheduleFreeAdamW that divides by the root in steps alone in which v
// is of gradients enough (Liu et al. 2020).
//
//	v ← v·beta2 + drop(x·root2, small)²
//	d = √v + eps, or 1 if adapts is 0
//	u = x·step / d + p·decay
//	behind ← behind·rest + u·input
//	p ← p - (u·direct + behind·mix)
func ScheduleFreeRAdam(p, g, behind, v []float32, c *ScheduleFreeRAdamScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		d := float32(1)
		if c.Adapts != 0 {
			d = sqrt(v[i]) + c.Eps
		}
		u := float32(x*c.Step)/d + float32(p[i]*c.Decay)
		behind[i] = float32(behind[i]*c.Rest) + float32(u*c.Input)
		p[i] -= float32(u*c.Direct) + float32(behind[i]*c.Mix)
	}
}
