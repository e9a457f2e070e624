package fallback

// The kernels of a loss have predictions x and targets y. They store the
// gradient, the slope of each loss times scale, and add the losses to sum;
// those named Each store the losses too.

// MSEScalars are the numbers of MSE.
type MSEScalars struct {
	Scale float32 // the gradient's factor
}

// MSEEachScalars are the numbers of MSEEach.
type MSEEachScalars = MSEScalars

// MSE is the squared error, (x - y)².
func MSE(grad, x, y []float32, c *MSEScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := mse(x[i], y[i])
		grad[i] = slope * c.Scale
		sum[i%Lanes] += float64(loss)
	}
}

// MSEEach is MSE that stores the losses.
func MSEEach(grad, each, x, y []float32, c *MSEEachScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := mse(x[i], y[i])
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func mse(x, y float32) (loss, slope float32) {
	d := x - y
	return float32(d * d), d + d
}

// HingeScalars are the numbers of the hinge losses. The label of an element is
// y·LabelScale + LabelShift: 1 and 0 where y is ±1, 2 and -1 where it is 0 or 1.
type HingeScalars struct {
	Scale      float32 // the gradient's factor
	LabelScale float32
	LabelShift float32
}

// The numbers of the other hinge losses are the same.
type (
	HingeEachScalars        = HingeScalars
	SquaredHingeScalars     = HingeScalars
	SquaredHingeEachScalars = HingeScalars
)

// Hinge is max(1 - label·x, 0). Its slope at the kink is 0.
func Hinge(grad, x, y []float32, c *HingeScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := c.hinge(x[i], y[i])
		grad[i] = slope * c.Scale
		sum[i%Lanes] += float64(loss)
	}
}

// HingeEach is Hinge that stores the losses.
func HingeEach(grad, each, x, y []float32, c *HingeEachScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := c.hinge(x[i], y[i])
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func (c *HingeScalars) hinge(x, y float32) (loss, slope float32) {
	label, h := c.margin(x, y)
	loss = positive(h)
	if h > 0 {
		return loss, -label
	}
	return loss, loss // 0, or NaN
}

// SquaredHinge is max(1 - label·x, 0)².
func SquaredHinge(grad, x, y []float32, c *SquaredHingeScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := c.squaredHinge(x[i], y[i])
		grad[i] = slope * c.Scale
		sum[i%Lanes] += float64(loss)
	}
}

// SquaredHingeEach is SquaredHinge that stores the losses.
func SquaredHingeEach(grad, each, x, y []float32, c *SquaredHingeEachScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := c.squaredHinge(x[i], y[i])
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func (c *HingeScalars) squaredHinge(x, y float32) (loss, slope float32) {
	label, h := c.margin(x, y)
	h = positive(h)
	return float32(h * h), float32(label*h) * -2
}

func (c *HingeScalars) margin(x, y float32) (label, h float32) {
	label = float32(y*c.LabelScale) + c.LabelShift
	return label, 1 - float32(label*x)
}

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

// BCEScalars are the numbers of the cross-entropies of probabilities.
type BCEScalars struct {
	Scale float32 // the gradient's factor
}

// The numbers of the others are the same.
type (
	BCEEachScalars     = BCEScalars
	BCEClipScalars     = BCEScalars
	BCEClipEachScalars = BCEScalars
)

// BCE is binary cross-entropy of probabilities as PyTorch has it: the
// logarithms are kept above -100, and the slope's divisor above 1e-12.
//
//	-y·log x - (1-y)·log(1-x)
func BCE(grad, x, y []float32, c *BCEScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := bce(x[i], y[i])
		grad[i] = slope * c.Scale
		sum[i%Lanes] += float64(loss)
	}
}

// BCEEach is BCE that stores the losses.
func BCEEach(grad, each, x, y []float32, c *BCEEachScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := bce(x[i], y[i])
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func bce(x, y float32) (loss, slope float32) {
	yes := float32(y * atLeast(-100, log(x)))
	no := float32((1 - y) * atLeast(-100, log1p(-x)))
	return -(yes + no), (x - y) / atLeast(1e-12, float32((1-x)*x))
}

// BCEClip is binary cross-entropy of probabilities as Keras has it: they are
// clipped to [1e-7, 1-1e-7], and outside the slope is 0.
func BCEClip(grad, x, y []float32, c *BCEClipScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := bceClip(x[i], y[i])
		grad[i] = slope * c.Scale
		sum[i%Lanes] += float64(loss)
	}
}

// BCEClipEach is BCEClip that stores the losses.
func BCEClipEach(grad, each, x, y []float32, c *BCEClipEachScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := bceClip(x[i], y[i])
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

// BCEWithLogitsScalars are the numbers of BCEWithLogits.
type BCEWithLogitsScalars struct {
	Scale    float32 // the gradient's factor
	Positive float32 // the weight of positive targets
}

// BCEWithLogitsEachScalars are the numbers of BCEWithLogitsEach.
type BCEWithLogitsEachScalars = BCEWithLogitsScalars

// BCEWithLogits is binary cross-entropy of σ(x), computed without cancellation.
//
//	weight = 1 + (positive-1)·y
//	loss   = weight·log(1 + e^-|x|) + (x < 0 ? -positive·y·x : (1-y)·x)
//	slope  = weight·σ(x) - positive·y
func BCEWithLogits(grad, x, y []float32, c *BCEWithLogitsScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := c.bceWithLogits(x[i], y[i])
		grad[i] = slope * c.Scale
		sum[i%Lanes] += float64(loss)
	}
}

// BCEWithLogitsEach is BCEWithLogits that stores the losses.
func BCEWithLogitsEach(grad, each, x, y []float32, c *BCEWithLogitsEachScalars, sum *[Lanes]float64) {
	for i := range grad {
		loss, slope := c.bceWithLogits(x[i], y[i])
		grad[i], each[i] = slope*c.Scale, loss
		sum[i%Lanes] += float64(loss)
	}
}

func (c *BCEWithLogitsScalars) bceWithLogits(x, y float32) (loss, slope float32) {
	e := exp(-abs(x))
	weight := float32(y*(c.Positive-1)) + 1
	yes := float32(y * c.Positive)
	linear, sigmoid := float32((1-y)*x), 1/(e+1)
	if x < 0 {
		linear, sigmoid = float32(yes*-x), e/(e+1)
	}
	return float32(weight*log1p(e)) + linear, float32(weight*sigmoid) - yes
}

// Exp stores e^x, at most 1 ulp off.
func Exp(y, x []float32) {
	for i := range y {
		y[i] = exp(x[i])
	}
}

// Log stores the natural logarithm of x, at most 1 ulp off.
func Log(y, x []float32) {
	for i := range y {
		y[i] = log(x[i])
	}
}

// Log1p stores the natural logarithm of 1 + x, at most 1 ulp off.
func Log1p(y, x []float32) {
	for i := range y {
		y[i] = log1p(x[i])
	}
}

// Sqrt stores the square root of x, correctly rounded.
func Sqrt(y, x []float32) {
	for i := range y {
		y[i] = sqrt(x[i])
	}
}
