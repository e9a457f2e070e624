// Package spago takes the steps of models of spaGO (github.com/nlpodyssey/spago) with
// Lockstep's rules.
//
//	optimizer, err := spago.New(spago.Group{Params: nn.Parameters(model), Rule: torch.AdamW()})
//	...
//	err = optimizer.Optimize() // after the backward pass
//
// It stands where optimizers.New(nn.Parameters(model), strategy) does: one optimizer has all
// parameters, and a step is one call for them all. Rules are those of package update, and of
// its presets under each framework's names.
package spago

import (
	"context"
	"fmt"
	"sync"

	"github.com/lockstep-go/lockstep/update"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/optimizers"
)

// A Group is parameters that share a rule.
type Group struct {
	Params nn.ParamChannelFunc
	Rule   update.Rule
}

// An Optimizer takes steps of parameters of spaGO. It is an optimizers.OptimizationStrategy
// too, for code that insists on one; Optimize is faster.
type Optimizer struct {
	*update.Optimizer // for rates, clipping, state and what else it can

	list   []*nn.Param
	index  map[*nn.Param]int
	params [][]float32
	grads  [][]float32

	alone sync.Mutex // spaGO's own optimizer calls OptimizeParams from many goroutines
}

var _ optimizers.OptimizationStrategy = (*Optimizer)(nil)

// New returns an optimizer of the parameters of all groups, which are named by their number.
// Rules that look at rows and columns have matrices as they are, and what has one row or
// column as a vector: Muon's group must be without biases. Parameters must be of float32 and
// keep their memory: after ReplaceValue an optimizer is to be made anew.
func New(groups ...Group) (*Optimizer, error) {
	o := &Optimizer{index: map[*nn.Param]int{}}
	var tensors []update.Tensor
	var rules []update.Rule
	for k, g := range groups {
		rules = append(rules, g.Rule)
		for p := range g.Params(context.Background()) {
			data, err := floats(p)
			if err != nil {
				return nil, fmt.Errorf("parameter %d: %w", len(o.list), err)
			}
			if _, ok := o.index[p]; ok {
				return nil, fmt.Errorf("parameter %d is in two groups, or twice in one", len(o.list))
			}
			o.index[p] = len(o.list)
			o.list, o.params = append(o.list, p), append(o.params, data)
			tensors = append(tensors, update.Tensor{Name: fmt.Sprint(len(tensors)), Size: len(data), Rule: k, Columns: columns(p.Shape())})
		}
	}
	o.grads = make([][]float32, len(o.list))
	var err error
	o.Optimizer, err = update.NewSet(tensors, rules...)
	return o, err
}

// columns are those of a matrix, or 0 of what has one row or column.
func columns(shape []int) int {
	if len(shape) != 2 || shape[0] == 1 || shape[1] == 1 {
		return 0
	}
	return shape[1]
}

// floats are the elements of a matrix, not a copy.
func floats(m mat.Tensor) ([]float32, error) {
	if d, ok := m.(*nn.Param); ok {
		m = d.Matrix
	}
	if _, ok := m.(*mat.Dense[float32]); !ok {
		return nil, fmt.Errorf("it is a %T, want one of float32", m)
	}
	return mat.Data[float32](m), nil
}

// Optimize takes a step of all parameters that have a gradient, and drops the gradients, as
// spaGO's optimizer does. After an error nothing has changed.
func (o *Optimizer) Optimize() error {
	o.alone.Lock()
	defer o.alone.Unlock()
	defer clear(o.grads)
	for k, p := range o.list {
		if !p.HasGrad() {
			continue
		}
		var err error
		if o.grads[k], err = floats(p.Grad()); err != nil {
			return fmt.Errorf("the gradient of parameter %d: %w", k, err)
		}
	}
	if err := o.StepSet(o.params, o.grads); err != nil {
		return err
	}
	for _, p := range o.list {
		p.ZeroGrad()
	}
	return nil
}

// OptimizeParams takes a step of one parameter, which counts for itself.
func (o *Optimizer) OptimizeParams(p *nn.Param) error {
	o.alone.Lock()
	defer o.alone.Unlock()
	k, ok := o.index[p]
	if !ok {
		return fmt.Errorf("the parameter is not one of the optimizer's %d", len(o.list))
	}
	g, err := floats(p.Grad())
	if err != nil {
		return fmt.Errorf("the gradient of parameter %d: %w", k, err)
	}
	o.grads[k] = g
	defer clear(o.grads)
	if err := o.StepSet(o.params, o.grads); err != nil {
		return err
	}
	p.ZeroGrad()
	return nil
}
