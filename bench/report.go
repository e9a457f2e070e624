package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/bench/report"
	"github.com/lockstep-go/lockstep/kernels"
)

// What is measured at without -sizes: lines take more points than there are
// places.
const (
	places     = "L1,L2,L3,memory"
	gridSizes  = "1Ki,4Ki,16Ki,64Ki,256Ki,1Mi,4Mi,16Mi"
	shortSizes = "4Ki,64Ki,1Mi,16Mi"
)

// sizesAsked are the sizes of -sizes, or those that suit what is written.
func (o options) sizesAsked() string {
	switch {
	case o.sizes != "":
		return o.sizes
	case o.html != "" && o.short:
		return shortSizes
	case o.html != "":
		return gridSizes
	}
	return places
}

// charted leaves of all measurements those that the page needs: a roofline of
// each main rule has every table, and other kernels have the one in use. A
// kernel that serves in several tables is measured in the first of them.
func charted(all []measurement, active kernels.Table) []measurement {
	type place struct {
		kernel, size string
	}
	seen := map[place]bool{}
	return slices.DeleteFunc(all, func(m measurement) bool {
		if !slices.Contains(rooflines, m.op.name) && (m.table != active || !m.op.main) {
			return true
		}
		p := place{m.kernel(), m.size.name}
		again := seen[p]
		seen[p] = true
		return again
	})
}

// kernel tells kernels apart: tables that differ in their roots share the others.
func (m measurement) kernel() string {
	isa := m.table.ISA()
	if !slices.Contains([]string{adamW, "AdaGrad", "Sqrt"}, m.op.name) {
		isa = strings.TrimSuffix(isa, "newton")
	}
	return m.op.name + " " + isa
}

// rooflines are the main rules.
var rooflines = []string{"SGD", "Momentum", "AdaGrad", adamW}

// writeHTML writes a report as a page. Peers are those of another program, or
// nil.
func writeHTML(file string, r *Report, p *peers, date time.Time) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := newPage(r, p, date).Write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// newPage lays a report out: what can be drawn first, then the tables.
func newPage(r *Report, p *peers, date time.Time) *report.Page {
	lead := "Measured on " + date.Format("2006-01-02")
	if m := r.Machine; m != nil {
		lead += fmt.Sprintf(" on %s: %d cores for this program, %s, %s", m.name(), m.Cores, m.System, m.Go)
	}
	lead += ", by go run ./bench -html."
	if r.Speed != nil {
		lead += fmt.Sprintf(" Speeds are medians of %d rounds on one goroutine unless the workers are named."+
			" What is compared is measured in turn, so that what slows the machine down for a while slows all of it down."+
			" GB/s counts the bytes that a kernel must load and store.", r.Speed.Rounds)
	}
	page := &report.Page{
		Title:   "Lockstep: optimizer kernels on this machine",
		Lead:    lead + " What must hold, whatever the speed:",
		Verdict: report.Verdict(r.OK, "ok", "FAILED"),
	}
	if r.Speed != nil {
		page.Sections = append(page.Sections, r.rooflines(), r.sizes(), r.Speed.workers())
	}
	if p != nil {
		page.Sections = append(page.Sections, p.charts())
	}
	if r.Train != nil {
		page.Sections = append(page.Sections, r.Train.curves())
	}
	if r.Machine != nil {
		page.Sections = append(page.Sections, r.Machine.section())
	}
	if r.Check != nil {
		page.Sections = append(page.Sections, r.Check.section())
	}
	if r.Speed != nil {
		page.Sections = append(page.Sections, claimTables(r.Speed.Claims))
		if r.Speed.Pause != nil {
			page.Sections = append(page.Sections, r.Speed.Pause.section())
		}
	}
	if r.Train != nil {
		page.Sections = append(page.Sections, r.Train.section())
	}
	if p != nil {
		page.Sections = append(page.Sections, p.tables())
	}
	if r.Speed != nil {
		page.Sections = append(page.Sections, r.Speed.section())
	}
	return page
}

// A palette gives names their styles. Those of one family share a colour and
// differ by the dashes.
type palette struct {
	families []string // in the order of the colours
	count    map[string]int
	styles   map[string]report.Style
}

func newPalette(families ...string) *palette {
	return &palette{families, map[string]int{}, map[string]report.Style{}}
}

