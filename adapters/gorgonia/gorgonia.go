// Package gorgonia takes the steps of models of Gorgonia (gorgonia.org/gorgonia) with
// Lockstep's rules, as a Solver.
//
//	solver := gorgonia.New(torch.AdamW())
//	...
//	err = solver.Step(gorgonia.NodesToValueGrads(model.Learnables())) // after machine.RunAll
//
// Rules are those of package update, and of its presets under each framework's names. That
// AdamW of Gorgonia leaves the weights as they are (v0.9.18) is one reason to take them.
package gorgonia

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/lockstep-go/lockstep/update"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A Solver takes steps of a model. It has state for the model of its first step, and takes
// no other.
type Solver struct {
	rules     []update.Rule
	rule      func(x G.ValueGrad) int
	optimizer *update.Optimizer
	configure []func(*update.Optimizer) error

	names         []string // of the first step's parameters
	params, grads [][]float32
}

var _ G.Solver = (*Solver)(nil)

// New returns a solver of one rule. configure is called with the optimizer once a first step
// has made it: for clipping, SetGradScale(1/batch), workers, a state to Import.
func New(rule update.Rule, configure ...func(*update.Optimizer) error) *Solver {
	return NewGroups(func(G.ValueGrad) int { return 0 }, []update.Rule{rule}, configure...)
}

// NewGroups returns a solver of several rules: group has the index of that of a parameter,
// which is a *gorgonia.Node with a name as a rule.
func NewGroups(group func(x G.ValueGrad) int, rules []update.Rule, configure ...func(*update.Optimizer) error) *Solver {
	return &Solver{rules: rules, rule: group, configure: configure}
}

// Optimizer has rates, clipping, state and what else there is. It is nil before the first
// step.
func (s *Solver) Optimizer() *update.Optimizer { return s.optimizer }

// Step takes a step of the model, and sets its gradients to 0 on the way, as Gorgonia's
// solvers do. After an error nothing has changed. Parameters are named as their nodes are,
// and come in the order of the first step. Rules that look at rows and columns have matrices
// as they are, and what has one row or column as a vector: Muon's group must be without
// biases.
func (s *Solver) Step(model []G.ValueGrad) error {
	defer func() { clear(s.params); clear(s.grads); s.params, s.grads = s.params[:0], s.grads[:0] }()
	for k, x := range model {
		if k < len(s.names) && name(x) != s.names[k] {
			return fmt.Errorf("parameter %d is %q, want %q, as in the first step", k, name(x), s.names[k])
		}
		p, err := floats(x.Value())
		if err != nil {
			return fmt.Errorf("parameter %d, %s: %w", k, name(x), err)
		}
		grad, err := x.Grad()
		if err != nil {
			return fmt.Errorf("parameter %d, %s: %w", k, name(x), err)
		}
		g, err := floats(grad)
		if err != nil {
			return fmt.Errorf("the gradient of parameter %d, %s: %w", k, name(x), err)
		}
		s.params, s.grads = append(s.params, p), append(s.grads, g)
	}
	if s.optimizer == nil {
		if err := s.begin(model); err != nil {
			return err
		}
	}
	return s.optimizer.StepSet(s.params, s.grads)
}

func (s *Solver) begin(model []G.ValueGrad) error {
	tensors, names := make([]update.Tensor, len(model)), make([]string, len(model))
	for k, x := range model {
		names[k] = name(x)
		tensors[k] = update.Tensor{Name: names[k], Size: len(s.params[k]), Rule: s.rule(x), Columns: columns(x.Value().Shape())}
	}
	o, err := update.NewSet(tensors, s.rules...)
	if err != nil {
		return err
	}
	if err := o.SetZeroGrads(true); err != nil {
		return err
	}
	for _, configure := range s.configure {
		if err := configure(o); err != nil {
			return err
		}
	}
	s.optimizer, s.names = o, names
	return nil
}

func name(x G.ValueGrad) string {
	if n, ok := x.(G.Namer); ok {
		return n.Name()
	}
	return ""
}

// columns are those of a matrix, or 0 of what has one row or column.
func columns(shape tensor.Shape) int {
	if len(shape) != 2 || shape[0] == 1 || shape[1] == 1 {
		return 0
	}
	return shape[1]
}

// floats are the elements of a value, not a copy.
func floats(v G.Value) ([]float32, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("it has no value")
	case *G.F32:
		return unsafe.Slice((*float32)(v), 1), nil
	case *tensor.Dense:
		if v.Dtype() != tensor.Float32 {
			break
		}
		if v.RequiresIterator() {
			return nil, errors.New("it is a view with gaps, want one in a piece")
		}
		if v.DataOrder().IsColMajor() && columns(v.Shape()) > 0 {
			return nil, errors.New("its columns lie in a piece, want its rows to")
		}
		return v.Float32s(), nil
	}
	return nil, fmt.Errorf("it is a %T of %v, want one of float32", v, v.Dtype())
}
