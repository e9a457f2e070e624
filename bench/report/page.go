// Package report writes charts and tables as one HTML page that needs nothing
// beside it: no script, no font, no file and no network. It knows nothing about
// kernels.
//
// A chart is drawn once, as an SVG without colours of its own, and the page
// colours it for a light or a dark background. Text in it has the metrics of
// Liberation Sans, which are those of Arial and Helvetica, so that labels end
// where the drawing has room for them without a font being sent along.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// A Page is sections under a title.
type Page struct {
	Title    string
	Lead     string
	Verdict  Cell
	Sections []Section
}

// A Section is charts and what is to be said of them. One without content is
// left out.
type Section struct {
	Title  string
	Text   string
	Facts  []Fact
	Charts []Chart
	Tables []Table
}

// A Fact is a line of what is the case.
type Fact struct {
	Name  string
	Value Cell
}

// A Table is rows under a head. Columns of numbers are aligned to the right.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]Cell
	Numbers []int // columns, counted from 0
}

// A Cell is text, good or bad where it is a verdict.
type Cell struct {
	Text      string
	Good, Bad bool
}

// Text is a cell of text.
func Text(s string) Cell { return Cell{Text: s} }

// Textf is a cell of formatted text.
func Textf(format string, a ...any) Cell { return Text(fmt.Sprintf(format, a...)) }

// Verdict is a cell with one text or the other.
func Verdict(ok bool, good, bad string) Cell {
	if ok {
		return Cell{Text: good, Good: true}
	}
	return Cell{Text: bad, Bad: true}
}

//go:embed page.html.tmpl
var source string

var page = template.Must(template.New("page").Parse(source))

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	v := pageView{Page: p}
	for _, s := range p.Sections {
		sv := sectionView{Section: s, ID: id(s.Title)}
		for _, c := range s.Charts {
			cv, ok, err := view(c)
			if err != nil {
				return err
			}
			if ok {
				sv.Charts = append(sv.Charts, cv)
			}
		}
		for _, t := range s.Tables {
			if len(t.Rows) > 0 {
				sv.Tables = append(sv.Tables, tableView{t})
			}
		}
		if len(sv.Charts)+len(sv.Tables)+len(sv.Facts) > 0 {
			v.Sections = append(v.Sections, sv)
		}
	}
	return page.Execute(w, v)
}

// The views are what the template is given: the parts of a page that have
// content, drawn.
type (
	pageView struct {
		*Page
		Sections []sectionView
	}
	sectionView struct {
		Section
		ID     string
		Charts []chartView
		Tables []tableView
	}
	chartView struct {
		Title, Caption string
		SVG            template.HTML
		Legend         []legend
	}
	legend struct {
		Name   string
		Swatch template.HTML
	}
	tableView struct{ Table }
)

func view(c Chart) (v chartView, ok bool, err error) {
	c, ok = c.drawn()
	if !ok {
		return v, false, nil
	}
	v.Title, v.Caption = c.Title, c.Caption
	if v.SVG, err = c.svg(); err != nil {
		return v, false, err
	}
	for _, s := range c.Series {
		swatch, err := s.swatch()
		if err != nil {
			return v, false, err
		}
		v.Legend = append(v.Legend, legend{s.Name, swatch})
	}
	return v, true, nil
}

// Number reports whether a column is one of numbers.
func (t tableView) Number(column int) bool {
	for _, k := range t.Numbers {
		if k == column {
			return true
		}
	}
	return false
}

// id is a title as the target of a link.
func id(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(title))
}
