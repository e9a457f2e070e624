// Package loss computes losses and their gradients in one pass over flat float32
// buffers: the mean squared error, cross-entropies and hinge losses of
// predictions, L1 and L2 penalties of parameters, and the gradients of linear
// models.
//
// Losses are added in float64 in a fixed order. The bits of a result depend on
// the inputs alone, not on the instruction set or the number of workers. An
// error means that nothing was written.
package loss

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Reduction says what becomes of the losses of the elements.
type Reduction uint8

const (
	Mean Reduction = iota // their mean; the mean of no elements is NaN
	Sum                   // their sum
	None                  // themselves, one by one; the gradient is that of Sum
)

// A Loss is a loss of predictions, given targets: MSE, BCE, BCEWithLogits,
// Hinge or SquaredHinge.
type Loss interface {
	// Eval returns the loss of pred, of which it stores the gradient in grad.
	// With the reduction None the result is the sum, and the losses of the
	// elements are stored in each; with the others each may be nil. All slices
	// have one length, and grad and each overlap nothing. Where grad is nil
	// the gradient is not stored, and a small buffer is allocated.
	Eval(pred, target, grad, each []float32) (float64, error)
}

// MSE is the squared error (pred - target)².
type MSE struct {
	Reduction Reduction
}

// Eval implements Loss.
func (l MSE) Eval(pred, target, grad, each []float32) (float64, error) {
	return eval(l.Reduction, pred, target, grad, each, func(k *kernels.Table, scale float32, p part) {
		c := fallback.MSEScalars{Scale: scale}
		if p.each == nil {
			k.MSE(p.grad, p.pred, p.target, &c, p.sum)
		} else {
			k.MSEEach(p.grad, p.each, p.pred, p.target, &c, p.sum)
		}
	})
}

// A Clamp says how a cross-entropy keeps the logarithm of 0 finite.
type Clamp uint8

const (
	// ClampLog keeps logarithms above -100 and the gradient's divisor above
	// 1e-12, as PyTorch does.
	ClampLog Clamp = iota
	// ClampProbability clips probabilities to [1e-7, 1-1e-7], outside which the
	// gradient is 0, as Keras and TensorFlow do.
	ClampProbability
)

// BCE is the binary cross-entropy of probabilities,
// -target·log pred - (1-target)·log(1-pred). A prediction outside [0, 1] makes
// the result NaN, or with ClampProbability counts as the nearer of 0 and 1.
type BCE struct {
	Reduction Reduction
	Clamp     Clamp
}

// Eval implements Loss.
func (l BCE) Eval(pred, target, grad, each []float32) (float64, error) {
	if l.Clamp > ClampProbability {
		return 0, &ArgError{"Clamp", l.Clamp, "ClampLog or ClampProbability"}
	}
	return eval(l.Reduction, pred, target, grad, each, func(k *kernels.Table, scale float32, p part) {
		c := fallback.BCEScalars{Scale: scale}
		switch clip := l.Clamp == ClampProbability; {
		case clip && p.each == nil:
			k.BCEClip(p.grad, p.pred, p.target, &c, p.sum)
		case clip:
			k.BCEClipEach(p.grad, p.each, p.pred, p.target, &c, p.sum)
		case p.each == nil:
			k.BCE(p.grad, p.pred, p.target, &c, p.sum)
		default:
			k.BCEEach(p.grad, p.each, p.pred, p.target, &c, p.sum)
		}
	})
}

// BCEWithLogits is the binary cross-entropy of σ(pred), without the
// cancellation that it has where the probability is rounded first.
type BCEWithLogits struct {
	Reduction Reduction

	// PosWeight multiplies the loss of positive targets. 0 stands for 1.
	PosWeight float64
}

// Eval implements Loss.
func (l BCEWithLogits) Eval(pred, target, grad, each []float32) (float64, error) {
	if !(l.PosWeight >= 0 && l.PosWeight <= math.MaxFloat32) {
		return 0, &ArgError{"PosWeight", l.PosWeight, "a finite float32 of at least 0"}
	}
	weight := float32(1)
	if l.PosWeight != 0 {
		weight = float32(l.PosWeight)
	}
	return eval(l.Reduction, pred, target, grad, each, func(k *kernels.Table, scale float32, p part) {
		c := fallback.BCEWithLogitsScalars{Scale: scale, Positive: weight}
		if p.each == nil {
			k.BCEWithLogits(p.grad, p.pred, p.target, &c, p.sum)
		} else {
			k.BCEWithLogitsEach(p.grad, p.each, p.pred, p.target, &c, p.sum)
		}
	})
}

// Labels says which numbers stand for the two classes of a hinge loss. Keras
// guesses it from the batch.
type Labels uint8

const (
	PlusMinus Labels = iota // 1 and -1
	ZeroOne                 // 1 and 0
)

