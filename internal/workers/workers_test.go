package workers

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// each is a task.
type each func(unit, worker int)

func (f each) Do(unit, worker int) { f(unit, worker) }

// newPool shares calls of any size.
func newPool(limit int) *Pool {
	p := New(1, 1)
	p.SetLimit(limit)
	return p
}

// TestUnits has every unit done once, by workers below the limit.
func TestUnits(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 9} {
		p := newPool(limit)
		for _, units := range []int{0, 1, 2, 3, 100, 5} {
			done := make([]int32, units)
			p.Run(each(func(unit, worker int) {
				if worker < 0 || worker >= limit {
					t.Errorf("worker %d of %d", worker, limit)
				}
				atomic.AddInt32(&done[unit], 1)
			}), units, 1, false)
			if slices.ContainsFunc(done, func(n int32) bool { return n != 1 }) {
				t.Errorf("%d workers have done units %v times", limit, done)
			}
		}
	}
}

// meet has so many workers at work at the same time, and the caller wait for the last of
// the others so long that it gives up its processor.
func meet(p *Pool, workers int) {
	var inside atomic.Int64
	p.Run(each(func(_, worker int) {
		for inside.Add(1); inside.Load() < int64(workers); {
			runtime.Gosched()
		}
		for worker == 1 && !p.waiting.Load() {
			runtime.Gosched()
		}
	}), workers, 1, false)
}

// TestBubbles has workers meet in a testing/synctest bubble and outside, in turn, so that
// callers meet helpers who were started on the other side.
func TestBubbles(t *testing.T) {
	for _, first := range []bool{false, true} {
		p := newPool(2)
		for turn := range 20 {
			within := (turn%2 == 0) == first
			calls := func() {
				for range 3 {
					meet(p, 2)
				}
			}
			if within {
				synctest.Test(t, func(*testing.T) { calls() })
			} else {
				calls()
			}
		}
	}
}

// TestLast has a call begin while a helper is done with the last one, and has not said so.
func TestLast(t *testing.T) {
	p := newPool(2)
	h := p.helpers[0]
	h.state.Store(busy)
	var inside atomic.Int64
	p.Run(each(func(_, worker int) {
		if inside.Add(1); worker == 0 {
			go func() {
				if h.rest() {
					h.live()
				}
			}()
		}
		soon(t, "the helper comes", func() bool { return inside.Load() == 2 })
	}), 2, 1, false)
}

// TestPanics has a worker panic among others, who are in a unit each until the panic has
// taken the rest: they do no other, and the caller gets the value once none is at work.
func TestPanics(t *testing.T) {
	const units, workers = 1000, 3
	fault := errors.New("a fault")
	for who := range workers {
		p := newPool(workers)
		for range 3 {
			var here, inside, done atomic.Int64
			got := caught(func() {
				p.Run(each(func(_, worker int) {
					inside.Add(1)
					defer inside.Add(-1)
					for here.Add(1); here.Load() < workers; {
						runtime.Gosched()
					}
					if worker == who {
						panic(fault)
					}
					soon(t, "the panic takes what is left", func() bool { return p.left.Load() <= 0 })
					done.Add(1)
				}), units, 1, true)
			})
			switch {
			case got != fault:
				t.Errorf("worker %d panics with %v, want %v", who, got, fault)
			case inside.Load() != 0:
				t.Errorf("worker %d: %d are at work after the panic", who, inside.Load())
			case done.Load() != workers-1:
				t.Errorf("worker %d: %d units were done after the panic", who, done.Load())
			}
		}
		meet(p, workers)
	}
}

// soon waits for what others do, for longer than they are kept from it anywhere.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for since := time.Now(); !ok() && !t.Failed(); runtime.Gosched() {
		if time.Since(since) > time.Minute {
			t.Errorf("in vain until %s", what)
			return
		}
	}
}

func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// together is the most goroutines that are at work at the same time in a call. They wait
// for as many as are wanted, and a while for more.
func together(p *Pool, size int, want int64) (most int64) {
	var mu sync.Mutex
	inside := int64(0)
	count := func(n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		inside += n
		most = max(most, inside)
		return most
	}
	p.Run(each(func(int, int) {
		count(1)
		defer count(-1)
		for since := time.Now(); count(0) < want && time.Since(since) < time.Minute; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
	}), 8, size, false)
	return most
}

// TestTogether shares large calls, and processors with other pools.
func TestTogether(t *testing.T) {
	const least = 10
	for _, c := range []struct {
		size, others int
		want         int64
	}{{least - 1, 0, 1}, {least, 0, 4}, {least, 1, 2}, {least, 3, 1}, {least, 9, 1}, {least - 1, 3, 1}} {
		p := New(least, least)
		p.SetLimit(4)
		atWork.Add(int64(c.others))
		if got := together(p, c.size, c.want); got != c.want {
			t.Errorf("%+v: %d at the same time", c, got)
		}
		atWork.Add(-int64(c.others))
	}
	if n := atWork.Load(); n != 0 {
		t.Errorf("%d calls are at work", n)
	}
}

// TestApart shares calls that come soon after another, and goes on with what it shares, but
// wakes nobody for one that comes late and is small.
func TestApart(t *testing.T) {
	const least, apart = 10, 30
	for _, c := range []struct {
		size          int
		soon, follows bool
		want          int64
	}{
		{least, false, false, 1}, {apart - 1, false, false, 1}, {apart, false, false, 4},
		{least, true, false, 4}, {least, false, true, 4}, {least - 1, true, false, 1},
	} {
		p := New(least, apart)
		p.SetLimit(4)
		p.follows = c.follows
		if c.soon {
			p.ended = time.Now().Add(time.Minute)
		}
		if got := together(p, c.size, c.want); got != c.want {
			t.Errorf("%+v: %d at the same time", c, got)
		}
	}
}

// TestStay has helpers stay awake after calls that follow each other closely, and leave
// after others at once.
func TestStay(t *testing.T) {
	for _, closely := range []bool{false, true} {
		p := newPool(2)
		if closely {
			p.ended = time.Now().Add(time.Minute)
		}
		meet(p, 2)
		if p.stay.Load() != closely {
			t.Errorf("helpers stay: %v, and calls follow closely: %v", !closely, closely)
		}
		soon(t, "the helper leaves", func() bool { return p.helpers[0].state.Load() == gone })
	}
}
