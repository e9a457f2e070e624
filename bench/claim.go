package main

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
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

// measure times one beside the other.
func (c Claim) measure(rounds int, it, other *candidate) Claim {
	measure(rounds, it, other)
	c.Time, c.Other = it.result(), other.result()
	c.Ratio = c.Time.Median / c.Other.Median
	if c.Speedup {
		c.Ratio = 1 / c.Ratio
	}
	return c
}

// printClaims prints a table for each section.
func printClaims(w io.Writer, list []Claim) {
	for lo := 0; lo < len(list); {
		hi := lo
		for hi < len(list) && list[hi].Section == list[lo].Section {
			hi++
		}
		fmt.Fprintf(w, "\n%s\n\n", list[lo].Section)
		t := newTable("case", "parameters", "workers", "time", "beside", "its time", "ratio", "goal", "")
		alignRight(t, 2, 3, 4, 6, 7, 8)
		for _, c := range list[lo:hi] {
			goal, mark := "-", ""
			if c.Goal > 0 {
				most := "≤"
				if c.Speedup {
					most = "≥"
				}
				goal, mark = fmt.Sprintf("%s %.2f", most, c.Goal), "reached"
				if !c.OK() {
					mark = "missed"
				}
			}
			t.AppendRow(table.Row{c.Case, count(c.N), c.Workers, duration(c.Time), c.Beside, duration(c.Other), fmt.Sprintf("%.2f", c.Ratio), goal, mark})
		}
		fmt.Fprintln(w, t.Render())
		lo = hi
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
