package main

import (
	"fmt"
	"runtime/debug"
	"slices"
)

// A Claim is how long something takes beside something else, both measured in
// turn.
type Claim struct {
	Section string
	Case    string
	Beside  string
	N       int // parameters
	Workers int
	Time    Time
	Other   Time    // of what it is beside
	Ratio   float64 // Time / Other, or Other / Time where the goal is a speed-up
	Speedup bool
	Goal    float64 // the most of a ratio, the least of a speed-up; 0 is none
}

// OK reports whether the goal is reached.
func (c *Claim) OK() bool {
	if c.Speedup {
		return c.Ratio >= c.Goal
	}
	return c.Goal == 0 || c.Ratio <= c.Goal
}

// goal writes the goal, and result whether it is reached.
func (c *Claim) goal() string {
	switch {
	case c.Goal == 0:
		return "none"
	case c.Speedup:
		return fmt.Sprintf("≥ %.2f", c.Goal)
	}
	return fmt.Sprintf("≤ %.2f", c.Goal)
}

func (c *Claim) result() string {
	switch {
	case c.Goal == 0:
		return ""
	case c.OK():
		return "reached"
	}
	return "missed"
}

// goals counts the claims that have a goal, and those that miss it.
func goals(list []Claim) (all, missed int) {
	for _, c := range list {
		if c.Goal > 0 {
			all++
		}
		if !c.OK() {
			missed++
		}
	}
	return all, missed
}

// A pending is a claim with what it takes to measure it.
type pending struct {
	Claim
	kernel string                            // as ops names it
	bytes  int                               // of the buffers
	pair   func() (it, other *candidate)     // makes the buffers
	costs  bool                              // processor time is measured
	reach  func(measured []Claim) (can bool) // whether the goal can be reached on this machine; nil: it can
}

// measure times one beside the other. Buffers are given back to the system, since the
// next claim's would come on top of them.
func (p *pending) measure(rounds int, before []Claim) Claim {
	c := p.Claim
	if p.reach != nil && !p.reach(before) {
		c.Goal = 0
	}
	it, other := p.pair()
	it.long, other.long = c.Workers > 1, c.Workers > 1
	if p.costs {
		c.measureCosts(rounds, it, other)
	} else {
		c.measureTimes(rounds, it, other)
	}
	debug.FreeOSMemory()
	return c
}

func (c *Claim) measureTimes(rounds int, it, other *candidate) {
	measure(rounds, it, other)
	c.Time, c.Other = it.result(), other.result()
	c.Ratio = c.Time.Median / c.Other.Median
	if c.Speedup {
		c.Ratio = 1 / c.Ratio
	}
}

// printClaims prints a table for each section. What is the same for all of one is in
// its title.
func (s *screen) printClaims(list []Claim) {
	for _, section := range groups(list, func(c Claim) string { return c.Section }) {
		title := section[0].Section
		beside := slices.ContainsFunc(section, func(c Claim) bool { return c.Beside != section[0].Beside })
		if !beside {
			title += ", beside " + section[0].Beside
		}
		g := newGrid("case", "parameters", "workers", "time", "other", "ratio", "goal", "")
		g.numbers = []int{1, 2, 3, 4, 5, 6}
		for _, c := range section {
			name := c.Case
			if beside {
				name += ", beside " + c.Beside
			}
			g.add(name, count(c.N), fmt.Sprint(c.Workers), duration(c.Time), duration(c.Other), fmt.Sprintf("%.2f", c.Ratio), c.goal(), c.result())
		}
		if n := g.without("parameters"); n != "" {
			title += ", " + n + " parameters"
		}
		if n := g.without("workers"); n != "" {
			title += ", workers: " + n
		}
		s.paragraph("\n%s\n", title)
		s.print(g)
	}
}

// duration writes a time with three digits.
func duration(t Time) string {
	s := t.Median
	for _, u := range []struct {
		name string
		size float64
	}{{"s", 1}, {"ms", 1e-3}, {"µs", 1e-6}} {
		if s >= u.size {
			return fmt.Sprintf("%.3g %s", s/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.3g ns", s*1e9)
}