// of is the style of a name. The longest family that it begins with is its own;
// one that begins with none founds a family.
func (p *palette) of(name string) report.Style {
	if s, ok := p.styles[name]; ok {
		return s
	}
	family := -1
	for k, f := range p.families {
		if strings.HasPrefix(name, f) && (family < 0 || len(f) > len(p.families[family])) {
			family = k
		}
	}
	if family < 0 {
		family = len(p.families)
		p.families = append(p.families, name)
	}
	f := p.families[family]
	s := report.Style{Colour: report.First + report.Colour(family%report.Colours), Dash: p.count[f] + family/report.Colours}
	p.count[f]++
	p.styles[name] = s
	return s
}

// tuned is the name of the loop of tuned.go in charts.
const tuned = "tuned Go loop"

// tableStyles has a style for each table.
func tableStyles() *palette {
	p := newPalette("avx512", "avx2", "neon", tuned)
	p.styles["go"] = report.Style{Colour: report.Faint, Dash: 1}
	return p
}

// tableName is the name of a table in charts.
func tableName(isa string) string {
	if isa == "go" {
		return "go, the reference"
	}
	return isa
}

// rooflines has a chart for each main rule.
func (r *Report) rooflines() report.Section {
	s := report.Section{
		Title: "Rooflines",
		Text: "The roof is a kernel with the same loads and stores and no arithmetic, of the table named with it: " +
			"what lies between is the price of computing. Dotted lines are the sizes of the caches.",
	}
	for _, name := range rooflines {
		figures := r.Speed.of(name)
		if len(figures) == 0 {
			continue
		}
		c := report.Chart{
			Title: name,
			X:     report.Axis{Label: "working set", Scale: report.Binary, Unit: "B"},
			Y:     report.Axis{Label: "GB/s", Scale: report.Decimal},
		}
		if o := opOf(name); o != nil {
			c.Caption = fmt.Sprintf("%d bytes a parameter in %d buffers.", o.moved, o.buffers)
		}
		if m := r.Machine; m != nil {
			c.Marks = []report.Mark{{X: float64(m.L1), Name: "L1"}, {X: float64(m.L2), Name: "L2"}, {X: float64(m.L3), Name: "L3"}}
		}
		speed := func(of func(f Figure) float64, list []Figure) []report.Point {
			return points(list, Figure.workingSet, func(f Figure) float64 { return float64(f.Bytes) / of(f) / 1e9 })
		}
		roof, isas := "", r.tables(figures)
		for _, isa := range isas {
			if roof == "" && slices.ContainsFunc(figures, func(f Figure) bool { return f.Table == isa && f.Limit.Median > 0 }) {
				roof = isa
			}
		}
		if roof != "" {
			c.Series = append(c.Series, report.Series{
				Name:   "roof (" + roof + ")",
				Points: speed(func(f Figure) float64 { return f.Limit.Median }, byTable(figures, roof)),
				Style:  report.Style{Colour: report.Ink, Bare: true, Wide: true},
			})
		}
		styles := tableStyles()
		for _, isa := range isas {
			c.Series = append(c.Series, report.Series{
				Name:   tableName(isa),
				Points: speed(func(f Figure) float64 { return f.Time.Median }, byTable(figures, isa)),
				Style:  styles.of(isa),
			})
		}
		if figures[0].Tuned {
			c.Series = append(c.Series, report.Series{
				Name:   tuned,
				Points: speed(func(f Figure) float64 { return f.Go.Median }, byTable(figures, isas[0])),
				Style:  styles.of(tuned),
			})
		}
		s.Charts = append(s.Charts, c)
	}
	return s
}

// A family of kernels is charted together.
type family struct {
	title, caption string
	unit           string
	has            func(o *op) bool
}

var families = []family{
	{"updates", "Parameters and state are read and written in place.", "Gparam/s",
		func(o *op) bool { return o.inPlace && o.moved > 4 }},
	{"losses", "Buffers are read into others, and a sum is taken.", "Gelement/s",
		func(o *op) bool { return !o.inPlace && o.moved > 8 }},
	{"functions", "A buffer is read into another.", "Gelement/s",
		func(o *op) bool { return !o.inPlace && o.moved == 8 }},
	{"sums and matrices", "A buffer is read, and little is written.", "Gelement/s",
		func(o *op) bool { return o.moved == 4 }},
}

