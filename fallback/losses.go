package fallback

// HuberScalars are the numbers of Huber: the slope is Slope times the difference where that
// is below Limit, and Ceiling beyond.
type HuberScalars struct {
	Scale   float32 // the gradient's factor
	Limit   float32
	Slope   float32
	Ceiling float32
	Up      float32 // the weight of predictions above the target
	Down    float32 // and of those below
}

// Huber is a loss that grows with the square of a difference at first and beyond a limit
// with the difference: Huber's with Slope 1 and Ceiling Limit, smooth L1 with 1/Limit and 1,
// absolute errors and quantiles with a Limit of 0. Where the difference is 0 the slope is.
//
//	d = x - y, a = |d|, t = a < limit ? a·slope : ceiling, each side with its weight
//	loss = t·(a - ½min(a, limit))
func Huber(grad, each, x, y []float32, c *HuberScalars, sum *[Lanes]float64) {
	for i := range grad {
		d := x[i] - y[i]
		a := abs(d)
		near, t := a, c.Ceiling
		if c.Limit < a {
			near = c.Limit
		}
		if a < c.Limit {
			t = float32(a * c.Slope)
		}
		if 0 < d {
			t *= c.Up
		} else {
			t *= c.Down
		}
		grad[i], each[i] = signTimes(d, t)*c.Scale, t*(a-float32(near*0.5))
		sum[i%Lanes] += float64(each[i])
	}
}

// LogCoshScalars are the numbers of LogCosh.
type LogCoshScalars struct {
	Scale float32 // the gradient's factor
}

