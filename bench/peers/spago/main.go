// Command spago is the worker for spaGO's optimizers.
package main

import (
	"fmt"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/optimizers"
	"github.com/nlpodyssey/spago/optimizers/adagrad"
	"github.com/nlpodyssey/spago/optimizers/adam"
	"github.com/nlpodyssey/spago/optimizers/sgd"
)

func main() {
	worker.Main(worker.System{
		Name:    "spago",
		Version: worker.ModuleVersion("github.com/nlpodyssey/spago"),
		Rules:   []string{"adamw", "adam", "momentum", "adagrad", "sgd"},
		Many:    true,
		New:     job,
	})
}

func job(t worker.Task) (*worker.Job, error) {
	strategy, advance, err := strategyOf(t.Rule)
	if err != nil {
		return nil, err
	}
	params, grads := make([]*nn.Param, t.Tensors), make([]mat.Tensor, t.Tensors)
	for k, g := range t.Grads() {
		grads[k] = mat.NewDense[float32](mat.WithShape(t.Size, 1), mat.WithBacking(g))
	}
	for k, p := range t.Params() {
		params[k] = nn.NewParam(mat.NewDense[float32](mat.WithShape(t.Size, 1), mat.WithBacking(p)))
	}
	return &worker.Job{
		Step: func() error {
			err := optimize(strategy, params)
			advance()
			return err
		},
		Result: func() []float32 { return worker.Joined(valuesOf(params)) },
		// A step drops the gradients.
		Refill: func() {
			for k, p := range params {
				p.AccGrad(grads[k])
			}
		},
	}, nil
}

func optimize(strategy optimizers.OptimizationStrategy, params []*nn.Param) error {
	for _, p := range params {
		if err := strategy.OptimizeParams(p); err != nil {
			return err
		}
	}
	return nil
}

func valuesOf(params []*nn.Param) [][]float32 {
	list := make([][]float32, len(params))
	for k, p := range params {
		list[k] = mat.Data[float32](p)
	}
	return list
}

// strategyOf returns the optimizer and what goes on to the next step.
func strategyOf(rule string) (strategy optimizers.OptimizationStrategy, advance func(), err error) {
	advance = func() {}
	switch rule {
	case "adamw":
		a := adam.New(adam.NewAdamWConfig(worker.AdamLR, worker.Beta1, worker.Beta2, worker.AdamEps, worker.WeightDecay))
		return a, a.IncExample, nil
	case "adam":
		a := adam.New(adam.NewConfig(worker.AdamLR, worker.Beta1, worker.Beta2, worker.AdamEps))
		return a, a.IncExample, nil
	case "momentum":
		return sgd.New[float32](sgd.NewConfig(worker.MomentumLR, worker.Momentum, false)), advance, nil
	case "adagrad":
		return adagrad.New[float32](adagrad.NewConfig(worker.AdaGradLR, worker.AdaGradEps)), advance, nil
	case "sgd":
		return sgd.New[float32](sgd.NewConfig(worker.SGDLR, 0, false)), advance, nil
	}
	return nil, nil, fmt.Errorf("there is no rule %q", rule)
}
