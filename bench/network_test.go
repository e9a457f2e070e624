package main

import (
	"math"
	"slices"
	"testing"
)

// TestBackward compares gradients of a network with differences of its loss, which float32 has
// to some digits.
func TestBackward(t *testing.T) {
	trained, _ := loadDigits()
	n := newNetwork(32, []int{64, 16, 10})
	x, labels := trained.x[:32*64], trained.labels[:32]
	n.backward(x, labels)
	for k := range n.layers {
		l := &n.layers[k]
		for name, p := range map[string][2][]float32{"w": {l.w, l.gw}, "b": {l.b, l.gb}} {
			grads, worst := slices.Clone(p[1]), 0.
			for i := 0; i < len(grads); i += 1 + len(grads)/20 {
				const step = 1.0 / 256
				at := p[0][i]
				p[0][i] = at + step
				up := n.backward(x, labels)
				p[0][i] = at - step
				down := n.backward(x, labels)
				p[0][i] = at
				worst = max(worst, math.Abs((up-down)/(2*step)-float64(grads[i])))
			}
			if worst > 2e-3 {
				t.Errorf("layer %d, %s: gradients are up to %g from differences", k, name, worst)
			}
		}
	}
}

// TestNetworks wants runs that end where they should, and ones of other types that are others.
func TestNetworks(t *testing.T) {
	runs := networks(testing.Short())
	for _, r := range runs {
		t.Logf("%s, %s: loss %.4f, accuracy %.3f", r.Model, r.Types, r.last().Loss, r.last().Accuracy)
		if !r.OK {
			t.Errorf("%s, %s: loss %g, %g of float32's, accuracy %g", r.Model, r.Types, r.last().Loss, r.Beside, r.last().Accuracy)
		}
	}
	for k, r := range runs {
		for _, before := range runs[:k] {
			if slices.Equal(r.Curve, before.Curve) {
				t.Errorf("%s goes the way of %s", r.Types, before.Types)
			}
		}
	}
}
