// Package gomlx takes the steps of models of GoMLX (github.com/gomlx/gomlx) with Lockstep's
// rules.
//
//	optimizer := gomlx.New(torch.AdamW())
//	trainer := train.NewTrainer(backend, ctx, model, loss, optimizer, nil, nil)
//	loop := train.NewLoop(trainer)
//	optimizer.Attach(loop)
//
// Rules are those of package update, and of its presets under each framework's names.
//
// GoMLX compiles a training step into one graph, and an optimizer adds nodes to it, which see
// no memory. This one has the graph leave the gradients in variables of their own, and steps
// once it has run: in place where the backend shares its buffers, as the one in Go does, and
// through copies on others. Without a Loop, call Step after each Trainer.TrainStep.
package gomlx

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/context/initializers"
	"github.com/gomlx/gomlx/pkg/ml/train"
	"github.com/gomlx/gomlx/pkg/ml/train/optimizers"
	"github.com/lockstep-go/lockstep/update"
)

// Scope is where the gradients are among a context's variables, each under the scope and name
// of its parameter. They need not be in a checkpoint of GoMLX; the state of the rules, which
// does, is not in the context: see package checkpoint of update, and Optimizer.
const Scope = "lockstep_gradients"

// An Optimizer takes steps of the trainable variables of a model. It has state for those of
// its first graph, and takes no others.
type Optimizer struct {
	rules     []update.Rule
	rule      func(v *context.Variable) int
	configure []func(*update.Optimizer) error
	optimizer *update.Optimizer

	ctx   *context.Context
	list  []variable
	taken int64 // steps, of those that the graph has counted
	rate  *context.Variable
	rated float64   // what it was when it was last looked at
	rates []float64 // of the rules at first

	params, grads [][]float32
}

// A variable is a trainable one and its gradient's.
type variable struct {
	param, grad *context.Variable
}

var (
	_ optimizers.Interface        = (*Optimizer)(nil)
	_ train.OptimizeWithGradients = (*Optimizer)(nil)
)

// New returns an optimizer of one rule. configure is called with what takes the steps once the
// first training graph is built: for clipping, workers, a state to Import.
func New(rule update.Rule, configure ...func(*update.Optimizer) error) *Optimizer {
	return NewGroups(func(*context.Variable) int { return 0 }, []update.Rule{rule}, configure...)
}

// NewGroups returns an optimizer of several rules: group has the index of that of a variable.
func NewGroups(group func(v *context.Variable) int, rules []update.Rule, configure ...func(*update.Optimizer) error) *Optimizer {
	return &Optimizer{rules: rules, rule: group, configure: configure}
}

// Optimizer has rates, clipping, state and what else there is. It is nil before the first
// training graph is built, and after Clear.
//
// GoMLX's variable of the learning rate begins with that of the first rule. Where a schedule
// has changed it, the first rule takes it, and the others' rates change by the same factor.
func (o *Optimizer) Optimizer() *update.Optimizer { return o.optimizer }

// Attach has a loop take a step after each run of the training graph. Call it before other
// callbacks are added that look at the parameters.
func (o *Optimizer) Attach(loop *train.Loop) {
	loop.OnStep("lockstep", -1000, func(*train.Loop, []*tensors.Tensor) error { return o.Step() })
}

// UpdateGraph implements optimizers.Interface: it has the graph leave the gradients of loss.
func (o *Optimizer) UpdateGraph(ctx *context.Context, _ *graph.Graph, loss *graph.Node) {
	if !loss.Shape().IsScalar() {
		panic(fmt.Errorf("gomlx: the loss has the shape %s, want a scalar", loss.Shape()))
	}
	o.UpdateGraphWithGradients(ctx, ctx.BuildTrainableVariablesGradientsGraph(loss), loss.DType())
}

// UpdateGraphWithGradients has the graph leave these gradients, as Trainer.AccumulateGradients
// asks for. In order they are those of the trainable variables that the graph uses.
func (o *Optimizer) UpdateGraphWithGradients(ctx *context.Context, grads []*graph.Node, lossDType dtypes.DType) {
	if len(grads) == 0 {
		panic(fmt.Errorf("gomlx: there are no trainable variables"))
	}
	g := grads[0].Graph()
	var list []variable
	for _, v := range slices.Collect(ctx.IterVariables()) {
		if !v.Trainable || !v.InUseByGraph(g) {
			continue
		}
		if v.DType() != dtypes.Float32 {
			panic(fmt.Errorf("gomlx: %s is of %s, want float32", v.ScopeAndName(), v.DType()))
		}
		k := len(list)
		if k == len(grads) || !v.Shape().Equal(grads[k].Shape()) {
			panic(fmt.Errorf("gomlx: %d gradients, want one of the shape of each trainable variable, such as %s", len(grads), v.ScopeAndName()))
		}
		grad := ctx.InAbsPath(context.ScopeSeparator+Scope+v.Scope()).Checked(false).
			WithInitializer(initializers.Zero).VariableWithShape(v.Name(), v.Shape()).SetTrainable(false)
		grad.SetValueGraph(grads[k])
		list = append(list, variable{v, grad})
	}
	if len(list) != len(grads) {
		panic(fmt.Errorf("gomlx: %d gradients, want one for each of %d trainable variables", len(grads), len(list)))
	}
	if o.list != nil && !slices.Equal(o.list, list) {
		panic(fmt.Errorf("gomlx: the graph has other trainable variables than the first: %d, then %d", len(o.list), len(list)))
	}
	if o.list == nil {
		if err := o.begin(ctx, list, lossDType); err != nil {
			panic(err)
		}
	}
	optimizers.IncrementGlobalStepGraph(ctx, g, lossDType)
}

