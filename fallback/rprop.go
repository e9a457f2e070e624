package fallback

// RpropScalars are the numbers of one Rprop step.
type RpropScalars struct {
	Common
	EtaMinus float32 // the step size's factor where the gradient's sign has changed
	EtaPlus  float32 // and where it has not
	MinStep  float32 // the least step size
	MaxStep  float32 // the largest
	Late     float32 // 0, or the step before is taken now
}

// Rprop steps along the sign of the gradient, by a length of each element's own, which
// grows while that sign stays and shrinks where it changes (Riedmiller, Braun 1993); there
// the gradient is forgotten (Riedmiller 1994). It takes every gradient for what it is: drop
// is not heeded.
//
//	same = sign(prev)·sign(x)
//	step ← step                                          if same is 0
//	       max(min(step·etaMinus, maxStep), minStep)     below
//	       max(min(step·etaPlus, maxStep), minStep)      above
//	prev ← 0 if same < 0, else x
//	p ← p - (sign(prev)·step + p·decay)                  if late is 0
//	    p - (sign(prev before)·(step before) + p·decay)  otherwise, 0 for that sign if same < 0
func Rprop(p, g, prev, step []float32, c *RpropScalars) {
	for i := range p {
		x, u := c.wholeGradient(g[i], p[i]), signTimes(prev[i], step[i])
		switch same := signTimes(prev[i], signTimes(x, 1)); {
		case same < 0:
			step[i] = c.limited(float32(step[i] * c.EtaMinus))
			x, u = 0, 0
		case same > 0:
			step[i] = c.limited(float32(step[i] * c.EtaPlus))
		}
		prev[i] = x
		if c.Late == 0 {
			u = signTimes(x, step[i])
		}
		p[i] = c.decayed(p[i], u)
	}
}

// limited is a step size within its limits.
func (c *RpropScalars) limited(step float32) float32 {
	if !(step < c.MaxStep) {
		step = c.MaxStep
	}
	return larger(step, c.MinStep)
}
