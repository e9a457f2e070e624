// Command gorgonia is the worker for Gorgonia's solvers. It needs the variable
// ASSUME_NO_MOVING_GC_UNSAFE_RISK_IT_WITH, which bench/peers/run sets: one of
// Gorgonia's dependencies panics on every Go that it does not know.
package main

import (
	"fmt"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func main() {
	worker.Main(worker.System{
		Name:    "gorgonia",
		Version: worker.ModuleVersion("gorgonia.org/gorgonia"),
		Rules:   []string{"adamw", "adam", "momentum", "adagrad", "sgd"},
		Many:    true,
		New:     job,
	})
}

func job(t worker.Task) (*worker.Job, error) {
	s, err := solver(t.Rule)
	if err != nil {
		return nil, err
	}
	g, source := t.Grads(), t.Grads()
	graph, shape := gorgonia.NewGraph(), gorgonia.WithShape(t.Size)
	var params gorgonia.Nodes
	for k, p := range t.Params() {
		params = append(params, gorgonia.NewVector(graph, tensor.Float32, shape, gorgonia.WithName(fmt.Sprint("w", k)),
			gorgonia.WithValue(tensor.New(tensor.WithShape(t.Size), tensor.WithBacking(p))),
			gorgonia.WithGrad(tensor.New(tensor.WithShape(t.Size), tensor.WithBacking(g[k])))))
	}
	model := gorgonia.NodesToValueGrads(params)
	return &worker.Job{
		Step:   func() error { return s.Step(model) },
		Result: func() []float32 { return worker.Joined(valuesOf(params)) },
		// A solver sets the gradients to 0.
		Refill: func() {
			for k := range g {
				copy(g[k], source[k])
			}
		},
	}, nil
}

func valuesOf(params gorgonia.Nodes) [][]float32 {
	list := make([][]float32, len(params))
	for k, p := range params {
		list[k] = p.Value().Data().([]float32)
	}
	return list
}

func solver(rule string) (gorgonia.Solver, error) {
	rate := gorgonia.WithLearnRate
	betas := []gorgonia.SolverOpt{rate(worker.AdamLR), gorgonia.WithBeta1(worker.Beta1), gorgonia.WithBeta2(worker.Beta2), gorgonia.WithEps(worker.AdamEps)}
	switch rule {
	case "adamw":
		// Of AdamW no option reaches the solver but eps: these are its
		// defaults, the ones that all systems use.
		return gorgonia.NewAdamW(gorgonia.WithEps(worker.AdamEps)), nil
	case "adam":
		return gorgonia.NewAdamSolver(betas...), nil
	case "momentum":
		return gorgonia.NewMomentum(rate(worker.MomentumLR), gorgonia.WithMomentum(worker.Momentum)), nil
	case "adagrad":
		return gorgonia.NewAdaGradSolver(rate(worker.AdaGradLR), gorgonia.WithEps(worker.AdaGradEps)), nil
	case "sgd":
		return gorgonia.NewVanillaSolver(rate(worker.SGDLR)), nil
	}
	return nil, fmt.Errorf("there is no rule %q", rule)
}
