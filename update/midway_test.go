package update_test

import (
	"slices"
	"testing"
)

// TestSetRuleMidway changes decay and Beta1 between steps: what follows is what an
// optimizer does that had them from the start and is given the state.
func TestSetRuleMidway(t *testing.T) {
	o, p, g := newSet(t, []int{5, 7000}, plainAdam)
	must(t, o.StepSet(p, g))
	next := plainAdam
	next.WeightDecay, next.Beta1 = .1, .8
	must(t, o.SetRule(0, next))
	other, q, _ := newSet(t, []int{5, 7000}, next)
	copyAll(q, p)
	s, err := o.Export()
	must(t, err)
	must(t, other.Import(s))
	for range 20 {
		must(t, o.StepSet(p, g))
		must(t, other.StepSet(q, g))
	}
	for k := range p {
		if !sameBits(p[k], q[k]) {
			t.Errorf("tensor %s differs", name(k))
		}
	}
}

// TestSharedGradient gives two tensors one gradient, which is only read.
func TestSharedGradient(t *testing.T) {
	for _, n := range []int{9, 6000} {
		o, p, g := newSet(t, []int{n, n}, heavyBall)
		apart, q, _ := newSet(t, []int{n, n}, heavyBall)
		for range 3 {
			must(t, o.StepSet(p, [][]float32{g[0], g[0]}))
			must(t, apart.StepSet(q, [][]float32{g[0], slices.Clone(g[0])}))
		}
		if !sameBits(p[0], q[0]) || !sameBits(p[1], q[1]) {
			t.Errorf("of %d elements: a shared gradient is another step", n)
		}
	}
}
