package update

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/kernels"
)

// An Accumulator adds up the gradients of micro-batches, of which one step then has the mean:
//
//	Σ weight·gradient / Σ weight
//
// What a micro-batch weighs is how many samples its gradient is the mean of, or tokens, or 1
// if all are alike. The divisor is what has come, so that the last window of an epoch may be
// short: to divide each loss by the usual number of micro-batches, as loops of PyTorch do, is
// then wrong, and for means over different numbers of tokens it always is. With weights of 1
// it is Keras' gradient_accumulation_steps and optax.MultiSteps.
//
//	for each micro-batch but the last:
//		err := accumulator.Add(grads, 1)
//	err := accumulator.StepSet(params, grads, 1)
//
// Sums are float32, in the order in which gradients come. The last of a window are added
// within the step. Penalties are added to the mean. Clipping and policies look at the mean
// too. A checkpoint between windows needs nothing of an Accumulator.
type Accumulator struct {
	o      *Optimizer
	sums   [][]float32
	begun  []bool // the sum of a tensor has something
	weight float64

	list    [2][][]float32 // room for what a step has the sum of
	typed   [2][]Typed     // the same of any types
	given   []Typed        // room for float32 gradients as such
	factors [2]float64
}

// NewAccumulator returns one for the tensors of an optimizer, with a float32 for each
// parameter.
func NewAccumulator(o *Optimizer) *Accumulator {
	a := &Accumulator{o: o, begun: make([]bool, len(o.sizes))}
	for _, n := range o.sizes {
		a.sums = append(a.sums, Alloc(n, 1)[0])
	}
	a.list[0] = make([][]float32, len(o.sizes))
	a.typed[0], a.given = make([]Typed, len(o.sizes)), make([]Typed, len(o.sizes))
	return a
}

// Add adds the gradients of a micro-batch, which are only read; weight is a float32 above 0.
// A gradient that is nil is none. It is no part of a step and uses the optimizer's workers.
// After a panic all that was added is forgotten.
func (a *Accumulator) Add(grads [][]float32, weight float64) error {
	if err := a.checkCount(len(grads)); err != nil {
		return err
	}
	for k, g := range grads {
		a.given[k] = kernels.TypedOf(g)
	}
	defer clear(a.given)
	return a.AddTyped(a.given, weight)
}

// AddTyped is Add of gradients of any types, each tensor's of its own: the bits are those of Add with the
// same numbers as float32.
func (a *Accumulator) AddTyped(grads []Typed, weight float64) error {
	if err := a.check(grads, weight); err != nil {
		return err
	}
	if err := a.o.enter(); err != nil {
		return err
	}
	defer a.o.leave()
	if err := a.o.betweenSteps(); err != nil {
		return err
	}
	added := false
	defer func() {
		if !added {
			a.Reset()
		}
	}()
	a.o.engine.Accumulate(a.sums, grads, weight, a.begun)
	a.weight += float64(float32(weight))
	added = true
	return nil
}

// Weight is what has been added since the last step.
func (a *Accumulator) Weight() float64 { return a.weight }

// Reset forgets what has been added.
func (a *Accumulator) Reset() {
	clear(a.begun)
	a.weight = 0
}

// StepSet takes a step of the optimizer with the mean of what was added and of grads, the
// last micro-batch, which is added within the step: see StepShards. Then, or if the policy
// has skipped it, the next window begins; an error changes nothing. The optimizer's GradScale
// is a factor of the mean.
func (a *Accumulator) StepSet(params, grads [][]float32, weight float64) error {
	if err := a.checkCount(len(grads)); err != nil {
		return err
	}
	for k, g := range grads {
		a.given[k] = kernels.TypedOf(g)
	}
	defer clear(a.given)
	return a.step(a.given, weight, func() error {
		a.list[1] = grads
		for k, begun := range a.begun {
			if a.list[0][k] = nil; begun {
				a.list[0][k] = a.sums[k]
			}
		}
		return a.o.stepShards(params, a.list[:], accumulated, a.factors[:])
	})
}

// StepTyped is StepSet with gradients of any types, each tensor's of its own: the bits are those of StepSet
// with the same numbers as float32.
func (a *Accumulator) StepTyped(params [][]float32, grads []Typed, weight float64) error {
	return a.step(grads, weight, func() error {
		a.typed[1] = grads
		for k, begun := range a.begun {
			if a.typed[0][k] = (Typed{}); begun {
				a.typed[0][k] = kernels.TypedOf(a.sums[k])
			}
		}
		return a.o.stepTyped(params, a.typed[:], accumulated, a.factors[:])
	})
}

// step is StepSet with what takes the step once the scale and the factors are set.
func (a *Accumulator) step(grads []Typed, weight float64, take func() error) error {
	if err := a.check(grads, weight); err != nil {
		return err
	}
	o := a.o
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	own, whole := o.scale, a.weight+float64(float32(weight))
	if o.clips() && o.engine.Observed() {
		return &ArgError{"the gradients", "observed", "not observed with an Accumulator, which steps with sums: see ForgetObserved"}
	}
	if err := o.SetGradScale(own / whole); err != nil {
		return &ArgError{"weight", weight, fmt.Sprintf("one that leaves the scale of gradients, %g, a float32 above 0 once divided by all, %g", own, whole)}
	}
	defer func() { o.scale, a.list[1], a.typed[1] = own, nil, nil }()
	a.factors = [2]float64{1, weight}
	if err := take(); err != nil {
		return err
	}
	a.Reset()
	return nil
}

// accumulated is what errors call the two shards of a step.
var accumulated = []string{"sums", "grads"}

// check refuses gradients that are not those of the optimizer's tensors.
func (a *Accumulator) check(grads []Typed, weight float64) error {
	if !(float32(weight) > 0 && weight <= math.MaxFloat32) {
		return &ArgError{"weight", weight, "a finite float32 above 0"}
	}
	if err := a.checkCount(len(grads)); err != nil {
		return err
	}
	for k, g := range grads {
		if !g.IsNil() && g.Len() != len(a.sums[k]) {
			return &ArgError{fmt.Sprintf("len(grads[%d])", k) + quoted(a.o.tensors[k].name), length(g), fmt.Sprintf("the tensor's size, %d", len(a.sums[k]))}
		}
	}
	return nil
}

func (a *Accumulator) checkCount(n int) error {
	if n != len(a.sums) {
		return &ArgError{"len(grads)", n, fmt.Sprintf("the number of tensors, %d", len(a.sums))}
	}
	return nil
}
