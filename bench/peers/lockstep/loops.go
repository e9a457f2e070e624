package main

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
)

// loops are the rules over a range of the buffers.
type loops struct {
	adam     func(p, g, m, v []float32, c adamScalars)
	momentum func(p, g, m []float32)
	adaGrad  func(p, g, a []float32)
	sgd      func(p, g []float32)
}

// adamScalars are the numbers of a step whose bias is corrected in eps and in
// the step size, which leaves one division for each element.
type adamScalars struct{ decay, step, eps float32 }

const (
	alpha1 = 1 - worker.Beta1
	alpha2 = 1 - worker.Beta2
)

// parallelLen is the size from which on a second goroutine pays: waking a
// processor takes as long as 256 Ki parameters.
const parallelLen = 256 << 10

// A pass is a rule over the elements from lo to hi of a tensor, at the step that
// next began.
type pass struct {
	next func()
	over func(tensor, lo, hi int)
}

// loopSystem are loops on buffers of a layout.
func loopSystem(name string, l loops, layout worker.Layout) worker.System {
	return worker.System{Name: name, Version: runtime.Version(), Rules: append(optimizers, "adamw+new"),
		Layout: layout, Many: layout == worker.Plain, New: func(t worker.Task) (*worker.Job, error) { return newLoops(t, l, layout) }}
}

// newLoops returns a job that gives each goroutine the same share.
func newLoops(t worker.Task, l loops, layout worker.Layout) (*worker.Job, error) {
	slots, ok := map[string]int{"adamw": 2, "adam": 2, "momentum": 1, "adagrad": 1, "sgd": 0}[t.Rule]
	if !ok {
		return nil, fmt.Errorf("there is no rule %q", t.Rule)
	}
	b := newBuffers(t, layout, slots)
	grads := newTurning(t, b.g)
	rule := l.pass(t, b.p, grads.now, b.state)
	return &worker.Job{
		Step: func() error {
			rule.next()
			share(t, rule.over)
			return nil
		},
		Result: func() []float32 { return worker.Joined(b.p) },
		Refill: grads.refill,
	}, nil
}

// share runs a pass over all tensors: each goroutine takes a range of the only one,
// or as many of the tensors.
func share(t worker.Task, over func(tensor, lo, hi int)) {
	goroutines := t.Threads
	if t.Tensors*t.Size < parallelLen {
		goroutines = 1
	}
	part := func(i int) {
		if t.Tensors == 1 {
			over(0, i*t.Size/goroutines, (i+1)*t.Size/goroutines)
			return
		}
		for k := i * t.Tensors / goroutines; k < (i+1)*t.Tensors/goroutines; k++ {
			over(k, 0, t.Size)
		}
	}
	var running sync.WaitGroup
	for i := 1; i < goroutines; i++ {
		running.Go(func() { part(i) })
	}
	part(0)
	running.Wait()
}

func (l loops) pass(t worker.Task, p, g [][]float32, state [][][]float32) pass {
	still := func() {}
	switch t.Rule {
	case "momentum":
		m := state[0]
		return pass{still, func(k, lo, hi int) { l.momentum(p[k][lo:hi], g[k][lo:hi], m[k][lo:hi]) }}
	case "adagrad":
		a := state[0]
		return pass{still, func(k, lo, hi int) { l.adaGrad(p[k][lo:hi], g[k][lo:hi], a[k][lo:hi]) }}
	case "sgd":
		return pass{still, func(k, lo, hi int) { l.sgd(p[k][lo:hi], g[k][lo:hi]) }}
	}
	m, v, c := state[0], state[1], &adamScalars{decay: 1}
	if t.Rule == "adamw" {
		c.decay = 1 - worker.AdamLR*worker.WeightDecay
	}
	return pass{c.steps(), func(k, lo, hi int) { l.adam(p[k][lo:hi], g[k][lo:hi], m[k][lo:hi], v[k][lo:hi], *c) }}
}

// steps returns what sets the scalars of the next step.
func (c *adamScalars) steps() func() {
	power1, power2 := 1., 1.
	return func() {
		power1 *= worker.Beta1
		power2 *= worker.Beta2
		root := math.Sqrt(1 - power2)
		c.step, c.eps = float32(worker.AdamLR*root/(1-power1)), float32(worker.AdamEps*root)
	}
}

// tuned is what a careful Go programmer writes without assembly: no bounds
// checks in the loop, scalars in registers, one division.
var tuned = loops{
	adam: func(p, g, m, v []float32, c adamScalars) {
		g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
		decay, step, eps := c.decay, c.step, c.eps
		for i, x := range p {
			d := g[i]
			m1 := m[i] + (d-m[i])*alpha1
			v1 := v[i]*worker.Beta2 + d*d*alpha2
			m[i], v[i] = m1, v1
			p[i] = x*decay - m1*step/(sqrt(v1)+eps)
		}
	},
	momentum: func(p, g, m []float32) {
		g, m = g[:len(p)], m[:len(p)]
		for i, x := range p {
			b := m[i]*worker.Momentum + g[i]
			m[i] = b
			p[i] = x - b*worker.MomentumLR
		}
	},
	adaGrad: func(p, g, a []float32) {
		g, a = g[:len(p)], a[:len(p)]
		for i, x := range p {
			d := g[i]
			s := a[i] + d*d
			a[i] = s
			p[i] = x - d*worker.AdaGradLR/(sqrt(s)+worker.AdaGradEps)
		}
	},
	sgd: func(p, g []float32) {
		g = g[:len(p)]
		for i, x := range p {
			p[i] = x - g[i]*worker.SGDLR
		}
	},
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