// sizes has charts of each table's kernels.
func (r *Report) sizes() report.Section {
	s := report.Section{
		Title: "Speed over size",
		Text:  "A table is the kernels for one instruction set. Lines fall where the buffers outgrow a cache.",
	}
	for _, isa := range r.tables(r.Speed.Figures) {
		for _, f := range families {
			styles := newPalette()
			if f.title == "updates" {
				styles = newPalette(optimizers...)
			}
			c := report.Chart{
				Title:   tableName(isa) + ": " + f.title,
				Caption: f.caption,
				X:       report.Axis{Label: "elements of each buffer", Scale: report.Binary},
				Y:       report.Axis{Label: f.unit, Scale: report.Decimal},
			}
			for k := range ops {
				if f.has(&ops[k]) {
					c.Series = append(c.Series, report.Series{
						Name:   ops[k].name,
						Points: points(byTable(r.Speed.of(ops[k].name), isa), func(f Figure) float64 { return float64(f.N) }, func(f Figure) float64 { return f.GParamps }),
						Style:  styles.of(ops[k].name),
					})
				}
			}
			s.Charts = append(s.Charts, c)
		}
	}
	return s
}

// optimizers are families of names; Adam's is AdamW's too.
var optimizers = []string{"SGD", "Momentum", "Nesterov", "AdaGrad", "Adam", "AMSGrad"}

// opOf is the op of a name, or nil.
func opOf(name string) *op {
	if k := slices.IndexFunc(ops, func(o op) bool { return o.name == name }); k >= 0 {
		return &ops[k]
	}
	return nil
}

// workingSet is the bytes of all buffers.
func (f Figure) workingSet() float64 {
	if o := opOf(f.Kernel); o != nil {
		return float64(4 * o.buffers * f.N)
	}
	return float64(f.Bytes)
}

// of are the figures of a kernel.
func (s *Speed) of(kernel string) []Figure {
	return slices.DeleteFunc(slices.Clone(s.Figures), func(f Figure) bool { return f.Kernel != kernel })
}

func byTable(list []Figure, isa string) []Figure {
	return slices.DeleteFunc(slices.Clone(list), func(f Figure) bool { return f.Table != isa })
}

