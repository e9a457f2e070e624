package fallback

// AgreeScalars are the numbers of Agree.
type AgreeScalars struct {
	Scale float32 // of the gradient
}

// Agree counts the elements whose step, -d, has the sign of the gradient.
//
//	agree += 0 < -d·(g·scale)
func Agree(g, d []float32, c *AgreeScalars, agree *[Lanes]float64) {
	for i := range g {
		if 0 < signTimes(float32(g[i]*c.Scale), -d[i]) {
			agree[i%Lanes]++
		}
	}
}

// CautiousScalars are the numbers of Cautious.
type CautiousScalars struct {
	Scale    float32 // of the gradient
	Trust    float32 // the step's factor where it has the sign of the gradient
	Distrust float32 // and where it has not
	Decay    float32 // lr·(weight decay)
	Growth   float32 // that where the step and the parameter have opposite signs
}

// Cautious has parameters take a step, -d, with another factor where it has not the sign of
// the gradient (Liang et al. 2024), and another decay where the parameter has the other one
// (Chen et al. 2025). Numbers have signs as if no product of them vanished.
//
//	u = -d
//	p ← p - (u·(0 < u·(g·scale) ? trust : distrust) + p·(u·p < 0 ? growth : decay))
func Cautious(p, g, d []float32, c *CautiousScalars) {
	for i := range p {
		u, takes, decays := -d[i], c.Distrust, c.Decay
		if 0 < signTimes(float32(g[i]*c.Scale), u) {
			takes = c.Trust
		}
		if signTimes(p[i], u) < 0 {
			decays = c.Growth
		}
		p[i] -= float32(u*takes) + float32(p[i]*decays)
	}
}
