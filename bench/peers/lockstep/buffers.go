package main

import (
	"github.com/lockstep-go/lockstep/bench/peers/worker"
	"github.com/lockstep-go/lockstep/update"
)

// buffers are those of a task, each by tensor: parameters, gradients and state.
type buffers struct {
	p, g  [][]float32
	state [][][]float32
}

// newBuffers has so many state buffers of zeros.
func newBuffers(t worker.Task, layout worker.Layout, slots int) buffers {
	if layout == worker.Staggered {
		return staggered(t, slots)
	}
	b := buffers{p: t.Params(), g: t.Grads(), state: make([][][]float32, slots)}
	for s := range b.state {
		for range t.Tensors {
			b.state[s] = append(b.state[s], make([]float32, t.Size))
		}
	}
	return b
}

func staggered(t worker.Task, slots int) buffers {
	n := t.Tensors * t.Size
	flat := update.Alloc(n, 2+slots)
	copy(flat[0], worker.Params(n))
	copy(flat[1], worker.Grads(n))
	b := buffers{p: cut(flat[0], t), g: cut(flat[1], t)}
	for _, x := range flat[2:] {
		b.state = append(b.state, cut(x, t))
	}
	return b
}

// cut makes each tensor's buffer of one that has all of them.
func cut(x []float32, t worker.Task) [][]float32 {
	list := make([][]float32, t.Tensors)
	for k := range list {
		list[k] = x[k*t.Size:][:t.Size:t.Size]
	}
	return list
}

// turning are gradients that with the work new are other buffers in every step.
type turning struct {
	now    [][]float32
	refill func() // nil where they stay
}

func newTurning(t worker.Task, g [][]float32) turning {
	if t.Work != "new" {
		return turning{now: g}
	}
	now, step := make([][]float32, len(g)), -1
	return turning{now, func() {
		step++
		worker.Turn(now, g, step)
	}}
}
