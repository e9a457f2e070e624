package main

import (
	"testing"

	"github.com/lockstep-go/lockstep/bench/data"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFlat trains with the loop and with the line, to the same parameters but for roundings.
func TestFlat(t *testing.T) {
	d := data.Load("digits")
	n := (d.Columns + 1) * classes
	hand := &byHand{m: make([]float32, n), v: make([]float32, n)}
	looped, err := train(d, hand.step)
	must(t, err)
	optimizer, err := newOptimizer(n)
	must(t, err)
	fused, err := train(d, optimizer.Step)
	must(t, err)
	if got := distance(looped.params, fused.params); got > 1e-4 {
		t.Errorf("parameters are up to %g apart", got)
	}
	for _, m := range []*model{looped, fused} {
		if a := m.accuracy(d); a < .88 {
			t.Errorf("accuracy %.3f", a)
		}
	}
	if hand.t != int(optimizer.Steps()) || hand.t != epochs*held/batch {
		t.Errorf("%d steps by hand, %d in a line", hand.t, optimizer.Steps())
	}
}

// TestRun measures a small model, and refuses none.
func TestRun(t *testing.T) {
	must(t, run(1000))
	if err := run(0); err == nil {
		t.Error("no parameters")
	}
}
