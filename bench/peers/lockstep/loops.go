package main

import (
	"fmt"
	"math"
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

// newLoops returns a job that gives each goroutine the same share.
func newLoops(t worker.Task, l loops) (*worker.Job, error) {
	p, g := worker.Params(t.N), worker.Grads(t.N)
	var part func(lo, hi int)
	prepare := func() {}
	switch t.Rule {
	case "adamw", "adam":
		m, v := make([]float32, t.N), make([]float32, t.N)
		var c adamScalars
		decay := float32(1)
		if t.Rule == "adamw" {
			decay = 1 - worker.AdamLR*worker.WeightDecay
		}
		power1, power2 := 1., 1.
		prepare = func() {
			power1 *= worker.Beta1
			power2 *= worker.Beta2
			root := math.Sqrt(1 - power2)
			c = adamScalars{decay, float32(worker.AdamLR * root / (1 - power1)), float32(worker.AdamEps * root)}
		}
		part = func(lo, hi int) { l.adam(p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], c) }
	case "momentum":
		m := make([]float32, t.N)
		part = func(lo, hi int) { l.momentum(p[lo:hi], g[lo:hi], m[lo:hi]) }
	case "adagrad":
		a := make([]float32, t.N)
		part = func(lo, hi int) { l.adaGrad(p[lo:hi], g[lo:hi], a[lo:hi]) }
	case "sgd":
		part = func(lo, hi int) { l.sgd(p[lo:hi], g[lo:hi]) }
	default:
		return nil, fmt.Errorf("there is no rule %q", t.Rule)
	}
	share := t.N
	if t.N >= parallelLen {
		share = (t.N + t.Threads - 1) / t.Threads
	}
	var running sync.WaitGroup
	return &worker.Job{
		Step: func() error {
			prepare()
			for lo := share; lo < t.N; lo += share {
				running.Go(func() { part(lo, min(lo+share, t.N)) })
			}
			part(0, share)
			running.Wait()
			return nil
		},
		Result: func() []float32 { return p },
	}, nil
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
