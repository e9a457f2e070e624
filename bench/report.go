package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/bench/report"
)

// newPage lays a report out: what can be drawn first, then the tables. Peers are those
// of another program, or nil.
func newPage(r *Report, p *peers) *report.Page {
	page := &report.Page{
		Title:   "Lockstep: optimizer kernels on this machine",
		Lead:    r.lead(),
		Verdict: report.Verdict(r.OK, "ok", "FAILED"),
	}
	add := func(s report.Section) { page.Sections = append(page.Sections, s) }
	if r.Speed != nil {
		add(r.rooflines())
		add(r.sizes())
		add(r.Speed.workers())
	}
	if p != nil {
		add(p.charts())
	}
	if r.Train != nil {
		add(r.Train.curves())
	}
	if r.Machine != nil {
		add(r.machineSection())
	}
	if r.Check != nil {
		add(r.Check.section())
	}
	if r.Speed != nil {
		add(claimTables(r.Speed.Claims))
		if r.Speed.Pause != nil {
			add(r.Speed.Pause.section())
		}
	}
	if r.Train != nil {
		add(r.Train.section())
	}
	if p != nil {
		add(p.tables())
	}
	if r.Speed != nil {
		add(r.Speed.section())
	}
	return page
}

// lead says what was measured, when and how.
func (r *Report) lead() string {
	lead := r.Build.text()
	if day, _, ok := strings.Cut(r.Date, "T"); ok {
		lead += ", measured on " + day
	}
	if m := r.Machine; m != nil {
		lead += fmt.Sprintf(" on %s: %d cores for this program, %s, %s", m.name(), m.Cores, m.System, m.Go)
	}
	lead += ", by go run ./bench -html."
	if r.Speed != nil {
		lead += fmt.Sprintf(" Speeds are medians of %d rounds on one goroutine unless the workers are named."+
			" What is compared is measured in turn, so that what slows the machine down for a while slows all of it down."+
			" GB/s counts the bytes that a kernel must load and store.", r.Speed.Rounds)
	}
	return lead + " What must hold, whatever the speed:"
}

func (r *Report) machineSection() report.Section {
	m := r.Machine
	t := report.Table{Caption: "Tables of kernels", Head: []string{"table", "state", "asks for", "lacks here"}}
	for _, s := range m.Tables {
		row := texts(statusTexts(s)...)
		row[1].Good = s.Active
		t.Rows = append(t.Rows, row)
	}
	return report.Section{
		Title: "Machine",
		Facts: []report.Fact{
			{Name: "Measured", Value: report.Text(r.Build.text() + ", " + r.Date)},
			{Name: "CPU", Value: report.Text(m.name())},
			{Name: "Cores", Value: report.Textf("%d for this program", m.Cores)},
			{Name: "Caches", Value: report.Textf("L1 %s, L2 %s, L3 %s", bytesOf(m.L1), bytesOf(m.L2), bytesOf(m.L3))},
			{Name: "System", Value: report.Text(m.System + ", " + m.Go)},
			{Name: "Features", Value: report.Text(strings.Join(m.Features, " "))},
			{Name: "Kernels", Value: report.Text(m.Info)},
			{Name: "Memory of the run", Value: report.Textf("at most %.1f GB", float64(r.PeakMemory)/1e9)},
		},
		Tables: []report.Table{t},
	}
}

func (c *Check) section() report.Section {
	s := report.Section{Title: "Check", Text: "Every kernel beside the reference, bit for bit, on random bits and on ordinary values, at all short lengths and offsets."}
	if c.Kernels == 0 {
		s.Facts = []report.Fact{{Name: "Kernels", Value: report.Text("there is no table here but the reference itself: nothing to compare")}}
		return s
	}
	s.Facts = []report.Fact{
		{Name: "Kernels", Value: report.Textf("%d of %s", c.Kernels, strings.Join(c.Tables, ", "))},
		{Name: "Calls", Value: report.Text(digits(c.Calls))},
		{Name: "Elements compared", Value: report.Text(digits(c.Comparisons))},
		{Name: "Calls that differ", Value: report.Verdict(c.OK(), "0: ok", fmt.Sprintf("%d: FAILED", c.Differ))},
	}
	failures := report.Table{Caption: "What differs", Head: []string{"kernel and case"}}
	for _, f := range c.Failures {
		failures.Rows = append(failures.Rows, []report.Cell{report.Text(f)})
	}
	s.Tables = []report.Table{failures}
	return s
}

// digits writes a number in groups of three.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	for k := len(s) - 3; k > 0; k -= 3 {
		s = s[:k] + "," + s[k:]
	}
	return s
}

