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
		New:     job,
	})
}

func job(t worker.Task) (*worker.Job, error) {
	strategy, advance, err := strategyOf(t.Rule)
	if err != nil {
		return nil, err
	}
	param := nn.NewParam(mat.NewDense[float32](mat.WithShape(t.N, 1), mat.WithBacking(worker.Params(t.N))))
	grad := mat.NewDense[float32](mat.WithShape(t.N, 1), mat.WithBacking(worker.Grads(t.N)))
	return &worker.Job{
		Step: func() error {
			err := strategy.OptimizeParams(param)
			advance()
			return err
		},
		Result: func() []float32 { return mat.Data[float32](param) },
		// A step drops the gradient.
		Refill: func() { param.AccGrad(grad) },
	}, nil
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
