package loss

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// SoftMargin is log(1 + e^(-target·pred)), for targets of 1 and -1: soft_margin_loss of
// PyTorch, without the overflow that it has from 88 on, and BCEWithLogits of other labels.
type SoftMargin struct {
	Reduction Reduction
	Scaling
	Workers
}

// Eval implements Loss.
func (l SoftMargin) Eval(pred, target, grad, each []float32) (float64, error) {
	f := form{run: (*call).logits, logits: fallback.BCEWithLogitsScalars{Positive: 1, LabelScale: .5, LabelShift: .5}}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

// PoissonNLL is the negative log-likelihood of counts: e^pred - target·pred for predictions
// that are logarithms of rates, or with Rates pred - target·log(pred + Eps). It is
// poisson_nll_loss of PyTorch, where log_input is the opposite of Rates, on by default, and
// Eps is 1e-8; and Poisson of Keras, of rates, with 1e-7.
//
// A target of 0 makes its product with the logarithm 0, whatever that is.
type PoissonNLL struct {
	Reduction Reduction
	Rates     bool
	Eps       float64 // at least 0; without Rates it counts for nothing
	Full      bool    // adds Stirling's approximation of log target!, for targets above 1
	Scaling
	Workers
}

// Eval implements Loss.
func (l PoissonNLL) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := checkCoefficient("Eps", l.Eps); err != nil {
		return 0, err
	}
	f := form{run: (*call).poisson, inParts: true, rates: l.Rates, full: l.Full, poisson: fallback.PoissonNLLScalars{Above: float32(math.Inf(1))}}
	if l.Rates {
		f.poisson.Eps, f.poisson.Divide = float32(l.Eps), 1
	}
	if l.Full {
		f.poisson.Above = 1
	}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

func (c *call) poisson(p part) {
	p.poisson = c.form.poisson
	p.poisson.Scale = c.scale
	rate, log, logTarget := p.scratch[0], p.pred, p.target
	if c.rates {
		p.center.Mean = -p.poisson.Eps
		p.list.Set(p.scratch[0], p.pred)
		kernels.Center(p.table, &p.list, &p.center)
		p.call(kernels.Log, p.scratch[1], p.scratch[0])
		rate, log = p.pred, p.scratch[1]
	} else {
		p.call(kernels.Exp, rate, p.pred)
	}
	if c.full {
		logTarget = p.scratch[1]
		if c.rates {
			logTarget = p.scratch[0]
		}
		p.call(kernels.Log, logTarget, p.target)
	}
	p.list.Set(p.grad, p.each, rate, p.target, log, logTarget)
	kernels.PoissonNLL(p.table, &p.list, &p.poisson, &p.sum)
}

// call stores an elementary function of x in y.
func (own *room) call(kernel func(kernels.Table, *kernels.List), y, x []float32) {
	own.list.Set(y, x)
	kernel(own.table, &own.list)
}

// GaussianNLL is the negative log-likelihood of targets of a normal distribution with the
// mean pred and a variance: ½(log v + (pred - target)²/v), where v is the variance and at
// least Eps. It is gaussian_nll_loss of PyTorch, whose Eps is 1e-6 by default.
//
// The gradient by the variance is ½(1 - (pred - target)²/v)/v, below Eps too, where the
// value does not change, as PyTorch has it. A negative variance, which PyTorch refuses, counts
// as Eps.
type GaussianNLL struct {
	Reduction Reduction
	Eps       float64 // more than 0
	Full      bool    // adds the constant ½log 2π
	Scaling
	Workers
}

// Eval is that of Loss with the variances of the elements, and with their gradient, which is
// not stored where it is nil. Slices have the length of pred, and what is written overlaps
// nothing.
func (l GaussianNLL) Eval(pred, target, variance, grad, gradVariance, each []float32) (float64, error) {
	least := float32(l.Eps)
	switch {
	case !(least > 0 && least <= math.MaxFloat32):
		return 0, &ArgError{"Eps", l.Eps, "a finite float32 above 0"}
	case len(variance) != len(pred):
		return 0, &ArgError{"len(variance)", len(variance), fmt.Sprintf("len(pred) = %d", len(pred))}
	case gradVariance != nil && len(gradVariance) != len(pred):
		return 0, &ArgError{"len(gradVariance)", len(gradVariance), fmt.Sprintf("len(pred) = %d", len(pred))}
	}
	one := [...]float32{least, 0}
	fallback.Log(one[1:], one[:1])
	constant := float32(0)
	if l.Full {
		constant = float32(math.Log(2*math.Pi) / 2)
	}
	d := data{pred: pred, target: target, grad: grad, each: each, variance: variance, gradVariance: gradVariance}
	f := form{run: (*call).gaussian, inParts: true, gaussian: fallback.GaussianNLLScalars{Least: one[0], LogLeast: one[1], Constant: constant}}
	return eval(l.Reduction, &l.Scaling, l.Workers, d, f)
}

func (c *call) gaussian(p part) {
	p.gaussian = c.form.gaussian
	p.gaussian.Scale = c.scale
	p.call(kernels.Log, p.scratch[0], p.variance)
	p.list.Set(p.grad, p.gradVariance, p.each, p.pred, p.target, p.variance, p.scratch[0])
	kernels.GaussianNLL(p.table, &p.list, &p.gaussian, &p.sum)
}

// KLDivergence is the divergence of the distribution target from the one of which pred has
// the logarithms of probabilities: target·(log target - pred), 0 where target is. It is
// kl_div of PyTorch, whose mean is by elements and BatchMean that of the divergences of rows,
// and kl_divergence of Optax, summed over a row; of probabilities it is KLDivergence of Keras.
type KLDivergence struct {
	Reduction Reduction
	LogTarget bool // targets are logarithms too: e^target·(target - pred)

	// Probabilities says that pred are probabilities, not their logarithms, and clips both
	// distributions to [1e-7, 1]: target·log(target/pred). Where pred is clipped the gradient
	// is 0. Keras' mean is BatchMean. LogTarget is false then.
	Probabilities bool
	Scaling
	Workers
}

// Eval implements Loss.
func (l KLDivergence) Eval(pred, target, grad, each []float32) (float64, error) {
	f := form{run: (*call).kl, inParts: true, logTarget: l.LogTarget}
	if l.Probabilities {
		if l.LogTarget {
			return 0, &ArgError{"LogTarget", true, "false with Probabilities"}
		}
		f.run = (*call).klClip
	}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

func (c *call) kl(p part) {
	p.kl.Scale = c.scale
	probability, log := p.target, p.scratch[0]
	if c.logTarget {
		probability, log = log, probability
		p.call(kernels.Exp, probability, log)
	} else {
		p.call(kernels.Log, log, probability)
	}
	p.list.Set(p.grad, p.each, p.pred, probability, log)
	kernels.KLDivergence(p.table, &p.list, &p.kl, &p.sum)
}

// leastProbability is that to which Keras clips.
const leastProbability = 1e-7

// klClip has the quotient of the probabilities: the difference of their logarithms has none of
// its digits where they are close.
func (c *call) klClip(p part) {
	quotient, probability := p.scratch[0], p.scratch[1]
	for i, x := range p.pred {
		y := clip(p.target[i], leastProbability, 1)
		q := y / clip(x, leastProbability, 1)
		quotient[i], probability[i] = q, y
		slope := -q
		if x < leastProbability || x > 1 {
			slope = 0
		}
		p.grad[i] = slope * c.scale
	}
	p.call(kernels.Log, p.each, quotient)
	p.list.Set(quotient, p.each, probability)
	kernels.Weigh(p.table, &p.list, &p.sum)
}

// clip is the number from low to high that is nearest to x, or NaN.
func clip(x, low, high float32) float32 {
	switch {
	case x < low:
		return low
	case x > high:
		return high
	}
	return x
}

// Focal is binary cross-entropy of σ(pred), times a power of the probability that the
// prediction gives to the wrong class, so that examples which are right by far count little:
// cross·wrong^Gamma, with wrong = target·(1-p) + (1-target)·p and p = σ(pred). It is
// sigmoid_focal_loss of torchvision, where Gamma is 2 and Alpha .25, and of Optax, where Alpha
// is off; of probabilities it is BinaryFocalCrossentropy of Keras, which has no Alpha either by
// default, and which clips those of logits too. Value and gradient are right to a few units in the
// last place for any logit. (Lin et
// al. 2017)
type Focal struct {
	Reduction Reduction
	Gamma     float64 // from 0, which is BCEWithLogits, to 1000

	// Alpha, from 0 to 1, is the weight of positive targets and 1 - Alpha that of negative
	// ones: see Weight. Nil stands for 1 and 1.
	Alpha *float64

	// Probabilities says that pred are probabilities p, not logits. As in Keras those of the
	// cross-entropy are clipped to [1e-7, 1-1e-7], where it has the gradient 0, and those of
	// wrong, which is at least 2⁻⁶⁴ here, are not. A prediction outside [0, 1] counts as the
	// nearer of 0 and 1 and has the gradient 0.
	Probabilities bool

	// Smoothing is that of BCE, and Alpha goes by what it makes of targets.
	Smoothing float64
	Scaling
	Workers
}

// Eval implements Loss.
func (l Focal) Eval(pred, target, grad, each []float32) (float64, error) {
	if !(l.Gamma >= 0 && l.Gamma <= 1000) {
		return 0, &ArgError{"Gamma", l.Gamma, "a number from 0 to 1000"}
	}
	yes, no := 1.0, 1.0
	if l.Alpha != nil {
		if err := checkPart("Alpha", *l.Alpha); err != nil {
			return 0, err
		}
		yes, no = *l.Alpha, 1-*l.Alpha
	}
	run := (*call).focal
	if l.Probabilities {
		run = (*call).focalClip
	}
	if err := checkPart("Smoothing", l.Smoothing); err != nil {
		return 0, err
	}
	// What is linear in the smoothed target is so in the target.
	half := l.Smoothing / 2
	yes, no = float64(yes*(1-half))+float64(no*half), float64(yes*half)+float64(no*(1-half))
	f := form{run: run, inParts: true, focal: fallback.FocalScalars{Gamma: float32(l.Gamma), AlphaYes: float32(yes), AlphaNo: float32(no)},
		bce: fallback.BCEScalars{Scale: 1, LabelScale: float32(1 - l.Smoothing), LabelShift: float32(half)}, smooths: l.Smoothing > 0}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

func (c *call) focal(p part) {
	p.logits = fallback.BCEWithLogitsScalars{Scale: 1, Positive: 1, LabelScale: 1}
	p.focal = c.form.focal
	p.focal.Scale = c.scale
	target := p.target
	if c.smooths {
		target = p.scratch[2]
		for i, y := range p.target {
			target[i] = float32(y*c.form.bce.LabelScale) + c.form.bce.LabelShift
		}
		p.list.Set(p.grad, p.each, p.pred, target)
	}
	kernels.BCEWithLogits(p.table, &p.list, &p.logits, &p.squares)
	p.list.Set(p.scratch[0], p.scratch[1], p.pred, target)
	kernels.FocalParts(p.table, &p.list)
	p.list.Set(p.grad, p.each, p.target, p.scratch[0], p.scratch[1])
	kernels.Focal(p.table, &p.list, &p.focal, &p.sum)
}

func (c *call) focalClip(p part) {
	p.bce, p.focal = c.form.bce, c.form.focal
	p.focal.Scale = c.scale
	kernels.BCEClip(p.table, &p.list, &p.bce, &p.squares)
	wrong, bend := p.scratch[0], p.scratch[1]
	for i, x := range p.pred {
		y := float32(p.target[i]*p.bce.LabelScale) + p.bce.LabelShift
		by := 1 - (y + y)
		if x < 0 || x > 1 {
			x, by = clip(x, 0, 1), 0
		}
		v := float32(y*(1-x)) + float32((1-y)*x)
		if v < 0x1p-64 { // below which gamma/v would not be finite
			v = 0x1p-64
		}
		wrong[i], bend[i] = v, by/v
	}
	p.list.Set(p.grad, p.each, p.target, wrong, bend)
	kernels.Focal(p.table, &p.list, &p.focal, &p.sum)
}