// Clear implements optimizers.Interface: the next graph begins with new state.
func (o *Optimizer) Clear(ctx *context.Context) error {
	*o = Optimizer{rules: o.rules, rule: o.rule, configure: o.configure}
	return ctx.InAbsPath(context.ScopeSeparator + Scope).DeleteVariablesInScope()
}

// Step takes the step of a graph that has run, and none where none has that leaves gradients,
// as while they are accumulated. After an error nothing has changed.
func (o *Optimizer) Step() error {
	if o.optimizer == nil {
		return nil
	}
	now := optimizers.GetGlobalStep(o.ctx)
	if now == o.taken {
		return nil
	}
	if err := o.follow(); err != nil {
		return err
	}
	defer func() { clear(o.params); clear(o.grads) }() // memory of the backend
	if err := o.step(0); err != nil {
		return err
	}
	o.taken = now
	return nil
}

// step has the memory of all variables from the k-th on before it takes the step: it is there
// as long as a function runs.
func (o *Optimizer) step(k int) error {
	if k == len(o.list) {
		return o.optimizer.StepSet(o.params, o.grads)
	}
	p, err := o.list[k].param.Value()
	if err != nil {
		return err
	}
	g, err := o.list[k].grad.Value()
	if err != nil {
		return err
	}
	var inner error
	err = tensors.MutableFlatData(p, func(param []float32) {
		err := tensors.ConstFlatData(g, func(grad []float32) {
			o.params[k], o.grads[k] = param, grad
			inner = o.step(k + 1)
		})
		if err != nil {
			inner = err
		}
	})
	if err != nil {
		return err
	}
	return inner
}

func (o *Optimizer) begin(ctx *context.Context, list []variable, lossDType dtypes.DType) error {
	set := make([]update.Tensor, len(list))
	for k, v := range list {
		shape := v.param.Shape()
		set[k] = update.Tensor{Name: v.param.ScopeAndName(), Size: shape.Size(), Rule: o.rule(v.param), Columns: columns(shape)}
	}
	optimizer, err := update.NewSet(set, o.rules...)
	if err != nil {
		return err
	}
	for _, configure := range o.configure {
		if err := configure(optimizer); err != nil {
			return err
		}
	}
	o.rates = o.rates[:0]
	for k := range o.rules {
		rate, err := optimizer.RuleLR(k)
		if err != nil {
			return err
		}
		o.rates = append(o.rates, rate)
	}
	o.rate = optimizers.LearningRateVarWithValue(ctx, lossDType, o.rates[0])
	o.rated = shapes.ConvertTo[float64](shapes.CastAsDType(o.rates[0], lossDType))
	o.params, o.grads = make([][]float32, len(list)), make([][]float32, len(list))
	o.ctx, o.list, o.optimizer, o.taken = ctx, list, optimizer, optimizers.GetGlobalStep(ctx)
	return nil
}

// follow has the rates change with GoMLX's.
func (o *Optimizer) follow() error {
	value, err := o.rate.Value()
	if err != nil {
		return err
	}
	rate := shapes.ConvertTo[float64](value.Value())
	if rate == o.rated {
		return nil
	}
	for k, first := range o.rates {
		lr := rate
		if k > 0 {
			lr = first * (rate / o.rates[0])
		}
		if err := o.optimizer.SetRuleLR(k, lr); err != nil {
			return fmt.Errorf("gomlx: the variable %s: %w", o.rate.ScopeAndName(), err)
		}
	}
	o.rated = rate
	return nil
}

// columns are those of a matrix, or 0 of what has one row or column, or of another rank.
func columns(shape shapes.Shape) int {
	if shape.Rank() != 2 || shape.Dimensions[0] == 1 || shape.Dimensions[1] == 1 {
		return 0
	}
	return shape.Dimensions[1]
}
