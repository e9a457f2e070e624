package fallback

// RMSpropScalars are the numbers of one RMSprop step.
type RMSpropScalars struct {
	Common
	Beta2 float32
	Root2 float32 // √(1 - β₂)
	Small Mask    // the gradients, times root2, whose squares do not count
	EpsIn float32 // added inside the root
	Eps   float32 // added outside
	Step  float32 // lr
}

// RMSprop divides by the root of the mean square (Tieleman, Hinton 2012).
//
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - (x·step / (√(v + epsIn) + eps) + p·decay)
func RMSprop(p, g, v []float32, c *RMSpropScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(x*c.Step)/(sqrt(v[i]+c.EpsIn)+c.Eps))
	}
}

// RMSpropCenteredScalars are the numbers of one RMSpropCentered step.
type RMSpropCenteredScalars struct {
	Common
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Weight2 float32 // of the gradient in a: see Weight
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Step    float32 // lr
}

// RMSpropCentered is RMSprop that divides by the root of the variance (Graves 2013),
// which rounding does not let fall below 0.
//
//	a ← lerp(a, x, weight2)
//	p ← p - (x·step / (√(max(v - a², 0) + epsIn) + eps) + p·decay)
func RMSpropCentered(p, g, v, a []float32, c *RMSpropCenteredScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		a[i] = lerp(a[i], x, c.Weight2)
		p[i] = c.decayed(p[i], float32(x*c.Step)/(sqrt(variance(v[i], a[i])+c.EpsIn)+c.Eps))
	}
}

// variance is v - a², or 0 where rounding makes that negative.
func variance(v, a float32) float32 { return positive(v - float32(a*a)) }

// RMSpropMomentumScalars are the numbers of one RMSpropMomentum step.
type RMSpropMomentumScalars struct {
	Common
	Beta2    float32
	Root2    float32 // √(1 - β₂)
	Small    Mask    // the gradients, times root2, whose squares do not count
	EpsIn    float32 // added inside the root
	Eps      float32 // added outside
	Momentum float32
	Input    float32 // the gradient's factor in the buffer: 1, or lr
	Step     float32 // lr, or 1 if it is in the buffer
}

// RMSpropMomentum is RMSprop with a heavy ball.
//
//	b ← b·momentum + x·input / (√(v + epsIn) + eps)
//	p ← p - (b·step + p·decay)
func RMSpropMomentum(p, g, v, b []float32, c *RMSpropMomentumScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		b[i] = float32(b[i]*c.Momentum) + float32(x*c.Input)/(sqrt(v[i]+c.EpsIn)+c.Eps)
		p[i] = c.decayed(p[i], float32(b[i]*c.Step))
	}
}

// RMSpropCenteredMomentumScalars are the numbers of one RMSpropCenteredMomentum step.
type RMSpropCenteredMomentumScalars struct {
	Common
	Beta2    float32
	Root2    float32 // √(1 - β₂)
	Small    Mask    // the gradients, times root2, whose squares do not count
	Weight2  float32 // of the gradient in a: see Weight
	EpsIn    float32 // added inside the root
	Eps      float32 // added outside
	Momentum float32
	Input    float32 // the gradient's factor in the buffer: 1, or lr
	Step     float32 // lr, or 1 if it is in the buffer
}

// RMSpropCenteredMomentum is RMSpropCentered with a heavy ball.
//
//	b ← b·momentum + x·input / (√(max(v - a², 0) + epsIn) + eps)
//	p ← p - (b·step + p·decay)
func RMSpropCenteredMomentum(p, g, v, a, b []float32, c *RMSpropCenteredMomentumScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		a[i] = lerp(a[i], x, c.Weight2)
		b[i] = float32(b[i]*c.Momentum) + float32(x*c.Input)/(sqrt(variance(v[i], a[i])+c.EpsIn)+c.Eps)
		p[i] = c.decayed(p[i], float32(b[i]*c.Step))
	}
}
