package fallback

import "math"

// AdamScalars are the numbers of one Adam step.
type AdamScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Eps     float32 // times √(1-β₂ᵗ) where it is meant for the corrected root
	Step    float32 // lr·√(1-β₂ᵗ)/(1-β₁ᵗ)
}

// Adam is Adam (Kingma, Ba 2015), and AdamW (Loshchilov, Hutter 2019) where
// decay is not 0.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - (m·step / (√v + eps) + p·decay)
func Adam(p, g, m, v []float32, c *AdamScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps))
	}
}

// AdamBF16Scalars are the numbers of one AdamBF16 step.
type AdamBF16Scalars = AdamScalars

// AdamBF16 is Adam along gradients of BF16, which leaves a copy of the parameters.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - (m·step / (√v + eps) + p·decay)
//	h ← p, rounded to nearest even
func AdamBF16(p []float32, g []BF16, m, v []float32, h []BF16, c *AdamBF16Scalars) {
	for i := range p {
		x := c.gradient(g[i].Float32(), p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps))
		h[i] = ToBF16(p[i])
	}
}

// AdamGradBF16Scalars are the numbers of one AdamGradBF16 step.
type AdamGradBF16Scalars = AdamScalars

// AdamGradBF16 is Adam along gradients of BF16.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	p ← p - (m·step / (√v + eps) + p·decay)
func AdamGradBF16(p []float32, g []BF16, m, v []float32, c *AdamGradBF16Scalars) {
	for i := range p {
		x := c.gradient(g[i].Float32(), p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps))
	}
}

// AdamSplitBF16Scalars are the numbers of one AdamSplitBF16 step.
type AdamSplitBF16Scalars = AdamScalars

// AdamSplitBF16 is AdamGradBF16 on parameters p in the two halves that JoinBF16 joins and
// SplitBF16 splits, but for what a BF16 lacks of a NaN.
//
//	m ← lerp(m, x, weight1)
//	v ← v·beta2 + drop(x·root2, small)²
//	p = p - (m·step / (√v + eps) + p·decay)
//	h ← (bits(p) + 2¹⁵) / 2¹⁶, bits(p) / 2¹⁶ if p is NaN
//	r ← bits(p) - h·2¹⁶, 0 if p is NaN
func AdamSplitBF16(h, r, g []BF16, m, v []float32, c *AdamSplitBF16Scalars) {
	for i := range h {
		p := math.Float32frombits(uint32(h[i])<<16 + uint32(int32(int16(r[i]))))
		x := c.gradient(g[i].Float32(), p)
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p = c.decayed(p, float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps))
		bits := math.Float32bits(p)
		if p != p {
			h[i], r[i] = BF16(bits>>16), 0
			continue
		}
		h[i] = BF16((bits + 1<<15) >> 16)
		r[i] = BF16(bits - uint32(h[i])<<16)
	}
}

// AdamStateBF16Scalars are the numbers of one AdamStateBF16 step.
type AdamStateBF16Scalars struct {
	AdamScalars
	Factor Mask // an odd number, at random
	Add    Mask // any, at random
}

// AdamStateBF16 is AdamGradBF16 with moments of BF16, which are rounded at random as QuantizeBF16
// does it: m with a Part of 1, v with one of 2⁸.
//
//	m = lerp(m, x, weight1)
//	v = v·beta2 + drop(x·root2, small)²
//	p ← p - (m·step / (√v + eps) + p·decay)
//	u, w = 16 bits of h·factor + add: the upper ones, and those behind 8
//	m ← the upper half of the bits of m + u
//	v ← the upper half of the bits of v + w
func AdamStateBF16(p []float32, g, m, v []BF16, h []float32, c *AdamStateBF16Scalars) {
	for i := range p {
		x := c.gradient(g[i].Float32(), p[i])
		m1 := lerp(m[i].Float32(), x, c.Weight1)
		v1 := float32(v[i].Float32()*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.decayed(p[i], float32(m1*c.Step)/(sqrt(v1)+c.Eps))
		draws := random(h[i], c.Factor, c.Add)
		m[i], v[i] = drawn(m1, draws>>16), drawn(v1, draws>>8&(1<<16-1))
	}
}

// AdamStateFloat8Scalars are the numbers of one AdamStateFloat8 step.
type AdamStateFloat8Scalars = AdamScalars

// AdamStateFloat8 is Adam with moments of 8 bits, of a block whose parts are rows of len(mq) columns:
// mq and vq are words of codes as Quantize makes them, m's with a sign, which a row's number up, of
// integers, brings to the highest byte, and ms and vs the units of the rows as Dequantize has them. It leaves
// moments as float32 and their largest magnitudes, NaN apart, of which QuantizePair makes words.
//
//	m ← lerp(number(mq·up)·ms, x, weight1), signed
//	v ← number(vq·up)·vs·beta2 + drop(x·root2, small)²
//	p ← p - (m·step / (√v + eps) + p·decay)
//	ms ← max |m|, row by row
//	vs ← max v, row by row
func AdamStateFloat8(p, g, m, v, ms, vs, up, mq, vq []float32, c *AdamStateFloat8Scalars) {
	c.stateFloat8(p, func(i int) float32 { return g[i] }, m, v, ms, vs, up, mq, vq)
}

// AdamGradBF16StateFloat8Scalars are the numbers of one AdamGradBF16StateFloat8 step.
type AdamGradBF16StateFloat8Scalars = AdamScalars

// AdamGradBF16StateFloat8 is AdamStateFloat8 along gradients of BF16.
//
//	m ← lerp(number(mq·up)·ms, x, weight1), signed
//	v ← number(vq·up)·vs·beta2 + drop(x·root2, small)²
//	p ← p - (m·step / (√v + eps) + p·decay)
//	ms ← max |m|, row by row
//	vs ← max v, row by row
func AdamGradBF16StateFloat8(p []float32, g []BF16, m, v, ms, vs, up, mq, vq []float32, c *AdamGradBF16StateFloat8Scalars) {
	c.stateFloat8(p, func(i int) float32 { return g[i].Float32() }, m, v, ms, vs, up, mq, vq)
}

func (c *AdamScalars) stateFloat8(p []float32, g func(i int) float32, m, v, ms, vs, up, mq, vq []float32) {
	signed := DequantizeScalars{Offset: SignedLeast, Least: Mask(math.Float32bits(SignedLeast)), Signs: 1 << 31}
	squares := DequantizeScalars{Least: Mask(math.Float32bits(SquareLeast))}
	top := func(q, up float32) uint32 { return math.Float32bits(q) * math.Float32bits(up) }
	for k := range ms {
		mostM, mostV := float32(0), float32(0)
		for j := range mq {
			i := k*len(mq) + j
			x := c.gradient(g(i), p[i])
			m[i] = lerp(signed.number(top(mq[j], up[k]), ms[k]), x, c.Weight1)
			v[i] = float32(squares.number(top(vq[j], up[k]), vs[k])*c.Beta2) + square(x, c.Root2, c.Small)
			p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(v[i])+c.Eps))
			mostM, mostV = larger(abs(m[i]), mostM), larger(v[i], mostV)
		}
		ms[k], vs[k] = mostM, mostV
	}
}

