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

// TestSetRuleFlushes changes Eps to one that hides small means of squares: from the next
// 16th step on they go, of small tensors that share calls too.
func TestSetRuleFlushes(t *testing.T) {
	rule := plainAdam
	rule.Eps = 1e-30
	o, p, g := newSet(t, []int{5, 9, 7000}, rule)
	for k := range g {
		clear(g[k])
		for i := range g[k] {
			buffer(o, k, "v")[i] = 1e-32
		}
	}
	for range 16 {
		must(t, o.StepSet(p, g))
	}
	for k := range g {
		if buffer(o, k, "v")[0] == 0 {
			t.Fatalf("tensor %s is flushed beside an eps of 1e-30", name(k))
		}
	}
	must(t, o.SetRule(0, plainAdam))
	for range 16 {
		must(t, o.StepSet(p, g))
	}
	for k := range g {
		if v := buffer(o, k, "v")[0]; v != 0 {
			t.Errorf("v of tensor %s is %g, want 0", name(k), v)
		}
	}
}
