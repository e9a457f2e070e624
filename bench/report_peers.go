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
	Systems map[string]struct{ Version, Layout string }
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
	Work         string  // beyond the rule: l2, clip, or new for gradients in new buffers
	Layout       string  // of its buffers: none, or that of update.Alloc
	Threads, N   int     // N is of all tensors
	Tensors      int     // 0 is 1
	PerSecond    float64 `json:"parameters_per_second"`
	Seconds      float64
	Spread       float64
	OursToIt     float64 `json:"ours_to_it"`      // each with the buffers of its own choice
	OursToItSame float64 `json:"ours_to_it_same"` // on buffers of its layout; 0 in files of before
}

// ours is the name of this library there, and begins that of it on other buffers.
const ours = "lockstep"

func (e peer) isOurs() bool { return strings.HasPrefix(e.System, ours) }

// many reports whether it is of many tensors, which no line joins to one.
func (e peer) many() bool { return e.Tensors > 1 }

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

// A cell is the entries of a kind of step on so many threads.
type cell struct {
	rule, work string
	many       bool
	threads    int
	entries    []peer
}

// cells are in the order of the file. Where a system has no AdamW that is right,
// its Adam stands in, which peers/run says in the rule of the entry.
func (p *peers) cells() []cell {
	var list []cell
	for _, e := range p.Entries {
		rule := e.Rule
		if rule == "adam" && e.Work == "" {
			rule = "adamw"
		}
		same := func(c cell) bool {
			return c.rule == rule && c.work == e.Work && c.many == e.many() && c.threads == e.Threads
		}
		k := slices.IndexFunc(list, same)
		if k < 0 {
			k = len(list)
			list = append(list, cell{rule, e.Work, e.many(), e.Threads, nil})
		}
		list[k].entries = append(list[k].entries, e)
	}
	return list
}

var (
	peerRules = map[string]string{"adamw": "AdamW", "adam": "Adam", "adagrad": "AdaGrad", "sgd": "SGD", "momentum": "Momentum", "linear": "Linear model, gradient"}
	peerWorks = map[string]string{"": "", "l2": ", L2", "clip": ", clipped", "new": ", gradients in new buffers"}
)

func (c cell) title() string {
	title := cmp.Or(peerRules[c.rule], c.rule)
	if work, ok := peerWorks[c.work]; ok {
		title += work
	} else {
		title += ", " + c.work
	}
	if c.many {
		title += ", many tensors"
	}
	if c.threads == 1 {
		return title + ", 1 thread"
	}
	return fmt.Sprintf("%s, %d threads", title, c.threads)
}

// A shape is one size of a cell.
type shape struct{ tensors, n int }

func (e peer) shape() shape { return shape{max(1, e.Tensors), e.N} }

func (s shape) String() string {
	if s.tensors == 1 {
		return count(s.n)
	}
	return fmt.Sprintf("%s x %s", digits(int64(s.tensors)), digits(int64(s.n/s.tensors)))
}

// shapes are in the order of their sizes.
func (c cell) shapes() []shape {
	has := map[shape]bool{}
	for _, e := range c.entries {
		has[e.shape()] = true
	}
	return slices.SortedFunc(maps.Keys(has), func(a, b shape) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(a.tensors, b.tensors)) })
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
		if c.many || len(c.shapes()) < 2 {
			continue // a line takes two points, and no number of tensors lies between two others
		}
		chart := report.Chart{
			Title: c.title(),
			X:     report.Axis{Label: "parameters", Scale: report.Binary},
			Y:     report.Axis{Label: "Gparam/s", Scale: report.Decimal},
		}
		styles := newPalette("torch", "deepspeed", "archsimd", "tuned-go", "numpy", "gomlx", "gorgonia", "spago", "optax")
		styles.styles[ours] = report.Style{Colour: report.Ink, Wide: true}
		styles.styles[ours+"-plain"] = report.Style{Colour: report.Ink, Dash: 1, Wide: true}
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

// caption compares ours with the fastest other at the largest size, whose buffers are
// where its own system puts them.
func (c cell) caption() string {
	shapes := c.shapes()
	largest := shapes[len(shapes)-1]
	var best peer
	for _, e := range c.entries {
		if e.shape() == largest && !e.isOurs() && e.Layout == "" && e.PerSecond > best.PerSecond {
			best = e
		}
	}
	if best.OursToIt == 0 {
		return ""
	}
	text := fmt.Sprintf("At %s Lockstep is %.2f times as fast as the fastest other, %s", largest, best.OursToIt, best.label())
	if best.OursToItSame == 0 {
		return text + "."
	}
	return fmt.Sprintf("%s, each with buffers of its own choice, and %.2f times on the same buffers.", text, best.OursToItSame)
}

// text says how peers were measured: by another program, so that its figures are
// comparable among themselves.
func (p *peers) text() string {
	return fmt.Sprintf("Steps of other systems, measured on %s on %s (%d cores) by bench/peers/run in turn with Lockstep's: medians of %d rounds. "+
		"A step of a framework includes what it costs to get there from its language.",
		p.Machine.Date, p.Machine.CPU, p.Machine.Cores, p.Rounds)
}

// tables has a table for each kind of step and number of threads.
func (p *peers) tables() report.Section {
	s := report.Section{
		Title: "Peers in figures",
		Text: fmt.Sprintf("Mparam/s, and in brackets how many times as fast Lockstep is: each with buffers of its own choice, which are "+
			"Lockstep's update.Alloc, and behind the stroke both on buffers of the same layout. What ends in -staggered is a peer on the layout of "+
			"update.Alloc, lockstep-plain is Lockstep on plain slices. Ratios are the median of those within a round. "+
			"After %d steps of %s parameters all are where Lockstep's are, within %.1g of the way that those went.",
			p.Check.Steps, digits(int64(p.Check.N)), p.Check.Worst),
	}
	for _, name := range slices.Sorted(maps.Keys(p.LeftOut)) {
		s.Facts = append(s.Facts, report.Fact{Name: name, Value: report.Text("left out: " + p.LeftOut[name])})
	}
	for _, c := range p.cells() {
		s.Tables = append(s.Tables, p.table(c))
	}
	return s
}

func (p *peers) table(c cell) report.Table {
	t := report.Table{Caption: c.title(), Head: []string{"system"}}
	for _, s := range c.shapes() {
		t.Numbers = append(t.Numbers, len(t.Head))
		t.Head = append(t.Head, s.String())
	}
	t.Head = append(t.Head, "version")
	for _, name := range c.systems() {
		row := texts(name)
		for _, s := range c.shapes() {
			row = append(row, report.Text(c.text(name, s)))
		}
		system, _, _ := strings.Cut(name, " ")
		t.Rows = append(t.Rows, append(row, report.Text(p.Systems[system].Version)))
	}
	return t
}

// text is the speed of a system at a size, and what ours is beside it.
func (c cell) text(name string, s shape) string {
	for _, e := range c.entries {
		switch {
		case e.label() != name || e.shape() != s:
		case e.System == ours:
			return mega(e.PerSecond)
		case e.OursToItSame == 0:
			return fmt.Sprintf("%s (%.2f)", mega(e.PerSecond), e.OursToIt)
		default:
			return fmt.Sprintf("%s (%.2f / %.2f)", mega(e.PerSecond), e.OursToIt, e.OursToItSame)
		}
	}
	return "none"
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
