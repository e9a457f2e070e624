package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

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
		Text: "The roof is the fastest that the same loads and stores were seen to be, by a kernel without arithmetic " +
			"or by one with it, of the table named with it: what lies between is the price of computing. Dotted lines are the sizes of the caches.",
	}
	for _, name := range rooflines {
		if figures := r.Speed.of(name); len(figures) > 0 {
			s.Charts = append(s.Charts, r.roofline(name, figures))
		}
	}
	return s
}

func (r *Report) roofline(name string, figures []Figure) report.Chart {
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
	isas, styles := r.tables(figures), tableStyles()
	add := func(name, isa string, style report.Style, of func(f Figure) Time) {
		c.Series = append(c.Series, report.Series{Name: name, Style: style, Points: points(byTable(figures, isa), Figure.workingSet,
			func(f Figure) float64 { return float64(f.Bytes) / of(f).Median / 1e9 })})
	}
	if k := slices.IndexFunc(isas, func(isa string) bool {
		return slices.ContainsFunc(byTable(figures, isa), func(f Figure) bool { return f.OfLimit > 0 })
	}); k >= 0 {
		add("roof ("+isas[k]+")", isas[k], report.Style{Colour: report.Ink, Bare: true, Wide: true}, func(f Figure) Time { return f.Limit })
	}
	for _, isa := range isas {
		add(tableName(isa), isa, styles.of(isa), func(f Figure) Time { return f.Time })
	}
	if figures[0].Tuned {
		add(tuned, isas[0], styles.of(tuned), func(f Figure) Time { return f.Go })
	}
	return c
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
		func(o *op) bool { return converts(o) || !o.inPlace && o.moved == 8 && o.limit != nil }},
	{"sums and matrices", "A buffer or two are read, and little is written.", "Gelement/s",
		func(o *op) bool {
			return o.moved == 4 || !o.inPlace && o.moved == 8 && o.limit == nil && !converts(o)
		}},
}

// converts reports whether a kernel makes elements of one type of those of another.
func converts(o *op) bool {
	return slices.Contains([]string{widened.name, narrowed.name, widenedTwo.name, narrowedTwo.name,
		quantized.name, dequantized.name, quantizedBF16.name}, o.pattern.name)
}

// sizes has charts of each table's kernels.
func (r *Report) sizes() report.Section {
	s := report.Section{
		Title: "Speed over size",
		Text:  "A table is the kernels for one instruction set. Lines fall where the buffers outgrow a cache.",
	}
	for _, isa := range r.tables(r.Speed.Figures) {
		for _, f := range families {
			s.Charts = append(s.Charts, r.Speed.family(isa, f))
		}
	}
	return s
}

func (s *Speed) family(isa string, f family) report.Chart {
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
				Points: points(byTable(s.of(ops[k].name), isa), func(f Figure) float64 { return float64(f.N) }, func(f Figure) float64 { return f.GParamps }),
				Style:  styles.of(ops[k].name),
			})
		}
	}
	return c
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

// workersSection is the claims that are charted, beside one worker and beside what the
// memory allows.
const (
	workersSection = "Workers"
	besideOne      = "one worker"
	besideBare     = "the same reads and writes by as many"
)

// workers charts how much workers bring.
func (s *Speed) workers() report.Section {
	times := report.Chart{
		Title:   "Times one worker, by size",
		Caption: "Above 1 the workers are faster than one alone. Reads and writes alone show what the memory allows.",
		X:       report.Axis{Label: "parameters", Scale: report.Binary},
		Y:       report.Axis{Label: "times one", Least: .5, Most: 2},
	}
	speeds := report.Chart{
		Title:   "Speed, by size",
		Caption: "The speed of one worker is measured in turn with that of several.",
		X:       report.Axis{Label: "parameters", Scale: report.Binary},
		Y:       report.Axis{Label: "Gparam/s", Scale: report.Decimal},
	}
	styles := newPalette()
	for _, list := range s.workersCases() {
		c := list[0]
		style := styles.of(c.Case)
		label := fmt.Sprintf("%s, %d workers", c.Case, c.Workers)
		times.Y.Most = max(times.Y.Most, float64(c.Workers))
		times.Series = append(times.Series, workersLine(label, style, list, func(c Claim) float64 { return c.speedup() }))
		speeds.Series = append(speeds.Series, workersLine(label, style, list, func(c Claim) float64 { return float64(c.N) / c.Time.Median / 1e9 }))
		style.Dash++
		speeds.Series = append(speeds.Series, workersLine(fmt.Sprintf("%s, one, beside %d", c.Case, c.Workers), style, list,
			func(c Claim) float64 { return float64(c.N) / c.Other.Median / 1e9 }))
	}
	return report.Section{
		Title:  workersSection,
		Text:   "One step, shared by several workers; parts are taken by whoever is free.",
		Charts: []report.Chart{times, speeds},
	}
}

// workersCases are the claims beside one worker, a list for each case and number of
// workers.
func (s *Speed) workersCases() [][]Claim {
	list := slices.DeleteFunc(slices.Clone(s.Claims), func(c Claim) bool { return c.Section != workersSection || c.Beside != besideOne })
	slices.SortStableFunc(list, func(a, b Claim) int { return cmp.Or(cmp.Compare(a.Case, b.Case), cmp.Compare(a.Workers, b.Workers)) })
	return groups(list, func(c Claim) string { return fmt.Sprint(c.Case, c.Workers) })
}

func workersLine(name string, style report.Style, list []Claim, y func(c Claim) float64) report.Series {
	return report.Series{Name: name, Style: style, Points: points(list, func(c Claim) float64 { return float64(c.N) }, y)}
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
	for _, runs := range byNetworkProblem(t.Networks) {
		s.Charts = append(s.Charts, networkChart(runs))
	}
	return s
}

func networkChart(runs []*NetworkRun) report.Chart {
	c := report.Chart{
		Title:   runs[0].Problem,
		Caption: networkText(runs[0].Problem),
		X:       report.Axis{Label: "epochs", Scale: report.Epochs},
		Y:       report.Axis{Label: "mean loss of the epoch's batches", Scale: report.Decimal, Least: 1e-3},
	}
	var names []string
	for _, r := range runs {
		names = append(names, r.Model+", "+r.Types)
	}
	styles := newPalette(names...)
	for k, r := range runs {
		series := report.Series{Name: names[k], Style: styles.of(names[k])}
		series.Style.Bare = true
		for epoch, p := range r.Curve {
			series.Points = append(series.Points, report.Point{X: float64(epoch + 1), Y: p.Loss})
		}
		c.Series = append(c.Series, series)
	}
	return c
}

func (s *Speed) section() report.Section {
	t := report.Table{
		Head:    []string{"kernel", "table", "size", "elements", "time", "spread", "GB/s", "Gelement/s", "of limit", "x Go"},
		Numbers: []int{3, 4, 5, 6, 7, 8, 9},
	}
	for _, f := range s.Figures {
		t.Rows = append(t.Rows, texts(f.Kernel, f.Table, f.Size, fmt.Sprint(f.N), duration(f.Time), percent(f.Time.Spread()),
			fmt.Sprintf("%.1f", f.GBps), fmt.Sprintf("%.2f", f.GParamps), f.ofLimit(), strings.TrimSpace(f.timesGo())))
	}
	return report.Section{Title: "All figures", Text: s.legend(), Tables: []report.Table{t}}
}