// scalars are the numbers that map labels to ±1.
func (l Labels) scalars(scale float32) (fallback.HingeScalars, error) {
	switch l {
	case PlusMinus:
		return fallback.HingeScalars{Scale: scale, LabelScale: 1}, nil
	case ZeroOne:
		return fallback.HingeScalars{Scale: scale, LabelScale: 2, LabelShift: -1}, nil
	}
	return fallback.HingeScalars{}, &ArgError{"Labels", l, "PlusMinus or ZeroOne"}
}

// Hinge is max(1 - label·pred, 0). At the kink its gradient is 0.
type Hinge struct {
	Reduction Reduction
	Labels    Labels
}

// Eval implements Loss.
func (l Hinge) Eval(pred, target, grad, each []float32) (float64, error) {
	c, err := l.Labels.scalars(0)
	if err != nil {
		return 0, err
	}
	return eval(l.Reduction, pred, target, grad, each, func(k *kernels.Table, scale float32, p part) {
		c.Scale = scale
		if p.each == nil {
			k.Hinge(p.grad, p.pred, p.target, &c, p.sum)
		} else {
			k.HingeEach(p.grad, p.each, p.pred, p.target, &c, p.sum)
		}
	})
}

// SquaredHinge is max(1 - label·pred, 0)².
type SquaredHinge struct {
	Reduction Reduction
	Labels    Labels
}

// Eval implements Loss.
func (l SquaredHinge) Eval(pred, target, grad, each []float32) (float64, error) {
	c, err := l.Labels.scalars(0)
	if err != nil {
		return 0, err
	}
	return eval(l.Reduction, pred, target, grad, each, func(k *kernels.Table, scale float32, p part) {
		c.Scale = scale
		if p.each == nil {
			k.SquaredHinge(p.grad, p.pred, p.target, &c, p.sum)
		} else {
			k.SquaredHingeEach(p.grad, p.each, p.pred, p.target, &c, p.sum)
		}
	})
}

// A part is what a kernel is called with.
type part struct {
	pred, target, grad, each []float32
	sum                      *[fallback.Lanes]float64
}

// scratchLen is the length of the buffer that takes a gradient nobody wants.
const scratchLen = 2048

// eval adds up the losses block by block. A block is kernels.MaxLen elements,
// whatever runs, so that the order of the sum is always the same.
func eval(r Reduction, pred, target, grad, each []float32, run func(k *kernels.Table, scale float32, p part)) (float64, error) {
	n := len(pred)
	if err := check(r, pred, target, grad, each); err != nil {
		return 0, err
	}
	scale := 1.0
	if r == Mean {
		scale = 1 / float64(n)
	}
	step := kernels.MaxLen
	var scratch []float32
	if grad == nil {
		step = scratchLen
		scratch = make([]float32, min(n, step))
	}
	k := kernels.Active()
	total := 0.0
	for block := 0; block < n; block += kernels.MaxLen {
		var lanes [fallback.Lanes]float64
		end := min(block+kernels.MaxLen, n)
		for lo := block; lo < end; lo += step {
			hi := min(lo+step, end)
			p := part{pred: pred[lo:hi], target: target[lo:hi], grad: scratch[:min(hi-lo, len(scratch))], sum: &lanes}
			if grad != nil {
				p.grad = grad[lo:hi]
			}
			if each != nil {
				p.each = each[lo:hi]
			}
			run(k, float32(scale), p)
		}
		total += fallback.Total(&lanes)
	}
	return total * factor(r, n), nil
}

// factor turns the sum of n losses into the reduced one.
func factor(r Reduction, n int) float64 {
	if r == Mean {
		return 1 / float64(n)
	}
	return 1
}

func check(r Reduction, pred, target, grad, each []float32) error {
	n := len(pred)
	switch {
	case r > None:
		return &ArgError{"Reduction", r, "Mean, Sum or None"}
	case len(target) != n:
		return &ArgError{"len(target)", len(target), fmt.Sprintf("len(pred) = %d", n)}
	case grad != nil && len(grad) != n:
		return &ArgError{"len(grad)", len(grad), fmt.Sprintf("len(pred) = %d", n)}
	case each != nil && len(each) != n:
		return &ArgError{"len(each)", len(each), fmt.Sprintf("len(pred) = %d", n)}
	case r == None && each == nil && n > 0:
		return &ArgError{"each", "nil", "a buffer for the losses"}
	}
	for _, x := range []struct {
		name string
		out  []float32
	}{{"grad", grad}, {"each", each}} {
		for _, y := range []struct {
			name string
			s    []float32
		}{{"pred", pred}, {"target", target}, {"grad", grad}} {
			if x.name != y.name && buffers.Overlap(x.out, y.s) {
				return &ArgError{x.name, fmt.Sprintf("%d elements at %p", n, x.out), "a buffer apart from " + y.name}
			}
		}
	}
	return nil
}

// An ArgError is bad input: which argument, its value, and what it must be.
type ArgError struct {
	Arg   string
	Value any
	Want  string
}

func (e *ArgError) Error() string {
	return fmt.Sprintf("loss: %s is %v, want %s", e.Arg, e.Value, e.Want)
}