// claimTables has a table for each section of claims.
func claimTables(list []Claim) report.Section {
	s := report.Section{Title: "Claims", Text: claimsText(list)}
	for _, section := range groups(list, func(c Claim) string { return c.Section }) {
		t := report.Table{
			Caption: section[0].Section,
			Head:    []string{"case", "parameters", "workers", "time", "beside", "its time", "ratio", "goal", "result"},
			Numbers: []int{1, 2, 3, 5, 6, 7},
		}
		for _, c := range section {
			row := texts(c.Case, count(c.N), fmt.Sprint(c.Workers), duration(c.Time), c.Beside, duration(c.Other), fmt.Sprintf("%.2f", c.Ratio), c.goal())
			result := report.Cell{Text: c.result(), Good: c.Goal > 0 && c.OK(), Bad: !c.OK()}
			t.Rows = append(t.Rows, append(row, result))
		}
		s.Tables = append(s.Tables, t)
	}
	return s
}

// claimsText says how claims are measured, and which have no goal.
func claimsText(list []Claim) string {
	all, missed := goals(list)
	return fmt.Sprintf("%d of %d goals are reached. A claim is measured in turn with what it is beside; the ratio is of the times, "+
		"or the speed-up where the goal is a least one. A speed-up that the memory of this machine does not allow, because "+
		"reads and writes alone do not reach it, is no goal here.", all-missed, all)
}

func texts(list ...string) []report.Cell {
	var cells []report.Cell
	for _, s := range list {
		cells = append(cells, report.Text(s))
	}
	return cells
}

func (p *Pause) section() report.Section {
	return report.Section{
		Title: "Garbage collection",
		Text:  "Assembly cannot be interrupted, so a step is many short calls: how long the collector waits while steps run beside it.",
		Facts: []report.Fact{
			{Name: "Steps", Value: report.Textf("%s of %s parameters on one worker, %.0f ms each", p.Optimizer, count(p.N), 1e3*p.Step)},
			{Name: "Stops of all goroutines", Value: report.Text(digits(int64(p.Stops)))},
			{Name: "Longest until all had stopped", Value: report.Verdict(p.OK, p.text(), p.text())},
		},
	}
}

func (t *Train) section() report.Section {
	s := report.Section{Title: "Training", Text: "Where every optimizer ended."}
	example := report.Table{
		Caption: strings.ToUpper(exampleTitle[:1]) + exampleTitle[1:] + ": " + exampleText,
		Head:    []string{"optimizer", "w ends at", "should be", "result"},
		Numbers: []int{1, 2},
	}
	for _, r := range t.Example {
		example.Rows = append(example.Rows, append(texts(r.Optimizer, fmt.Sprintf("%.4f", r.W), fmt.Sprintf("%.4f", r.Want)), report.Verdict(r.OK, "ok", "FAILED")))
	}
	s.Tables = append(s.Tables, example)
	for _, runs := range t.byProblem() {
		table := report.Table{
			Caption: runs[0].Problem,
			Head:    []string{"optimizer", "batch", "epochs", "seconds", "loss", "optimum", "relative gap", "allowed", runs[0].ScoreName, "result"},
			Numbers: []int{1, 2, 3, 4, 5, 6, 7, 8},
		}
		for _, r := range runs {
			table.Rows = append(table.Rows, append(texts(r.Optimizer, fmt.Sprint(r.Batch), fmt.Sprint(r.Epochs), fmt.Sprintf("%.2f", r.Seconds),
				fmt.Sprintf("%.7g", r.Loss), fmt.Sprintf("%.7g", r.Optimum), fmt.Sprintf("%.1e", r.Gap), fmt.Sprintf("%.0e", r.Tolerance),
				fmt.Sprintf("%.4f", r.Score)), report.Verdict(r.OK, "ok", "FAILED")))
		}
		s.Tables = append(s.Tables, table)
	}
	for _, runs := range byNetworkProblem(t.Networks) {
		title := runs[0].Problem
		table := report.Table{
			Caption: strings.ToUpper(title[:1]) + title[1:] + ": " + networkText(title),
			Head:    []string{"model", "types", "weights", "epochs", "seconds", "loss", "beside float32", "accuracy held back", "result"},
			Numbers: []int{2, 3, 4, 5, 6, 7},
		}
		for _, r := range runs {
			cells := r.cells()
			table.Rows = append(table.Rows, append(texts(cells[:len(cells)-1]...), report.Verdict(r.OK, "ok", "FAILED")))
		}
		s.Tables = append(s.Tables, table)
	}
	return s
}
