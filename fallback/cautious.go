package fallback

// AgreeScalars are the numbers of Agree.
type AgreeScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
}

// Agree counts the elements whose mean of gradients will have the sign of the gradient.
//
//	agree += 0 < x·lerp(m, x, weight1)
func Agree(p, g, m []float32, c *AgreeScalars, agree *[Lanes]float64) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		agree[i%Lanes] += float64(ifAgree(x, lerp(m[i], x, c.Weight1), 1, 0))
	}
}

// CautiousAdamScalars are the numbers of one CautiousAdam step.
type CautiousAdamScalars struct {
	Common
	Weight1  float32 // of the gradient in m: see Weight
	Beta2    float32
	Root2    float32 // √(1 - β₂)
	Small    Mask    // the gradients, times root2, whose squares do not count
	Eps      float32 // with its correction
	Step     float32 // the learning rate, with its corrections
	Trust    float32 // the step's factor where gradient and m agree
	Distrust float32 // and where they do not
	Growth   float32 // the decay where step and parameter do not agree
}

// CautiousAdam is Adam with other factors where the mean of gradients has not the sign of
// the gradient (Liang et al. 2024), and another decay where the step has not the sign of the
// parameter (Chen et al. 2025). Numbers agree that have one sign, as if no product vanished.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	u = m·step / (√v + eps)
//	p ← p - (u·(0 < x·m ? trust : distrust) + p·(0 < p·u ? decay : growth))
func CautiousAdam(p, g, m, v []float32, c *CautiousAdamScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		u := float32(m[i]*c.Step) / (sqrt(v[i]) + c.Eps)
		decay := ifAgree(p[i], u, float32(p[i]*c.Decay), float32(p[i]*c.Growth))
		p[i] -= float32(u*ifAgree(x, m[i], c.Trust, c.Distrust)) + decay
	}
}

// CautiousLionScalars are the numbers of one CautiousLion step.
type CautiousLionScalars struct {
	Common
	Weight1  float32 // of the gradient in the direction: see Weight
	Weight2  float32 // and in m
	Step     float32 // lr
	Trust    float32 // the step's factor where gradient and direction agree
	Distrust float32 // and where they do not
	Growth   float32 // the decay where step and parameter do not agree
}

// CautiousLion is Lion with such factors and such a decay. It takes every gradient for
// what it is: drop is not heeded.
//
//	y = lerp(m, x, weight1)
//	u = sign(y)·step
//	m ← lerp(m, x, weight2)
//	p ← p - (u·(0 < x·y ? trust : distrust) + p·(0 < p·u ? decay : growth))
func CautiousLion(p, g, m []float32, c *CautiousLionScalars) {
	for i := range p {
		x := c.wholeGradient(g[i], p[i])
		y := lerp(m[i], x, c.Weight1)
		u := signTimes(y, c.Step)
		m[i] = lerp(m[i], x, c.Weight2)
		decay := ifAgree(p[i], u, float32(p[i]*c.Decay), float32(p[i]*c.Growth))
		p[i] -= float32(u*ifAgree(x, y, c.Trust, c.Distrust)) + decay
	}
}

// ifAgree is yes if x and y have one sign, and no if not, or if one is 0 or NaN.
func ifAgree(x, y, yes, no float32) float32 {
	if 0 < signTimes(x, y) {
		return yes
	}
	return no
}