// LogCosh is log(cosh(x - y)), whose slope is tanh(x - y). Small differences a would cancel
// in a - log 2 + log(1 + e^-2a): for these it is ½log(1 + sinh²), where sinh² is
// ¼n²/(1 + n) with n = e^-2a - 1.
func LogCosh(grad, each, x, y []float32, c *LogCoshScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := logCosh(x[i] - y[i])
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func logCosh(d float32) (loss, slope float32) {
	const ln2 float32 = 0x1.62e43p-1
	a := abs(d)
	n := expm1(-(a + a))
	u := n + 1
	slope = signed(-n/(n+2), d)
	if a < 0.5 {
		return log1p(float32(float32(n*n)*0.25)/u) * 0.5, slope
	}
	return (a - ln2) + log1p(u), slope
}

// PoissonNLLScalars are the numbers of PoissonNLL.
type PoissonNLLScalars struct {
	Scale  float32 // the gradient's factor
	Eps    float32 // what is added to a rate; 0 where predictions are logarithms
	Divide float32 // 1 if predictions are rates, 0 if they are logarithms of them
	Above  float32 // targets above this have Stirling's term: 1, or +Inf for none
}

// PoissonNLL is the negative log-likelihood of counts y, rate - y·log rate, with what
// Stirling's formula makes of log y! if that is asked for. The logarithms, of rate + eps and
// of y, are computed before, and so is the rate where predictions are logarithms.
//
//	grad ← (z - y)/(divide = 0 ? 1 : z)·scale, each ← rate - y·log + stirling, sum += each
func PoissonNLL(grad, each, rate, y, log, logY []float32, c *PoissonNLLScalars, sum *[Lanes]float64) {
	const halfLog2Pi float32 = 0.918938533204672741780329736406
	for i := range grad {
		z := rate[i] + c.Eps
		slope := z - y[i]
		if c.Divide != 0 {
			slope /= z
		}
		stirling := float32(0)
		if c.Above < y[i] {
			stirling = (float32((y[i]+0.5)*logY[i]) - y[i]) + halfLog2Pi
		}
		grad[i], each[i] = slope*c.Scale, (rate[i]-weighted(y[i], log[i]))+stirling
		sum[i%Lanes] += float64(each[i])
	}
}

// GaussianNLLScalars are the numbers of GaussianNLL.
type GaussianNLLScalars struct {
	Scale    float32 // the gradients' factor
	Least    float32 // the least variance
	LogLeast float32 // its logarithm
	Constant float32 // what is added to each loss
}

// GaussianNLL is the negative log-likelihood of targets y of a mean x and a variance, of
// which the logarithm is computed before. The gradient by the variance does not know of the
// least one.
//
//	grad ← q·scale, gradVar ← ½(1 - d·q)/v·scale, each ← ½(max(log, logLeast) + d·q) + constant, sum += each
func GaussianNLL(grad, gradVar, each, x, y, variance, log []float32, c *GaussianNLLScalars, sum *[Lanes]float64) {
	for i := range grad {
		v, logV := atLeast(c.Least, variance[i]), c.LogLeast
		if log[i] > c.LogLeast { // which is so of no NaN, the logarithm of what is negative
			logV = log[i]
		}
		d := x[i] - y[i]
		q := d / v
		square := float32(d * q)
		grad[i] = q * c.Scale
		gradVar[i] = (0.5 - float32(square*0.5)) / v * c.Scale
		each[i] = float32((logV+square)*0.5) + c.Constant
		sum[i%Lanes] += float64(each[i])
	}
}

// KLDivergenceScalars are the numbers of KLDivergence.
type KLDivergenceScalars struct {
	Scale float32 // the gradient's factor
}

// KLDivergence is the divergence of the distribution y, of which the logarithm is computed
// before, from the one whose logarithm is x. Where y is 0 it is.
//
//	grad ← -y·scale, each ← y·(log - x), sum += each
func KLDivergence(grad, each, x, y, log []float32, c *KLDivergenceScalars, sum *[Lanes]float64) {
	for i := range grad {
		grad[i], each[i] = -y[i]*c.Scale, weighted(y[i], log[i]-x[i])
		sum[i%Lanes] += float64(each[i])
	}
}

// FocalParts is what Focal wants of predictions x besides their cross-entropy: the
// probability of being wrong, and the derivative of its logarithm.
//
//	wrong ← y·(1-p) + (1-y)·p, bend ← (1-2y)·p·(1-p)/wrong
func FocalParts(wrong, bend, x, y []float32) {
	for i := range wrong {
		no := 1 - y[i]
		like, unlike := sides(x[i])
		v := atLeast(0x1p-126, float32(y[i]*unlike)+float32(no*like))
		wrong[i], bend[i] = v, (no-y[i])*(float32(like*unlike)/v)
	}
}

// FocalScalars are the numbers of Focal.
type FocalScalars struct {
	Scale    float32 // the gradient's factor
	Gamma    float32 // at least 0
	AlphaYes float32 // the weight of the class 1
	AlphaNo  float32 // and of the class 0
}

// Focal makes binary cross-entropies and their slopes those of the focal loss, which has them
// times a power of the probability of being wrong: see FocalParts.
//
//	grad ← m·alpha·(grad + gamma·bend·each)·scale, each ← m·alpha·each, sum += each
func Focal(grad, each, y, wrong, bend []float32, c *FocalScalars, sum *[Lanes]float64) {
	for i := range grad {
		m, alpha := pow(wrong[i], c.Gamma), float32(y[i]*c.AlphaYes)+float32((1-y[i])*c.AlphaNo)
		slope := m * (alpha * (grad[i] + weighted(float32(bend[i]*c.Gamma), each[i])))
		grad[i], each[i] = slope*c.Scale, m*weighted(alpha, each[i])
		sum[i%Lanes] += float64(each[i])
	}
}

// sides are σ(x) and σ(-x).
func sides(x float32) (like, unlike float32) {
	e := exp(-abs(x))
	if x < 0 {
		return e / (e + 1), 1 / (e + 1)
	}
	return 1 / (e + 1), e / (e + 1)
}

// pow is x^g for a normal x and a g of at least 0. A logarithm of one number would be off by
// more than the power's last bits: it has two, and so has its product with g.
func pow(x, g float32) float32 {
	k, m := exponent(x)
	sum, small := logParts(m-1, k, 0)
	h := sum + small
	product := float32(g * h)
	rest := fma(g, (sum-h)+small, fma(g, h, -product))
	y := exp(product)
	return fma(y, rest, y)
}

// Weigh multiplies losses and their gradients by weights. What has no weight counts for
// nothing, even NaN.
//
//	grad ← grad·w, each ← each·w, sum += each; 0 where w is
func Weigh(grad, each, w []float32, sum *[Lanes]float64) {
	for i := range grad {
		grad[i], each[i] = weighted(w[i], grad[i]), weighted(w[i], each[i])
		sum[i%Lanes] += float64(each[i])
	}
}
