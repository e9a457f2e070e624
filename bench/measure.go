package main

import (
	"slices"
	"time"
)

// A Time is how long a call took: the median of the rounds, and the quartiles.
type Time struct {
	Median, Low, High float64 // seconds
	Rounds            int
}

// Spread is the distance of the quartiles relative to the median.
func (t Time) Spread() float64 {
	if t.Median == 0 {
		return 0
	}
	return (t.High - t.Low) / t.Median
}

// A candidate is something to time.
type candidate struct {
	call  func()
	even  bool // an even number of calls leaves the buffers as they were
	every int  // rounds; 0 is 1
	long  bool // what steps leave awake for the next takes part, so that samples are longer

	inner   int
	seconds []float64
}

// A round is a few samples of which the best counts: each is long beside the
// clock, and short beside the turns that other programs take on this processor.
const (
	sample  = 500 * time.Microsecond
	samples = 4
)

// measure times the candidates in turn, so that what slows the machine down for
// a while slows all of them down. Each is called beforehand, until its pages are
// mapped and its caches are full.
func measure(rounds int, list ...*candidate) {
	for _, c := range list {
		c.calibrate()
	}
	for round := range rounds {
		for _, c := range list {
			if c.every > 1 && round%c.every != 0 {
				continue
			}
			c.seconds = append(c.seconds, c.round())
		}
	}
}

// round times a call. The first sample only takes back the caches.
func (c *candidate) round() float64 {
	best := c.time()
	if best > 2*c.sample() { // the call is long, and out of cache
		return best.Seconds() / float64(c.inner)
	}
	best = c.time()
	for range samples - 1 {
		best = min(best, c.time())
	}
	return best.Seconds() / float64(c.inner)
}

func (c *candidate) sample() time.Duration {
	if c.long {
		return 10 * sample
	}
	return sample
}

func (c *candidate) time() time.Duration {
	start := time.Now()
	for range c.inner {
		c.call()
	}
	return time.Since(start)
}

// calibrate finds how many calls a sample is.
func (c *candidate) calibrate() {
	least := 1
	if c.even {
		least = 2
	}
	c.inner = least
	c.time()
	for c.time() < c.sample()/2 {
		c.inner *= 2
	}
	c.inner = max(least, int(float64(c.inner)*float64(c.sample())/float64(c.time())))
	if c.even {
		c.inner += c.inner % 2
	}
}

func (c *candidate) result() Time {
	if len(c.seconds) == 0 {
		return Time{}
	}
	return Time{quantile(c.seconds, .5), quantile(c.seconds, .25), quantile(c.seconds, .75), len(c.seconds)}
}

// quantile is the q-th quantile of x, between two of its values on the line
// through both.
func quantile(x []float64, q float64) float64 {
	x = slices.Sorted(slices.Values(x))
	at := q * float64(len(x)-1)
	k := min(int(at), len(x)-2)
	if k < 0 {
		return x[0]
	}
	return x[k] + (at-float64(k))*(x[k+1]-x[k])
}
