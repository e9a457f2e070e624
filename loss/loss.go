// Package loss computes losses and their gradients in one pass over flat float32
// buffers: the mean squared error, cross-entropies and hinge losses of
// predictions, L1 and L2 penalties of parameters, and the gradients of linear
// models.
//
// Losses are added in float64 in a fixed order. The bits of a result depend on
// the inputs alone, not on the instruction set or the number of workers. An
// error means that nothing was written.
//
// Calls allocate nothing but what they need at first and keep for the next call:
// a Linear for itself, the others some 17 KB for each processor, which a garbage
// collection may take back.
package loss

import (
	"fmt"
	"math"
	"sync"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
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
	// the gradient is not stored.
	//
	// Numbers are not looked at: a NaN reaches the value and its own loss and
	// gradient, and a target that the loss is not made for goes through the
	// formula like any other.
	Eval(pred, target, grad, each []float32) (float64, error)
}

// MSE is the squared error (pred - target)². The value is of squares in float64; the
// loss of an element is +Inf where float32 does not hold it, beyond differences of
// 1.8e19.
type MSE struct {
	Reduction Reduction
}

// Eval implements Loss.
func (l MSE) Eval(pred, target, grad, each []float32) (float64, error) {
	return eval(l.Reduction, pred, target, grad, each, func(scale float32, p part) {
		p.mse.Scale = scale
		kernels.MSE(p.table, &p.list, &p.mse, &p.sum)
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
// -target·log pred - (1-target)·log(1-pred).
//
// A prediction outside [0, 1] makes the value, its own loss and its own gradient
// NaN, where PyTorch raises an error; with ClampProbability it counts as the
// nearer of 0 and 1 and has the gradient 0. With a target outside [0, 1] this is
// no longer a cross-entropy: the loss may be negative and has no least value.
type BCE struct {
	Reduction Reduction
	Clamp     Clamp
}

// Eval implements Loss.
func (l BCE) Eval(pred, target, grad, each []float32) (float64, error) {
	if l.Clamp > ClampProbability {
		return 0, &ArgError{"Clamp", l.Clamp, "ClampLog or ClampProbability"}
	}
	return eval(l.Reduction, pred, target, grad, each, func(scale float32, p part) {
		p.bce.Scale = scale
		if l.Clamp == ClampProbability {
			kernels.BCEClip(p.table, &p.list, &p.bce, &p.sum)
			return
		}
		kernels.BCE(p.table, &p.list, &p.bce, &p.sum)
		spoil(p)
	})
}

// spoil makes the gradient NaN where the prediction is no probability. There the
// kernel divides by its least divisor, and the gradient would be some 1e12: a
// finite number that destroys the parameters and that no check for NaN finds.
// The losses are NaN already, and so there is nothing to look for if their sum
// is not.
func spoil(p part) {
	if sum := fallback.Total(&p.sum); sum == sum {
		return
	}
	for i, x := range p.pred {
		if x < 0 || x > 1 {
			p.grad[i] = float32(math.NaN())
		}
	}
}

// BCEWithLogits is the binary cross-entropy of σ(pred), without the cancellation that
// it has where the probability is rounded first: value and gradient are right to a few
// units in the last place for any prediction. An infinite prediction on the target's
// side costs nothing; nor does any prediction whose target has no weight, and of NaN
// only the gradient tells then. What BCE says about targets holds here too.
type BCEWithLogits struct {
	Reduction Reduction

	// PosWeight multiplies the loss of positive targets, at least 0: see Weight. Nil
	// stands for 1.
	PosWeight *float64
}

// Weight is a weight for BCEWithLogits.
func Weight(x float64) *float64 { return &x }

// Eval implements Loss.
func (l BCEWithLogits) Eval(pred, target, grad, each []float32) (float64, error) {
	weight := 1.0
	if l.PosWeight != nil {
		weight = *l.PosWeight
	}
	if err := checkCoefficient("PosWeight", weight); err != nil {
		return 0, err
	}
	return eval(l.Reduction, pred, target, grad, each, func(scale float32, p part) {
		p.logits = fallback.BCEWithLogitsScalars{Scale: scale, Positive: float32(weight)}
		kernels.BCEWithLogits(p.table, &p.list, &p.logits, &p.sum)
	})
}

// Labels says which numbers stand for the two classes of a hinge loss. Keras
// guesses it from the batch.
//
// Hinge and SquaredHinge do not look whether the targets are such numbers: where
// a label is 0 and ±1 was promised, the loss is 1 and the gradient 0, whatever
// is predicted. Linear does look.
type Labels uint8

const (
	PlusMinus Labels = iota // 1 and -1
	ZeroOne                 // 1 and 0
)

func (l Labels) check(arg string) error {
	if l > ZeroOne {
		return &ArgError{arg, l, "PlusMinus or ZeroOne"}
	}
	return nil
}

// scalars are the numbers that map labels to ±1.
func (l Labels) scalars(scale float32) fallback.HingeScalars {
	if l == ZeroOne {
		return fallback.HingeScalars{Scale: scale, LabelScale: 2, LabelShift: -1}
	}
	return fallback.HingeScalars{Scale: scale, LabelScale: 1}
}

// Hinge is max(1 - label·pred, 0). At the kink its gradient is 0.
type Hinge struct {
	Reduction Reduction
	Labels    Labels
}

// Eval implements Loss.
func (l Hinge) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := l.Labels.check("Labels"); err != nil {
		return 0, err
	}
	return eval(l.Reduction, pred, target, grad, each, func(scale float32, p part) {
		p.hinge = l.Labels.scalars(scale)
		kernels.Hinge(p.table, &p.list, &p.hinge, &p.sum)
	})
}

// SquaredHinge is max(1 - label·pred, 0)².
type SquaredHinge struct {
	Reduction Reduction
	Labels    Labels
}

// Eval implements Loss.
func (l SquaredHinge) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := l.Labels.check("Labels"); err != nil {
		return 0, err
	}
	return eval(l.Reduction, pred, target, grad, each, func(scale float32, p part) {
		p.hinge = l.Labels.scalars(scale)
		kernels.SquaredHinge(p.table, &p.list, &p.hinge, &p.sum)
	})
}

// A part is what a kernel is called with.
type part struct {
	pred, grad []float32
	*room
}

// A room is what kernels reach by pointer, kept for the next call.
type room struct {
	table        kernels.Table
	list         kernels.List
	sum, squares [fallback.Lanes]float64

	mse     fallback.MSEScalars
	bce     fallback.BCEScalars
	logits  fallback.BCEWithLogitsScalars
	hinge   fallback.HingeScalars
	penalty fallback.PenaltyScalars

	// What nobody wants goes to blocks that stay in the cache.
	unwanted [2][]float32
	space    [2*tune.LossBlock + tune.Line/4]float32
}

var rooms = sync.Pool{New: func() any { return newRoom() }}

// newRoom has blocks that begin with a line of the cache: stores across two lines made
// a loss take 1.25 times as long.
func newRoom() *room {
	own := new(room)
	skip := -buffers.Address(own.space[:]) % tune.Line / 4
	blocks := own.space[skip:][:2*tune.LossBlock]
	own.unwanted = [2][]float32{blocks[:tune.LossBlock], blocks[tune.LossBlock:]}
	return own
}

// eval adds up the losses block by block. A block is kernels.MaxLen elements,
// whatever runs, so that the order of the sum is always the same.
func eval(r Reduction, pred, target, grad, each []float32, run func(scale float32, p part)) (float64, error) {
	n := len(pred)
	if err := check(r, pred, target, grad, each); err != nil {
		return 0, err
	}
	own := rooms.Get().(*room)
	defer rooms.Put(own)
	own.table = kernels.Active()
	step := kernels.MaxLen
	if grad == nil || each == nil {
		step = tune.LossBlock
	}
	scale := factor(r, n)
	total := 0.0
	for block := 0; block < n; block += kernels.MaxLen {
		clear(own.sum[:])
		end := min(block+kernels.MaxLen, n)
		for lo := block; lo < end; lo += step {
			hi := min(lo+step, end)
			p := part{pred: pred[lo:hi], grad: own.wanted(0, grad, lo, hi), room: own}
			own.list.Set(p.grad, own.wanted(1, each, lo, hi), p.pred, target[lo:hi])
			run(float32(scale), p)
		}
		total += fallback.Total(&own.sum)
	}
	own.list.Forget() // of what is not ours to keep alive
	return total * scale, nil
}

// wanted is a range of an output, or if that is nil a block of our own.
func (own *room) wanted(k int, out []float32, lo, hi int) []float32 {
	if out == nil {
		return own.unwanted[k][:hi-lo]
	}
	return out[lo:hi]
}

// factor turns the sum of n losses into the reduced one.
func factor(r Reduction, n int) float64 {
	if r == Mean {
		return 1 / float64(n)
	}
	return 1
}

func checkCoefficient(arg string, x float64) error {
	if x >= 0 && x <= math.MaxFloat32 {
		return nil
	}
	return &ArgError{arg, x, "a finite float32 of at least 0"}
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
	names, all := [...]string{"each", "grad", "pred", "target"}, [...][]float32{each, grad, pred, target}
	for k, out := range all[:2] {
		for j := k + 1; j < len(all); j++ {
			if buffers.Overlap(out, all[j]) {
				return &ArgError{names[k], fmt.Sprintf("%d elements at %p", n, out), "a buffer apart from " + names[j]}
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
