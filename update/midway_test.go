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

// TestTinyRate sets what a long schedule comes to.
func TestTinyRate(t *testing.T) {
	o := newOne(t, 3, plainAdam)
	p, g := uniform(3, 1), uniform(3, 2)
	want := slices.Clone(p)
	must(t, o.SetLR(1e-60))
	must(t, o.Step(p, g))
	if !sameBits(p, want) || o.Steps() != 1 {
		t.Errorf("a rate of 1e-60 takes %v to %v in %d steps", want, p, o.Steps())
	}
}
