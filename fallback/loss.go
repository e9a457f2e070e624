package fallback

// The kernels of a loss have predictions x and targets y. They store the gradient,
// the slope of each loss times scale, store each loss, and add the losses to sum.

// MSEScalars are the numbers of MSE.
type MSEScalars struct {
	Scale float32 // the gradient's factor
}

// MSE is the squared error, (x - y)². Its sum is of squares in float64, which holds
// those that float32 does not.
func MSE(grad, each, x, y []float32, c *MSEScalars, sum *[Lanes]float64) {
	for i := range grad {
		d := x[i] - y[i]
		grad[i], each[i] = (d+d)*c.Scale, d*d
		sum[i%Lanes] += float64(d) * float64(d)
	}
}

// HingeScalars are the numbers of the hinge losses. The label of an element is
// y·LabelScale + LabelShift: with 1 and 0 y itself, which is ±1, with 2 and -1 that of a y
// of 0 or 1.
type HingeScalars struct {
	Scale      float32 // the gradient's factor
	LabelScale float32
	LabelShift float32
}

// SquaredHingeScalars are the numbers of SquaredHinge.
type SquaredHingeScalars = HingeScalars

// Hinge is max(1 - label·x, 0). Its slope at the kink is 0.
func Hinge(grad, each, x, y []float32, c *HingeScalars, sum *[Lanes]float64) {
	for i := range grad {
		label, h := c.margin(x[i], y[i])
		loss := positive(h)
		slope := loss // 0, or NaN
		if h > 0 {
			slope = -label
		}
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

// SquaredHinge is max(1 - label·x, 0)². Its sum is like that of MSE.
func SquaredHinge(grad, each, x, y []float32, c *SquaredHingeScalars, sum *[Lanes]float64) {
	for i := range grad {
		label, h := c.margin(x[i], y[i])
		h = positive(h)
		grad[i], each[i] = float32(float32(label*h)*-2)*c.Scale, h*h
		sum[i%Lanes] += float64(h) * float64(h)
	}
}

func (c *HingeScalars) margin(x, y float32) (label, h float32) {
	label = labelOf(y, c.LabelScale, c.LabelShift)
	return label, 1 - float32(label*x)
}

func labelOf(y, scale, shift float32) float32 { return float32(y*scale) + shift }

// positive is x, or 0 if x is negative; a NaN stays.
func positive(x float32) float32 {
	if 0 > x {
		return 0
	}
	return x
}

// atLeast is x, or low if x is below it; a NaN stays.
func atLeast(low, x float32) float32 {
	if low > x {
		return low
	}
	return x
}

// BCEScalars are the numbers of the cross-entropies of probabilities. The label of an
// element is y·LabelScale + LabelShift: 1 and 0 where it is not smoothed.
type BCEScalars struct {
	Scale      float32 // the gradient's factor
	LabelScale float32
	LabelShift float32
}

// BCEClipScalars are the numbers of BCEClip.
type BCEClipScalars = BCEScalars

// BCE is binary cross-entropy of probabilities as PyTorch has it: the
// logarithms are kept above -100, and the slope's divisor above 1e-12.
//
//	-label·log x - (1-label)·log(1-x)
func BCE(grad, each, x, y []float32, c *BCEScalars, sum *[Lanes]float64) {
	for i := range grad {
		label := labelOf(y[i], c.LabelScale, c.LabelShift)
		yes := float32(label * atLeast(-100, log(x[i])))
		no := float32((1 - label) * atLeast(-100, log1p(-x[i])))
		slope := (x[i] - label) / atLeast(1e-12, float32((1-x[i])*x[i]))
		grad[i], each[i] = slope*c.Scale, -(yes + no)
		sum[i%Lanes] += float64(each[i])
	}
}

// BCEClip is binary cross-entropy of probabilities as Keras has it: they are
// clipped to [1e-7, 1-1e-7], and outside the slope is 0.
func BCEClip(grad, each, x, y []float32, c *BCEClipScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := bceClip(x[i], labelOf(y[i], c.LabelScale, c.LabelShift))
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func bceClip(x, y float32) (loss, slope float32) {
	const low, high float32 = 1e-7, 1 - 1e-7
	q := atLeast(low, x)
	if high < q {
		q = high
	}
	yes := float32(y * log(q))
	no := float32((1 - y) * log(1-q))
	if x < low || high < x {
		return -(yes + no), 0
	}
	return -(yes + no), (q - y) / float32((1-q)*q)
}

// BCEWithLogitsScalars are the numbers of BCEWithLogits. The label of an element is
// y·LabelScale + LabelShift: 1 and 0 where it is not smoothed.
type BCEWithLogitsScalars struct {
	Scale      float32 // the gradient's factor
	Positive   float32 // the weight of positive labels
	LabelScale float32
	LabelShift float32
}

// BCEWithLogits is binary cross-entropy of σ(x), without cancellation: both sides are
// of the same e^-|x|, and neither is 1 less the other. A side without weight counts
// for nothing, however infinite its logit makes it.
//
//	loss  = (1-label)·log(1 + e^x) + positive·label·log(1 + e^-x)
//	slope = (1-label)·σ(x) - positive·label·σ(-x)
func BCEWithLogits(grad, each, x, y []float32, c *BCEWithLogitsScalars, sum *[Lanes]float64) {
	for i := range grad {
		label := labelOf(y[i], c.LabelScale, c.LabelShift)
		loss, slope := bceWithLogits(x[i], 1-label, float32(label*c.Positive))
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

// bceWithLogits is the loss of a logit whose sides have the weights no and yes.
func bceWithLogits(x, no, yes float32) (loss, slope float32) {
	e := exp(-abs(x))
	near, far := log1p(e), log1p(e)+abs(x) // of the side that x is on, of the other
	likely, unlikely := 1/(e+1), e/(e+1)
	if x < 0 {
		return weighted(no, near) + weighted(yes, far), float32(no*unlikely) - float32(yes*likely)
	}
	return weighted(no, far) + weighted(yes, near), float32(no*likely) - float32(yes*unlikely)
}

// weighted is a product that is 0 where the weight is.
func weighted(weight, x float32) float32 {
	if weight == 0 {
		return weight
	}
	return float32(weight * x)
}