// AdamProxScalars are the numbers of one AdamProx step.
type AdamProxScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Moment  float32 // m's factor: 1/(1-β₁ᵗ)
	Step    float32 // the learning rate, with what Unbias lacks of the root's correction
	ProxL1  float32
	ProxL2  float32
}

// AdamProx is Adam with a term inside the root and a proximal step for L1 and L2,
// whose strength follows each element's own step size.
//
//	rate = step / (√(v·unbias + epsIn) + eps)
//	p ← soft(p - (m·moment·rate + p·decay), rate·proxL1) / (1 + rate·proxL2)
func AdamProx(p, g, m, v []float32, c *AdamProxScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		p[i] = c.proximal(p[i], m[i], v[i])
	}
}

// proximal is the parameter after a step with moments m and v.
func (c *AdamProxScalars) proximal(p, m, v float32) float32 {
	rate := c.Step / (sqrt(float32(v*c.Unbias)+c.EpsIn) + c.Eps)
	return prox(c.decayed(p, float32(float32(m*c.Moment)*rate)), rate, c.ProxL1, c.ProxL2)
}

// AMSGradScalars are the numbers of one AMSGrad step.
type AMSGradScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // the factor inside the root
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Step    float32 // the learning rate, with the corrections of bias that are not in Unbias
}

// AMSGrad is Adam that divides by the root of h, the largest v so far (Reddi, Kale,
// Kumar 2018), with a term inside the root. A NaN in v reaches h and stays in both.
//
//	h ← max(h, v)
//	p ← p - (m·step / (√(h·unbias + epsIn) + eps) + p·decay)
func AMSGrad(p, g, m, v, h []float32, c *AMSGradScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		h[i] = larger(h[i], v[i])
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(float32(h[i]*c.Unbias)+c.EpsIn)+c.Eps))
	}
}

// AMSGradProxScalars are the numbers of one AMSGradProx step.
type AMSGradProxScalars = AdamProxScalars

// AMSGradProx is AdamProx that divides by the root of h, the largest v so far.
func AMSGradProx(p, g, m, v, h []float32, c *AMSGradProxScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		h[i] = larger(h[i], v[i])
		p[i] = c.proximal(p[i], m[i], h[i])
	}
}

// AMSGradCorrectedScalars are the numbers of one AMSGradCorrected step.
type AMSGradCorrectedScalars struct {
	Common
	Weight1 float32 // of the gradient in m: see Weight
	Beta2   float32
	Root2   float32 // √(1 - β₂)
	Small   Mask    // the gradients, times root2, whose squares do not count
	Unbias  float32 // v's factor: 1/(1-β₂ᵗ)
	EpsIn   float32 // added inside the root
	Eps     float32 // added outside
	Step    float32 // lr/(1-β₁ᵗ)
}

// AMSGradCorrected is AMSGrad that corrects the bias of each v before it is compared.
//
//	h ← max(h, v·unbias)
//	p ← p - (m·step / (√(h + epsIn) + eps) + p·decay)
func AMSGradCorrected(p, g, m, v, h []float32, c *AMSGradCorrectedScalars) {
	for i := range p {
		x := c.gradient(g[i], p[i])
		m[i] = lerp(m[i], x, c.Weight1)
		v[i] = float32(v[i]*c.Beta2) + square(x, c.Root2, c.Small)
		h[i] = larger(h[i], float32(v[i]*c.Unbias))
		p[i] = c.decayed(p[i], float32(m[i]*c.Step)/(sqrt(h[i]+c.EpsIn)+c.Eps))
	}
}

// larger is h where that is above v, else v.
func larger(h, v float32) float32 {
	if h > v {
		return h
	}
	return v
}
