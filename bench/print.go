package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

func heading(w io.Writer, title string) {
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("=", len(title)))
}

// newTable returns a table with a head.
func newTable(head ...string) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Format.Header = text.FormatDefault
	var row table.Row
	for _, h := range head {
		row = append(row, h)
	}
	t.AppendHeader(row)
	return t
}

// rightFrom aligns the columns from the k-th to the last one, counted from 1, to
// the right.
func rightFrom(t table.Writer, k, columns int) {
	var list []int
	for ; k <= columns; k++ {
		list = append(list, k)
	}
	alignRight(t, list...)
}

// alignRight aligns columns, counted from 1, to the right.
func alignRight(t table.Writer, columns ...int) {
	var list []table.ColumnConfig
	for _, k := range columns {
		list = append(list, table.ColumnConfig{Number: k, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(list)
}

// terminal reports whether a file is a terminal, which colours and a moving bar
// are for.
func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// progress returns a bar on a terminal and one that is not seen elsewhere.
func progress(steps int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps,
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(terminal(os.Stderr)),
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

// wrap breaks a paragraph into lines.
func wrap(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for k, line := range lines {
		lines[k] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}
