package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/bench/report"
)

// peers is what peers/run writes with --json.
type peers struct {
	Machine struct {
		CPU, System, Date string
		Cores             int
	}
	Rounds  int
	Systems map[string]struct{ Version string }
	LeftOut map[string]string `json:"left_out"`
	Check   struct {
		N, Steps  int
		Tolerance float64
		Worst     float64
	}
	Entries []peer
}

// A peer is one system at one size.
type peer struct {
	System, Rule string
	Threads, N   int
	PerSecond    float64 `json:"parameters_per_second"`
	Seconds      float64
	Spread       float64
	OursToIt     float64 `json:"ours_to_it"`
}

// ours is the name of this library there.
const ours = "lockstep"

// readPeers reads the file of -peers, or returns nil where there is none.
func (o options) readPeers() (*peers, error) {
	if o.peers == "" {
		return nil, nil
	}
	if o.html == "" {
		return nil, errors.New("-peers is for the page of -html")
	}
	return readPeers(o.peers)
}

func readPeers(file string) (*peers, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := new(peers)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(p.Entries) == 0 {
		return nil, fmt.Errorf("%s: no entries: want what bench/peers/run --json writes", file)
	}
	return p, nil
}

// A cell is the entries of a rule on so many threads.
type cell struct {
	rule    string
	threads int
	entries []peer
}

// cells are in the order of the file. Where a system has no AdamW that is right,
// its Adam stands in, which peers/run says in the rule of the entry.
func (p *peers) cells() []cell {
	var list []cell
	for _, e := range p.Entries {
		rule := e.Rule
		if rule == "adam" {
			rule = "adamw"
		}
		k := slices.IndexFunc(list, func(c cell) bool { return c.rule == rule && c.threads == e.Threads })
		if k < 0 {
			k = len(list)
			list = append(list, cell{rule, e.Threads, nil})
		}
		list[k].entries = append(list[k].entries, e)
	}
	return list
}

func (c cell) title() string {
	name, ok := map[string]string{"adamw": "AdamW", "adagrad": "AdaGrad", "sgd": "SGD", "momentum": "Momentum", "linear": "Linear model, gradient"}[c.rule]
	if !ok {
		name = c.rule
	}
	if c.threads == 1 {
		return name + ", 1 thread"
	}
	return fmt.Sprintf("%s, %d threads", name, c.threads)
}

func (c cell) sizes() []int {
	has := map[int]bool{}
	for _, e := range c.entries {
		has[e.N] = true
	}
	return slices.Sorted(maps.Keys(has))
}

func (c cell) systems() []string {
	var list []string
	for _, e := range c.entries {
		if !slices.Contains(list, e.label()) {
			list = append(list, e.label())
		}
	}
	return list
}

// label says where the work of a peer is other than ours.
func (e peer) label() string {
	if e.Rule == "adam" {
		return e.System + " (Adam)"
	}
	return e.System
}

// charts has speed over size, the fastest system first in each legend.
func (p *peers) charts() report.Section {
	s := report.Section{Title: "Peers", Text: p.text()}
	for _, c := range p.cells() {
		if len(c.sizes()) < 2 {
			continue // a line takes two
		}
		chart := report.Chart{
			Title: c.title(),
			X:     report.Axis{Label: "parameters", Scale: report.Binary},
			Y:     report.Axis{Label: "Gparam/s", Scale: report.Decimal},
		}
		styles := newPalette("torch", "deepspeed", "archsimd", "tuned-go", "numpy", "gomlx", "gorgonia", "spago")
		styles.styles[ours] = report.Style{Colour: report.Ink, Wide: true}
		names := c.systems()
		slices.Sort(names) // so that a style is of the name, not of who was measured first
		for _, name := range names {
			mine := slices.DeleteFunc(slices.Clone(c.entries), func(e peer) bool { return e.label() != name })
			chart.Series = append(chart.Series, report.Series{
				Name:   name,
				Points: points(mine, func(e peer) float64 { return float64(e.N) }, func(e peer) float64 { return e.PerSecond / 1e9 }),
				Style:  styles.of(name),
			})
		}
		slices.SortStableFunc(chart.Series, func(a, b report.Series) int {
			return cmp.Compare(b.Points[len(b.Points)-1].Y, a.Points[len(a.Points)-1].Y)
		})
		chart.Caption = c.caption()
		s.Charts = append(s.Charts, chart)
	}
	return s
}

// caption compares ours with the fastest other at the largest size.
func (c cell) caption() string {
	sizes := c.sizes()
	n := sizes[len(sizes)-1]
	var best peer
	for _, e := range c.entries {
		if e.N == n && e.System != ours && e.PerSecond > best.PerSecond {
			best = e
		}
	}
	if best.OursToIt == 0 {
		return ""
	}
	return fmt.Sprintf("At %s Lockstep is %.2f times as fast as the fastest other, %s.", count(n), best.OursToIt, best.label())
}

// text says how peers were measured: by another program, so that its figures are
// comparable among themselves.
func (p *peers) text() string {
	return fmt.Sprintf("Steps of other systems, measured on %s on %s (%d cores) by bench/peers/run in turn with Lockstep's: medians of %d rounds. "+
		"A step of a framework includes what it costs to get there from its language.",
		p.Machine.Date, p.Machine.CPU, p.Machine.Cores, p.Rounds)
}

// tables has a table for each rule and number of threads.
func (p *peers) tables() report.Section {
	s := report.Section{
		Title: "Peers in figures",
		Text: fmt.Sprintf("Mparam/s, and in brackets how many times as fast Lockstep is, the median of ratios within a round. "+
			"After %d steps of %s parameters all are where Lockstep's are, within %.1g of the way that those went.",
			p.Check.Steps, digits(int64(p.Check.N)), p.Check.Worst),
	}
	for _, name := range slices.Sorted(maps.Keys(p.LeftOut)) {
		s.Facts = append(s.Facts, report.Fact{Name: name, Value: report.Text("left out: " + p.LeftOut[name])})
	}
	for _, c := range p.cells() {
		t := report.Table{Caption: c.title(), Head: []string{"system"}}
		for _, n := range c.sizes() {
			t.Numbers = append(t.Numbers, len(t.Head))
			t.Head = append(t.Head, count(n))
		}
		t.Head = append(t.Head, "version")
		for _, name := range c.systems() {
			row := texts(name)
			for _, n := range c.sizes() {
				text := "none"
				for _, e := range c.entries {
					if e.label() == name && e.N == n {
						text = fmt.Sprintf("%s (%.2f)", mega(e.PerSecond), e.OursToIt)
					}
				}
				row = append(row, report.Text(text))
			}
			system, _, _ := strings.Cut(name, " ")
			t.Rows = append(t.Rows, append(row, report.Text(p.Systems[system].Version)))
		}
		s.Tables = append(s.Tables, t)
	}
	return s
}

// mega writes millions with three digits, and all of those before the point.
func mega(x float64) string {
	x /= 1e6
	switch {
	case x >= 99.95:
		return fmt.Sprintf("%.0f", x)
	case x >= 9.995:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
