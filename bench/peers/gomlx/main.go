// Command gomlx is the worker for GoMLX's optimizers on its backend in Go.
package main

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/train/optimizers"
	"github.com/lockstep-go/lockstep/bench/peers/worker"
)

func main() {
	worker.Main(worker.System{
		Name:    "gomlx",
		Version: worker.ModuleVersion("github.com/gomlx/gomlx") + " simplego",
		Rules:   []string{"adamw", "adam", "sgd"},
		New:     job,
	})
}

// updater is what every optimizer of GoMLX has: the update as a part of a graph,
// given the gradients.
type updater interface {
	UpdateGraphWithGradients(ctx *context.Context, grads []*graph.Node, lossDType dtypes.DType)
}

func job(t worker.Task) (*worker.Job, error) {
	o, err := optimizer(t.Rule)
	if err != nil {
		return nil, err
	}
	backend, err := backendOf(t.Threads)
	if err != nil {
		return nil, err
	}
	ctx := context.New()
	param := ctx.VariableWithValue("w", worker.Params(t.Size))
	grad := tensors.FromFlatDataAndDimensions(worker.Grads(t.Size), t.Size)
	exec, err := context.NewExec(backend, ctx, func(ctx *context.Context, grad *graph.Node) {
		param.ValueGraph(grad.Graph())
		o.UpdateGraphWithGradients(ctx, []*graph.Node{grad}, dtypes.Float32)
	})
	if err != nil {
		return nil, err
	}
	return &worker.Job{
		Step: func() error {
			_, err := exec.Exec(grad)
			return err
		},
		Result: func() []float32 { return tensors.MustCopyFlatData[float32](param.MustValue()) },
	}, nil
}

func optimizer(rule string) (updater, error) {
	adam := func(decay float64) updater {
		return optimizers.Adam().LearningRate(worker.AdamLR).Betas(worker.Beta1, worker.Beta2).
			Epsilon(worker.AdamEps).WeightDecay(decay).Done().(updater)
	}
	switch rule {
	case "adamw":
		return adam(worker.WeightDecay), nil
	case "adam":
		return adam(0), nil
	case "sgd":
		return optimizers.StochasticGradientDescent().WithLearningRate(worker.SGDLR).WithDecay(false), nil
	}
	return nil, fmt.Errorf("there is no rule %q", rule)
}

// one is the backend for each number of threads.
var one = map[int]backends.Backend{}

func backendOf(threads int) (backends.Backend, error) {
	if b := one[threads]; b != nil {
		return b, nil
	}
	parallelism := threads
	if threads == 1 {
		parallelism = 0 // runs everything on the caller's goroutine
	}
	b, err := simplego.New(fmt.Sprintf("parallelism=%d", parallelism))
	if err == nil {
		one[threads] = b
	}
	return b, err
}
