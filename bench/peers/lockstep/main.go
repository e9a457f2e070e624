// Command lockstep is the worker for Lockstep itself, for tuned Go loops and, if
// it is built with GOEXPERIMENT=simd, for the same loops in Go's experimental
// SIMD package.
package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// optimizers are the rules of all systems here, works what Lockstep's do beyond. Rules of a
// framework, by its name for them, are Lockstep's alone too: see presets.
var (
	optimizers = []string{"adamw", "adam", "momentum", "adagrad", "sgd"}
	works      = []string{"adam+l2", "momentum+l2", "adamw+clip", "sgd+clip", "adamw+new", "adamw+around", "sgd+around", "linear"}
)

func main() {
	system := func(name string, layout worker.Layout) worker.System {
		return worker.System{Name: name, Version: kernels.Active().ISA(), Rules: slices.Concat(optimizers, works, slices.Sorted(maps.Keys(presets))),
			Layout: layout, Many: true, New: func(t worker.Task) (*worker.Job, error) { return lockstep(t, layout) }}
	}
	systems := []worker.System{
		system("lockstep", worker.Staggered),
		system("lockstep-plain", worker.Plain),
		loopSystem("tuned-go", tuned, worker.Plain),
	}
	worker.Main(append(systems, experimental()...)...)
}

// lockstep takes steps on parameters and gradients of either layout. State is its
// own to lay out, or plain too.
func lockstep(t worker.Task, layout worker.Layout) (*worker.Job, error) {
	if t.Rule == "linear" {
		return linear(t, layout)
	}
	rule, err := ruleOf(t)
	if err != nil {
		return nil, err
	}
	b := newBuffers(t, layout, 0)
	o, err := optimizer(t, layout, rule)
	if err != nil {
		return nil, err
	}
	if t.Work == "around" {
		return around(b, o)
	}
	grads := newTurning(t, b.g)
	return &worker.Job{
		Step:   func() error { return o.StepSet(b.p, grads.now) },
		Result: func() []float32 { return worker.Joined(b.p) },
		Refill: grads.refill,
	}, nil
}

// around has the loss' scale, a policy, a norm, an average and zeros in the step.
func around(b buffers, o *update.Optimizer) (*worker.Job, error) {
	err := errors.Join(o.SetGradScale(1./worker.LossScale), o.SetPolicy(update.Skip), o.SetMaxNorm(worker.MaxNorm),
		o.SetAverage(update.TorchEMA(worker.AverageDecay)), o.SetZeroGrads(true))
	var scaled [][]float32
	for _, g := range b.g {
		scaled = append(scaled, slices.Clone(g))
		for i := range g {
			scaled[len(scaled)-1][i] *= worker.LossScale
		}
	}
	return &worker.Job{
		Step:   func() error { return o.StepSet(b.p, b.g) },
		Result: func() []float32 { return worker.Joined(b.p) },
		Refill: func() {
			for k := range b.g {
				copy(b.g[k], scaled[k])
			}
		},
	}, err
}

func optimizer(t worker.Task, layout worker.Layout, rule update.Rule) (*update.Optimizer, error) {
	tensors := make([]update.Tensor, t.Tensors)
	for k := range tensors {
		tensors[k] = update.Tensor{Size: t.Size, Columns: columns(t)}
		if layout == worker.Plain {
			state, err := plainState(tensors[k], rule)
			if err != nil {
				return nil, err
			}
			tensors[k].State = state
		}
	}
	o, err := update.NewSet(tensors, rule)
	if err != nil {
		return nil, err
	}
	if t.Work == "clip" {
		err = o.SetMaxNorm(worker.MaxNorm)
	}
	return o, errors.Join(err, o.SetWorkers(t.Threads))
}

// plainState are the state buffers of a tensor as make allocates them, with what they begin at.
func plainState(tensor update.Tensor, rule update.Rule) (map[string][]float32, error) {
	o, err := update.NewSet([]update.Tensor{tensor}, rule)
	if err != nil {
		return nil, err
	}
	names, err := o.Buffers(0)
	if err != nil {
		return nil, err
	}
	state := map[string][]float32{}
	for _, name := range names {
		size := tensor.Size
		switch name {
		case "row_var":
			size /= tensor.Columns
		case "col_var":
			size = tensor.Columns
		}
		state[name] = make([]float32, size)
		if yogi, ok := rule.(update.Yogi); ok { // the others' begin at 0
			for i := range state[name] {
				state[name][i] = float32(yogi.InitialAccumulator)
			}
		}
	}
	return state, nil
}

func ruleOf(t worker.Task) (update.Rule, error) {
	l2 := 0.
	if t.Work == "l2" {
		l2 = worker.WeightDecay
	}
	switch t.Rule {
	case "adamw":
		r := torch.AdamW()
		r.LR, r.Beta1, r.Beta2, r.Eps, r.WeightDecay = worker.AdamLR, worker.Beta1, worker.Beta2, worker.AdamEps, worker.WeightDecay
		return r, nil
	case "adam":
		r := torch.Adam()
		r.LR, r.Beta1, r.Beta2, r.Eps, r.L2 = worker.AdamLR, worker.Beta1, worker.Beta2, worker.AdamEps, l2
		return r, nil
	case "momentum":
		r := torch.Momentum(worker.Momentum)
		r.LR, r.L2 = worker.MomentumLR, l2
		return r, nil
	case "adagrad":
		r := torch.Adagrad()
		r.LR, r.Eps = worker.AdaGradLR, worker.AdaGradEps
		return r, nil
	case "sgd":
		r := torch.SGD()
		r.LR = worker.SGDLR
		return r, nil
	}
	if preset, ok := presets[t.Rule]; ok {
		return preset(), nil
	}
	return nil, fmt.Errorf("there is no rule %q", t.Rule)
}

func linear(t worker.Task, layout worker.Layout) (*worker.Job, error) {
	l, err := loss.NewLinear(loss.Squared, worker.Columns, false)
	if err != nil {
		return nil, err
	}
	if err := l.SetWorkers(t.Threads); err != nil {
		return nil, err
	}
	x, y, w := worker.Linear(t.Size)
	if layout == worker.Staggered {
		data := update.Alloc(t.Size, 1)[0]
		copy(data, x)
		x = data
	}
	grad := make([]float32, len(w))
	return &worker.Job{
		Step: func() error {
			_, err := l.Gradient(x, y, w, grad)
			return err
		},
		Result: func() []float32 { return grad },
	}, nil
}
