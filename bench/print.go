package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A screen is what is printed to: so many columns wide, with colours or without.
type screen struct {
	io.Writer
	width   int
	colours bool
}

// plainWidth is the width of what is no terminal.
const plainWidth = 80

// newScreen asks the terminal, if the file is one, and the environment, which may know
// better: COLUMNS, NO_COLOR and TERM=dumb.
func newScreen(f *os.File) *screen {
	s := &screen{Writer: f, width: plainWidth, colours: moving(f) && os.Getenv("NO_COLOR") == ""}
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		s.width = columns
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		s.width = columns
	}
	s.width = min(max(s.width, 40), 120) // less is no room for tables, more none for eyes
	return s
}

// moving reports whether a file is a terminal that understands more than text.
func moving(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

func (s *screen) heading(title string) {
	fmt.Fprintf(s, "\n%s\n%s\n", s.wrap(title), strings.Repeat("=", min(s.width, text.StringWidth(title))))
}

// paragraph prints text in lines of the screen's width.
func (s *screen) paragraph(format string, a ...any) {
	fmt.Fprintln(s, s.wrap(fmt.Sprintf(format, a...)))
}

// wrap breaks the lines of a text into shorter ones.
func (s *screen) wrap(text string) string { return wrapCell(text, s.width) }

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for k, line := range lines {
		lines[k] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// A grid is a table of text, as wide as its cells or as the screen.
type grid struct {
	head    []string
	rows    [][]string
	numbers []int // columns, counted from 0, that are aligned to the right
}

func newGrid(head ...string) *grid { return &grid{head: head} }

func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

// without leaves a column out whose cells are all the same, and returns what they are.
func (g *grid) without(name string) (same string) {
	k := slices.Index(g.head, name)
	for _, r := range g.rows {
		if r[k] != g.rows[0][k] {
			return ""
		}
	}
	if len(g.rows) == 0 {
		return ""
	}
	same = g.rows[0][k]
	g.head = slices.Delete(slices.Clone(g.head), k, k+1)
	for i := range g.rows {
		g.rows[i] = slices.Delete(g.rows[i], k, k+1)
	}
	g.numbers = slices.DeleteFunc(g.numbers, func(n int) bool { return n == k })
	for i, n := range g.numbers {
		if n > k {
			g.numbers[i]--
		}
	}
	return same
}

const gap = "  " // between columns

// print breaks the cells of the widest columns into lines until the table fits.
func (s *screen) print(g *grid) {
	t := table.NewWriter()
	t.SetStyle(gridStyle())
	t.AppendHeader(row(g.head))
	for _, r := range g.rows {
		t.AppendRow(row(r))
	}
	var columns []table.ColumnConfig
	for k, w := range g.widths(s.width) {
		c := table.ColumnConfig{Number: k + 1, WidthMax: w, WidthMaxEnforcer: wrapCell}
		if slices.Contains(g.numbers, k) {
			c.Align, c.AlignHeader = text.AlignRight, text.AlignRight
		}
		columns = append(columns, c)
	}
	t.SetColumnConfigs(columns)
	fmt.Fprintln(s, trimLines(t.Render()))
}

func gridStyle() table.Style {
	style := table.StyleLight
	style.Options.DrawBorder, style.Options.SeparateColumns = false, false
	style.Box.PaddingLeft, style.Box.PaddingRight = "", gap
	style.Format.Header, style.Format.HeaderVAlign = text.FormatDefault, text.VAlignBottom
	return style
}

func row(cells []string) table.Row {
	var r table.Row
	for _, c := range cells {
		r = append(r, c)
	}
	return r
}

// wrapCell breaks between words, and a word that is longer than a line.
func wrapCell(cell string, width int) string {
	var lines []string
	for _, line := range strings.Split(cell, "\n") {
		lines = append(lines, text.WrapSoft(line, width))
	}
	return trimLines(strings.Join(lines, "\n"))
}

// widths are those of the columns in a line of so many.
func (g *grid) widths(line int) []int {
	list := make([]int, len(g.head))
	total := len(gap) * len(list)
	for k := range list {
		for _, r := range append([][]string{g.head}, g.rows...) {
			list[k] = max(list[k], text.LongestLineLen(r[k]))
		}
		total += list[k]
	}
	for ; total > line; total-- {
		widest := 0
		for k := range list {
			if list[k] > list[widest] {
				widest = k
			}
		}
		list[widest]--
	}
	return list
}

// progress returns a bar on a terminal and one that is not seen elsewhere.
func progress(steps int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps,
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(moving(os.Stderr)),
		progressbar.OptionSetWidth(40),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// bytesOf writes a size in binary units.
func bytesOf(n int) string {
	if n <= 0 {
		return "unknown"
	}
	if s := count(n); strings.HasSuffix(s, "i") {
		return s + "B"
	}
	return fmt.Sprintf("%d B", n)
}

// count writes a number in binary units where it is a whole one of them.
func count(n int) string {
	for _, u := range []struct {
		name string
		size int
	}{{"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return strconv.Itoa(n)
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}
