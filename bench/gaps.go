package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/update/torch"
)

// gaps are two workers where a step is not all that a program does: between steps it
// works on something else, or other optimizers take steps at the same time.
func gaps(_ *Machine, short bool) []pending {
	if runtime.GOMAXPROCS(0) < 2 || processorTime() == 0 {
		return nil
	}
	sizes := []int{256 << 10, 300_000, 512 << 10, 1 << 20, 4 << 20, 16 << 20}
	if short {
		sizes = sizes[1:4]
	}
	var list []pending
	for _, n := range sizes {
		list = append(list, gapClaim(n, "nothing in between", func(workers int) *candidate { return afterWork(n, workers, 0) }))
		for _, gap := range []time.Duration{100 * time.Microsecond, 300 * time.Microsecond, time.Millisecond} {
			list = append(list, gapClaim(n, fmt.Sprintf("%v in between", gap), func(workers int) *candidate { return afterWork(n, workers, gap) }))
		}
		if n <= 4<<20 {
			list = append(list, gapClaim(n, "four optimizers at once", func(workers int) *candidate { return fourAtOnce(n, workers) }))
		}
	}
	return list
}

// gapClaim compares processor time. The goal is what steps with the work between them are
// faster, or mostCost.
func gapClaim(n int, name string, of func(workers int) *candidate) pending {
	return pending{
		Claim:  Claim{Section: "Workers, with work between steps: processor time", Case: adamW + ", " + name, Beside: besideOne + ", and what steps gain", N: n, Workers: 2, Goal: mostCost},
		kernel: adamW, bytes: n * stepBytes,
		costs: true,
		pair:  func() (it, other *candidate) { return of(2), of(1) },
	}
}

// mostCost is how many times the processor time of one worker two may take and gain nothing.
const mostCost = 1.1

func afterWork(n, workers int, gap time.Duration) *candidate {
	t := newTrainee(n, torch.AdamW(), workers)
	turns := 0
	if gap > 0 {
		turns = int(float64(gap) / turn())
	}
	return &candidate{call: func() {
		work(turns)
		t.step()
	}}
}

// work is so many turns of a loop without memory.
func work(turns int) {
	x := uint64(1)
	for range turns {
		x = x*6364136223846793005 + 1442695040888963407
	}
	workSink = x
}

var workSink uint64

// turn is how many nanoseconds one takes, without what others do on this processor.
var turn = sync.OnceValue(func() float64 {
	const turns = 1 << 15
	best := time.Hour
	for range 100 {
		start := time.Now()
		work(turns)
		best = min(best, time.Since(start))
	}
	return float64(best) / turns
})

// fourAtOnce takes four steps of each of four optimizers.
func fourAtOnce(n, workers int) *candidate {
	var list []*trainee
	for range 4 {
		list = append(list, newTrainee(n, torch.AdamW(), workers))
	}
	return &candidate{call: func() {
		var running sync.WaitGroup
		for _, t := range list {
			running.Go(func() { t.steps(4) })
		}
		running.Wait()
	}}
}

// cost is a sample: the time that a call takes, and that of all processors.
type cost struct{ wall, processors float64 }

// costOf is the shortest of a round's samples.
func (c *candidate) costOf() (best cost) {
	for range samples {
		before := processorTime()
		wall := c.time()
		now := cost{wall.Seconds() / float64(c.inner), (processorTime() - before).Seconds() / float64(c.inner)}
		if best.wall == 0 || now.wall < best.wall {
			best = now
		}
	}
	return best
}

// measureCosts times candidates in turn, by all processors, and raises the goal to how many
// times as fast one is as the other.
func (c *Claim) measureCosts(rounds int, it, other *candidate) {
	var walls [2][]float64
	it.calibrate()
	other.calibrate()
	for range rounds {
		for k, x := range []*candidate{it, other} {
			cost := x.costOf()
			walls[k] = append(walls[k], cost.wall)
			x.seconds = append(x.seconds, cost.processors)
		}
	}
	c.Time, c.Other = it.result(), other.result()
	c.Ratio = c.Time.Median / c.Other.Median
	c.Goal = max(c.Goal, quantile(walls[1], .5)/quantile(walls[0], .5))
}