// tables are the tables of figures, the one in use first, the others as the
// machine lists them.
func (r *Report) tables(list []Figure) []string {
	var isas []string
	for _, f := range list {
		if !slices.Contains(isas, f.Table) {
			isas = append(isas, f.Table)
		}
	}
	if r.Machine != nil {
		place := func(isa string) int {
			if isa == r.Machine.Table {
				return -1
			}
			return slices.IndexFunc(r.Machine.Tables, func(s kernels.Status) bool { return s.ISA == isa })
		}
		slices.SortStableFunc(isas, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	}
	return isas
}

// points are in the order of x, whatever that of the figures.
func points[T any](list []T, x, y func(T) float64) []report.Point {
	var points []report.Point
	for _, f := range list {
		points = append(points, report.Point{X: x(f), Y: y(f)})
	}
	slices.SortStableFunc(points, func(a, b report.Point) int { return cmp.Compare(a.X, b.X) })
	return points
}

// workersSection is the claims that are charted.
const workersSection = "Workers"

// workers charts how much workers bring.
func (s *Speed) workers() report.Section {
	cases := map[string]map[int][]Claim{}
	var names []string
	most := 0
	for _, c := range s.Claims {
		if c.Section != workersSection {
			continue
		}
		if cases[c.Case] == nil {
			cases[c.Case] = map[int][]Claim{}
			names = append(names, c.Case)
		}
		cases[c.Case][c.Workers] = append(cases[c.Case][c.Workers], c)
		most = max(most, c.Workers)
	}
	parameters := report.Axis{Label: "parameters", Scale: report.Binary}
	times := report.Chart{
		Title:   "Times one worker, by size",
		Caption: "Above 1 the workers are faster than one alone.",
		X:       parameters,
		Y:       report.Axis{Label: "times one worker", Least: .5, Most: float64(most)},
	}
	speeds := report.Chart{
		Title:   "Speed, by size",
		Caption: "The speed of one worker is measured in turn with that of several.",
		X:       parameters,
		Y:       report.Axis{Label: "Gparam/s", Scale: report.Decimal},
	}
	scaling := report.Chart{
		Title:   "Times one worker, by workers",
		Caption: "A line for each number of parameters.",
		X:       report.Axis{Label: "workers"},
		Y:       report.Axis{Label: "times one worker", Least: 1},
	}
	n := func(c Claim) float64 { return float64(c.N) }
	styles, counts, sizes := newPalette(), newPalette(), newPalette()
	for _, name := range names {
		one := map[int]Claim{}
		for _, k := range slices.Sorted(maps.Keys(cases[name])) {
			list := cases[name][k]
			label := fmt.Sprintf("%s, %d workers", name, k)
			times.Series = append(times.Series, report.Series{Name: label, Style: styles.of(label),
				Points: points(list, n, func(c Claim) float64 { return c.speedup() })})
			speeds.Series = append(speeds.Series, report.Series{Name: label, Style: counts.of(label),
				Points: points(list, n, func(c Claim) float64 { return n(c) / c.Time.Median / 1e9 })})
			for _, c := range list {
				one[c.N] = c
			}
		}
		label := name + ", one worker"
		speeds.Series = append(speeds.Series, report.Series{Name: label, Style: report.Style{Colour: report.Ink},
			Points: points(slices.Collect(maps.Values(one)), n, func(c Claim) float64 { return n(c) / c.Other.Median / 1e9 })})

		for _, size := range slices.Sorted(maps.Keys(one)) {
			line := []report.Point{{X: 1, Y: 1}}
			for _, k := range slices.Sorted(maps.Keys(cases[name])) {
				for _, c := range cases[name][k] {
					if c.N == size && k > 1 {
						line = append(line, report.Point{X: float64(k), Y: c.speedup()})
					}
				}
			}
			label := name + " of " + count(size)
			scaling.Series = append(scaling.Series, report.Series{Name: label, Points: line, Style: sizes.of(label)})
		}
	}
	// Where two workers are all that there are, a line over them has two points.
	section := report.Section{
		Title:  workersSection,
		Text:   "One step, shared by several workers; parts are taken by whoever is free.",
		Charts: []report.Chart{times, speeds},
	}
	if most > 2 {
		section.Charts = append(section.Charts, scaling)
	}
	return section
}

// speedup is how many times as fast as the other it is.
func (c *Claim) speedup() float64 {
	if c.Time.Median == 0 {
		return math.NaN()
	}
	return c.Other.Median / c.Time.Median
}

// curves charts training.
func (t *Train) curves() report.Section {
	s := report.Section{
		Title: "Loss curves",
		Text: "Linear models of real data. The gap is that of the loss to its optimum, relative to the optimum, which is known from float64. " +
			"What is less than the least number of the axis is drawn there: float32 allows little less.",
	}
	styles := newPalette(optimizers...)
	for _, runs := range t.byProblem() {
		c := report.Chart{
			Title:   runs[0].Problem,
			Caption: fmt.Sprintf("Optimum %.7g; whole batches of %d rows but where it says otherwise.", runs[0].Optimum, runs[0].Batch),
			X:       report.Axis{Label: "epochs", Scale: report.Epochs},
			Y:       report.Axis{Label: "relative gap to the optimum", Scale: report.Decimal, Least: math.Pow(10, leastDecade)},
		}
		for _, r := range runs {
			style := styles.of(r.Optimizer)
			style.Bare = true
			c.Series = append(c.Series, report.Series{
				Name:  r.Optimizer,
				Style: style,
				Points: points(r.Curve, func(p Point) float64 { return float64(p.Epoch) },
					func(p Point) float64 { return max(math.Pow(10, leastDecade), (p.Loss-r.Optimum)/r.Optimum) }),
			})
		}
		s.Charts = append(s.Charts, c)
	}
	return s
}

// byProblem are the runs in their groups.
func (t *Train) byProblem() [][]*Run {
	var groups [][]*Run
	for _, r := range t.Runs {
		if n := len(groups); n > 0 && groups[n-1][0].Problem == r.Problem {
			groups[n-1] = append(groups[n-1], r)
			continue
		}
		groups = append(groups, []*Run{r})
	}
	return groups
}

func (m *Machine) name() string {
	if m.CPU == "" {
		return "a CPU that does not tell its name"
	}
	return m.CPU
}

func (m *Machine) section() report.Section {
	t := report.Table{Caption: "Tables of kernels", Head: []string{"table", "state", "asks for", "lacks here"}}
	for _, s := range m.Tables {
		state, lacks := report.Text("can run"), "nothing"
		if s.Active {
			state = report.Verdict(true, "in use", "")
		}
		if len(s.Missing) > 0 {
			state, lacks = report.Text("cannot run"), strings.Join(s.Missing, ", ")
		}
		requires := strings.Join(s.Requires, ", ")
		if requires == "" {
			requires = "Go alone: the reference"
		}
		t.Rows = append(t.Rows, []report.Cell{report.Text(s.ISA), state, report.Text(requires), report.Text(lacks)})
	}
	return report.Section{
		Title: "Machine",
		Facts: []report.Fact{
			{Name: "CPU", Value: report.Text(m.name())},
			{Name: "Cores", Value: report.Textf("%d for this program", m.Cores)},
			{Name: "Caches", Value: report.Textf("L1 %s, L2 %s, L3 %s", bytesOf(m.L1), bytesOf(m.L2), bytesOf(m.L3))},
			{Name: "System", Value: report.Text(m.System + ", " + m.Go)},
			{Name: "Features", Value: report.Text(strings.Join(m.Features, " "))},
			{Name: "Kernels", Value: report.Text(m.Info)},
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
	s := report.Section{Title: "Claims"}
	goals, reached := 0, 0
	for _, c := range list {
		n := len(s.Tables)
		if n == 0 || s.Tables[n-1].Caption != c.Section {
			s.Tables = append(s.Tables, report.Table{
				Caption: c.Section,
				Head:    []string{"case", "parameters", "workers", "time", "beside", "its time", "ratio", "goal", "result"},
				Numbers: []int{1, 2, 3, 5, 6, 7},
			})
			n++
		}
		goal, result := "none", report.Text("")
		if c.Goal > 0 {
			most := "≤"
			if c.Speedup {
				most = "≥"
			}
			goal, result = fmt.Sprintf("%s %.2f", most, c.Goal), report.Verdict(c.OK(), "reached", "missed")
			goals++
			if c.OK() {
				reached++
			}
		}
		t := &s.Tables[n-1]
		t.Rows = append(t.Rows, append(texts(c.Case, count(c.N), fmt.Sprint(c.Workers), duration(c.Time), c.Beside, duration(c.Other),
			fmt.Sprintf("%.2f", c.Ratio), goal), result))
	}
	s.Text = fmt.Sprintf("%d of %d goals are reached. Each claim is measured in turn with what it is beside; the ratio is of the times, "+
		"or the speed-up where the goal is a least one.", reached, goals)
	return s
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
			{Name: "Longest until all had stopped", Value: report.Verdict(p.OK, fmt.Sprintf("%.2f ms: ok", 1e3*p.Worst), fmt.Sprintf("%.2f ms: FAILED", 1e3*p.Worst))},
			{Name: "Bound", Value: report.Textf("%.0f ms", 1e3*p.Bound)},
		},
	}
}

func (t *Train) section() report.Section {
	s := report.Section{Title: "Training", Text: "Where every optimizer ended."}
	example := report.Table{
		Caption: "The text's example: x = 1, 2, 3, y = 2, 4, 6, the mean of (wx - y)², w from 1, 1000 steps",
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
	return s
}

func (s *Speed) section() report.Section {
	t := report.Table{
		Head:    []string{"kernel", "table", "size", "elements", "time", "spread", "GB/s", "Gelement/s", "of the limit", "times Go"},
		Numbers: []int{3, 4, 5, 6, 7, 8, 9},
	}
	for _, f := range s.Figures {
		limit, mark := "none", ""
		if f.OfLimit > 0 {
			limit = fmt.Sprintf("%.0f %%", 100*f.OfLimit)
		}
		if !f.Tuned {
			mark = " r"
		}
		t.Rows = append(t.Rows, texts(f.Kernel, f.Table, f.Size, fmt.Sprint(f.N), duration(f.Time), fmt.Sprintf("%.0f %%", 100*f.Time.Spread()),
			fmt.Sprintf("%.1f", f.GBps), fmt.Sprintf("%.2f", f.GParamps), limit, fmt.Sprintf("%.1f%s", f.TimesGo, mark)))
	}
	return report.Section{
		Title: "All figures",
		Text: fmt.Sprintf("Medians of %d rounds. \"spread\" is the distance of the quartiles; \"of the limit\" the speed beside the same loads and stores without arithmetic; "+
			"\"times Go\" the speed beside the tuned Go loop, or beside the reference where that is marked r.", s.Rounds),
		Tables: []report.Table{t},
	}
}
