package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/update"
)

// A Pause is how long a step held up the garbage collector, beside a plain loop.
type Pause struct {
	Optimizer string
	N         int // parameters
	Step      float64
	Steps     int
	Stops     uint64  // of all goroutines, while the steps ran
	Tries     int     // until one kept the bound
	Worst     float64 // of all tries, seconds until they had stopped
	Plain     float64 // the same of the loop, which Go can stop anywhere
	Bound     float64 // of a try, or twice the loop's in it
	OK        bool
}

// pauseLen is the number of parameters of the steps: they take long beside a stop.
const pauseLen = 64 << 20

// stopping is the time that it takes to stop all goroutines for a collection.
const stopping = "/sched/pauses/stopping/gc:seconds"

// pause takes steps of one worker while collections run beside them. What other
// programs do to this one is not the step's doing, and they do it to a plain loop too:
// a call of assembly that is not split holds up all tries, and the loop's none.
func pause(n, tries int) *Pause {
	p := &Pause{Optimizer: "SGD", N: n, Steps: 8, Bound: 1e-3}
	o, err := update.New(n, sgd(1e-3))
	must(err)
	must(o.SetWorkers(1))
	params, grads := make([]float32, n), make([]float32, n)
	must(o.Step(params, grads))
	debug.FreeOSMemory() // so that what speed left is not collected under the steps

	for !p.OK && p.Tries < tries {
		start := time.Now()
		worst, count := pauses(p.Steps, func() { must(o.Step(params, grads)) })
		p.Step = time.Since(start).Seconds() / float64(p.Steps)
		plain, _ := pauses(p.Steps, func() {
			for i, g := range grads {
				params[i] -= 1e-3 * g
			}
		})
		p.Tries++
		p.Stops += count
		p.Worst, p.Plain = max(p.Worst, worst), max(p.Plain, plain)
		p.OK = worst < max(p.Bound, 2*plain)
	}
	return p
}

// pauses is how long it took at worst to stop all goroutines, and how often that was,
// while a step was taken so many times.
func pauses(steps int, step func()) (worst float64, count uint64) {
	before := stops()
	var done atomic.Bool
	go func() {
		for range steps {
			step()
		}
		done.Store(true)
	}()
	for !done.Load() {
		runtime.GC()
	}
	return since(before, stops())
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
	tries := ""
	if p.Tries > 1 {
		tries = fmt.Sprintf(" in %d tries", p.Tries)
	}
	return fmt.Sprintf("at worst within %.2f ms, beside a plain loop %.2f ms%s (bound %.0f ms, or twice the loop's where others hold up both): %s",
		1e3*p.Worst, 1e3*p.Plain, tries, 1e3*p.Bound, verdict(p.OK))
}
