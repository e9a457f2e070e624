package main

import (
	"testing"
	"testing/synctest"
)

// A call is one of a rank, which waits for the others.
type call struct {
	sum []float32
	err error
	end bool
}

func (h *Hub) start(p Part, method func(*Hub, Part, *[]float32) error) *call {
	c := &call{}
	go func() {
		c.err = method(h, p, &c.sum)
		c.end = true
	}()
	synctest.Wait()
	return c
}

func (c *call) want(t *testing.T, what string, end, lost bool) {
	t.Helper()
	if isLost := c.err != nil && c.err.Error() == errLost; c.end != end || isLost != lost {
		t.Errorf("%s: it has ended: %v, with %v", what, c.end, c.err)
	}
}

// TestDone has a rank lost before all are done, and one after.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(2)
		first := h.start(Part{Rank: 0, About: "the end", Hash: "old"}, (*Hub).Done)
		first.want(t, "rank 1 is not done", false, false)
		if !h.lost() {
			t.Error("a rank that was lost before the end is not needed")
		}
		synctest.Wait()
		first.want(t, "rank 1 is lost", true, true)
		second := h.start(Part{Era: 1, Rank: 1, About: "the end"}, (*Hub).Done)
		third := h.start(Part{Era: 1, Rank: 0, About: "the end", Hash: "new"}, (*Hub).Done)
		synctest.Wait()
		second.want(t, "all are done", true, false)
		third.want(t, "all are done", true, false)
		if h.lost() || h.result() != "new" {
			t.Errorf("a rank is needed once all are done, or the hash is %q", h.result())
		}
	})
}

// TestLost has a rank lost as soon as all have come to a meeting: nobody of it goes back, and
// the next era's about the same stays.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(2)
		first := h.start(Part{Rank: 0, About: "x", Hi: 1, Data: [][]float32{{1}}}, (*Hub).Sum)
		h.mu.Lock() // so that rank 0 sees all of it at once
		m, next := h.meets["x"], &meeting{}
		m.sum, m.here, m.left = []float32{3}, 2, 1
		h.era, h.meets = 1, map[string]*meeting{"x": next}
		h.changed.Broadcast()
		h.mu.Unlock()
		synctest.Wait()
		first.want(t, "all have come", true, false)
		if len(first.sum) != 1 || first.sum[0] != 3 {
			t.Errorf("the sum is %v", first.sum)
		}
		if h.meets["x"] != next {
			t.Error("the next era's meeting is gone")
		}
	})
}

// TestHalves has numbers of steps of which float32 has none.
func TestHalves(t *testing.T) {
	for _, step := range []int{0, 1, 1<<24 - 1, 1<<24 + 1, 1<<40 + 12345} {
		if got := whole(halves(step)); got != step {
			t.Errorf("step %d comes back as %d", step, got)
		}
	}
}
