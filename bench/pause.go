package main

import (
	"fmt"
	"math"
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
	Tries     int     // until one kept the bound
	Worst     float64 // of all tries, seconds until they had stopped
	Best      float64 // the worst of the best try
	Bound     float64 // of Best
	OK        bool
}

// pauseLen is the number of parameters of the steps: they take long beside a stop.
const pauseLen = 64 << 20

// stopping is the time that it takes to stop all goroutines for a collection.
const stopping = "/sched/pauses/stopping/gc:seconds"

// pause takes steps of one worker while collections run beside them. What other
// programs do to this one is not the step's doing, so the best of some tries
// counts: a call of assembly that is not split holds up all of them.
func pause(n, tries int) *Pause {
	const steps = 8
	p := &Pause{Optimizer: "SGD", N: n, Steps: steps, Bound: 1e-3, Best: math.Inf(1)}
	o, err := update.New(n, sgd(1e-3))
	must(err)
	must(o.SetWorkers(1))
	params, grads := make([]float32, n), make([]float32, n)
	must(o.Step(params, grads))
	debug.FreeOSMemory() // so that what speed left is not collected under the steps

	for !p.OK && p.Tries < tries {
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
		p.Tries++
		p.Stops += count
		p.Step = took / steps
		p.Worst, p.Best = max(p.Worst, worst), min(p.Best, worst)
		p.OK = p.Best < p.Bound
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

func (p *Pause) print(s *screen) {
	s.paragraph("\nGarbage collection beside %s steps of %s parameters on one worker, %.0f ms each: all goroutines were stopped %d times, %s",
		p.Optimizer, count(p.N), 1e3*p.Step, p.Stops, p.text())
}

// text says the worst of all tries, whatever the verdict.
func (p *Pause) text() string {
	text := fmt.Sprintf("at worst within %.2f ms", 1e3*p.Worst)
	if p.Tries > 1 {
		text += fmt.Sprintf(" in %d tries, %.2f ms in the best, which counts because other programs hold up steps too", p.Tries, 1e3*p.Best)
	}
	return fmt.Sprintf("%s (bound %.0f ms): %s", text, 1e3*p.Bound, verdict(p.OK))
}
