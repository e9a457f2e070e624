// Command lockstep is the worker for Lockstep itself, for tuned Go loops and, if
// it is built with GOEXPERIMENT=simd, for the same loops in Go's experimental
// SIMD package.
package main

import (
	"fmt"
	"runtime"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

var optimizers = []string{"adamw", "adam", "momentum", "adagrad", "sgd"}

func main() {
	systems := []worker.System{
		{Name: "lockstep", Version: kernels.Active().ISA(), Rules: append(optimizers, "linear"), New: lockstep},
		{Name: "tuned-go", Version: runtime.Version(), Rules: optimizers, New: func(t worker.Task) (*worker.Job, error) {
			return newLoops(t, tuned)
		}},
	}
	worker.Main(append(systems, experimental()...)...)
}

func lockstep(t worker.Task) (*worker.Job, error) {
	if t.Rule == "linear" {
		return linear(t)
	}
	rule, err := ruleOf(t.Rule)
	if err != nil {
		return nil, err
	}
	o, err := update.New(t.N, rule)
	if err != nil {
		return nil, err
	}
	if err := o.SetWorkers(t.Threads); err != nil {
		return nil, err
	}
	buffers := update.Alloc(t.N, 2)
	p, g := buffers[0], buffers[1]
	copy(p, worker.Params(t.N))
	copy(g, worker.Grads(t.N))
	return &worker.Job{
		Step:   func() error { return o.Step(p, g) },
		Result: func() []float32 { return p },
	}, nil
}

func ruleOf(name string) (update.Rule, error) {
	switch name {
	case "adamw", "adam":
		r := update.Adam{Options: update.Options{LR: worker.AdamLR}, Beta1: worker.Beta1, Beta2: worker.Beta2, Eps: worker.AdamEps}
		if name == "adamw" {
			r.WeightDecay = worker.WeightDecay
		}
		return r, nil
	case "momentum":
		return update.Momentum{Options: update.Options{LR: worker.MomentumLR}, Momentum: worker.Momentum}, nil
	case "adagrad":
		return update.AdaGrad{Options: update.Options{LR: worker.AdaGradLR}, Eps: worker.AdaGradEps}, nil
	case "sgd":
		return update.SGD{Options: update.Options{LR: worker.SGDLR}}, nil
	}
	return nil, fmt.Errorf("there is no rule %q", name)
}

func linear(t worker.Task) (*worker.Job, error) {
	l, err := loss.NewLinear(loss.Squared, worker.Columns, false)
	if err != nil {
		return nil, err
	}
	if err := l.SetWorkers(t.Threads); err != nil {
		return nil, err
	}
	data, y, w := worker.Linear(t.N)
	x := update.Alloc(t.N, 1)[0]
	copy(x, data)
	grad := make([]float32, len(w))
	return &worker.Job{
		Step: func() error {
			_, err := l.Gradient(x, y, w, grad)
			return err
		},
		Result: func() []float32 { return grad },
	}, nil
}
