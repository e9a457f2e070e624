package main

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
)

// The loops of this file are what a careful Go programmer writes without
// assembly: no bounds checks in the loop, scalars in registers, one division,
// no flushing. They need not give the same bits.

func tunedSGD(p, g []float32, c *fallback.SGDScalars) {
	g = g[:len(p)]
	decay, step := c.Decay, c.Step
	for i, x := range p {
		p[i] = x - (g[i]*step + x*decay)
	}
}

func tunedMomentum(p, g, m []float32, c *fallback.MomentumScalars) {
	g, m = g[:len(p)], m[:len(p)]
	beta, input, decay, step := c.Beta, c.Input, c.Decay, c.Step
	for i, x := range p {
		b := m[i]*beta + g[i]*input
		m[i] = b
		p[i] = x - (b*step + x*decay)
	}
}

func tunedAdaGrad(p, g, a []float32, c *fallback.AdaGradScalars) {
	g, a = g[:len(p)], a[:len(p)]
	scale, inside, eps, decay, step := c.Scale, c.EpsIn, c.Eps, c.Decay, c.Step
	for i, x := range p {
		d := g[i] * scale
		s := a[i] + d*d
		a[i] = s
		p[i] = x - (d*step/(float32(math.Sqrt(float64(s+inside)))+eps) + x*decay)
	}
}

func tunedAdam(p, g, m, v []float32, c *fallback.AdamScalars) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	scale, alpha1, beta2, root2 := c.Scale, c.Weight1, c.Beta2, c.Root2
	alpha2 := root2 * root2
	decay, step, eps := c.Decay, c.Step, c.Eps
	for i, x := range p {
		d := g[i] * scale
		m1 := m[i] + (d-m[i])*alpha1
		v1 := v[i]*beta2 + d*d*alpha2
		m[i], v[i] = m1, v1
		p[i] = x - (m1*step/(float32(math.Sqrt(float64(v1)))+eps) + x*decay)
	}
}

// inFloat64 is the loop over a function of package math, which has no other numbers.
func inFloat64(f func(float64) float64) func(b streams) {
	return func(b streams) {
		y, x := b[0], b[1][:len(b[0])]
		for i := range y {
			y[i] = float32(f(float64(x[i])))
		}
	}
}
