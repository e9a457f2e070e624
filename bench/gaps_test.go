package main

import (
	"testing"
	"time"
)

// TestCosts compares processor time with what it gains. Others that have the processor make
// one slower than the other in some tries, and not in all.
func TestCosts(t *testing.T) {
	if processorTime() == 0 {
		t.Skip("the system does not tell how long a program has been at work")
	}
	spin := func(times int) { work(int(float64(times) * float64(time.Millisecond) / turn())) }
	for name, c := range map[string]struct {
		it, other func()
		ok        bool
	}{
		"twice the time for nothing": {func() { spin(4) }, func() { spin(2) }, false},
		"half the time":              {func() { spin(2) }, func() { spin(4) }, true},
		"twice the time, and faster": {func() { spin(4) }, func() { spin(2); time.Sleep(50 * time.Millisecond) }, true},
	} {
		p := pending{Claim: Claim{Goal: mostCost}, costs: true, pair: func() (it, other *candidate) {
			return &candidate{call: c.it}, &candidate{call: c.other}
		}}
		got := p.measure(3, nil)
		for try := 1; try < 10 && got.OK() != c.ok; try++ {
			got = p.measure(3, nil)
		}
		if got.OK() != c.ok || got.Ratio <= 0 {
			t.Errorf("%s: %.2f times, at most %.2f", name, got.Ratio, got.Goal)
		}
	}
}

// TestWork takes about as long as is asked for, or longer where others are at work.
func TestWork(t *testing.T) {
	start := time.Now()
	work(int(float64(10*time.Millisecond) / turn()))
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("10 ms of work take %v", took)
	}
}
