package fallback

// FTRLScalars are the numbers of one FTRL step.
type FTRLScalars struct {
	Common
	Small   Mask    // the gradients whose squares do not count
	Input   float32 // the gradient's factor in z: 1, or lr
	Shrink  float32 // the parameter's: l2 shrinkage, times that
	Inverse float32 // 1/lr, or 1
	ProxL1  float32 // of what z has
	ProxL2  float32 // and what is added to the root of a, eps
}

// FTRL is follow the regularized leader, with a learning rate of each parameter's own
// (McMahan et al. 2013): the parameter that is best for the sum of all gradients so far,
// penalties and the distance from where it has been. Its decay is not heeded.
//
//	a' = a + drop(x, small)²
//	z ← z + ((x·input + p·shrink) - (√a' - √a)·inverse·p)
//	p ← soft(-z, proxL1) / (√a'·inverse + proxL2)
//	a ← a'
func FTRL(p, g, a, z []float32, c *FTRLScalars) {
	for i := range p {
		x, before := c.gradient(g[i], p[i]), sqrt(a[i])
		y := drop(x, c.Small)
		a[i] += float32(y * y)
		root := sqrt(a[i])
		slope := float32(x*c.Input) + float32(p[i]*c.Shrink)
		z[i] += slope - float32(float32((root-before)*c.Inverse)*p[i])
		p[i] = soft(-z[i], c.ProxL1) / (float32(root*c.Inverse) + c.ProxL2)
	}
}
