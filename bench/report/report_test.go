package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
)

// write renders a page and checks what holds of every page: it is well formed,
// asks for nothing beside it, and leaves all colours to the style sheet.
func write(t *testing.T, p *Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
	}
	rest := strings.ReplaceAll(s, `xmlns="http://www.w3.org/2000/svg"`, "")
	for _, outside := range []string{"http:", "https:", "url(", "@import", "<script", "<link", "src=", "xlink", "<image"} {
		if strings.Contains(rest, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	for _, svg := range svgs(s) {
		if m := regexp.MustCompile(`#[0-9A-Fa-f]{3,6}\b|font-family|NaN|Inf\b`).FindString(svg); m != "" {
			t.Errorf("a drawing has %q", m)
		}
		for _, use := range regexp.MustCompile(`var\((--\w+)\)`).FindAllStringSubmatch(svg, -1) {
			if strings.Count(s, use[1]+":") != 2 {
				t.Errorf("the style sheet has %s %d times, want once for light and once for dark", use[1], strings.Count(s, use[1]+":"))
			}
		}
	}
	return s
}

func svgs(page string) []string {
	return regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
}

func lines() Chart {
	c := Chart{
		Title: "A & B",
		X:     Axis{Label: "size", Scale: Binary, Unit: "B"},
		Y:     Axis{Label: "GB/s", Scale: Decimal},
		Marks: []Mark{{5000, "L1"}, {1e9, "beyond"}},
	}
	for k := range 12 {
		name := "series " + string(rune('a'+k))
		c.Series = append(c.Series, Series{Name: name, Style: Style{Colour: First + Colour(k), Dash: k, Bare: k == 0},
			Points: []Point{{1 << 10, float64(k + 1)}, {1 << 16, float64(k + 2)}}})
	}
	return c
}

func TestPage(t *testing.T) {
	s := write(t, &Page{
		Title: "<title>", Lead: "lead", Verdict: Verdict(false, "ok", "FAILED"),
		Sections: []Section{
			{Title: "Charts", Text: "1 < 2", Charts: []Chart{lines()}},
			{Title: "Tables", Tables: []Table{{Caption: `"quoted"`, Head: []string{"a", "b"}, Numbers: []int{1},
				Rows: [][]Cell{{Text("<b>x</b>"), Textf("%d", 7)}, {Text("y"), Verdict(true, "reached", "missed")}}}}},
			{Title: "Nothing", Text: "is left out", Charts: []Chart{{Title: "empty"}}, Tables: []Table{{Head: []string{"x"}}}},
		},
	})
	for _, want := range []string{"&lt;title&gt;", `class="bad">FAILED`, `class="good">reached`, "1 &lt; 2", "&lt;b&gt;x", `class="n">7`,
		"series a", "series l", `aria-label="A &amp; B: GB/s over size"`, ">L1<", ">GB/s<", "KiB<", `href="#charts"`, `id="charts"`} {
		if !strings.Contains(s, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, unwanted := range []string{"beyond", "Nothing", "is left out"} {
		if strings.Contains(s, unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
	if n := len(svgs(s)); n != 13 {
		t.Errorf("%d drawings, want a chart and 12 swatches", n)
	}
}

// TestInside looks whether labels and lines stay in the drawing.
func TestInside(t *testing.T) {
	svg, err := lines().svg()
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`[ML]([\d.e+-]+),([\d.e+-]+)|<text x="([\d.e+-]+)" y="([\d.e+-]+)"`)
	places := number.FindAllStringSubmatch(string(svg), -1)
	if len(places) < 50 {
		t.Fatalf("%d places", len(places))
	}
	for _, p := range places {
		x, y := p[1]+p[3], strings.TrimPrefix(p[2]+p[4], "-")
		if !between(x, width) || !between(y, height) {
			t.Errorf("%s is outside", p[0])
		}
	}
}

func between(s string, most float64) bool {
	var v float64
	if err := xml.Unmarshal([]byte("<v>"+s+"</v>"), &v); err != nil {
		return false
	}
	return 0 <= v && v <= most
}

// TestOddPoints draws what has no place on an axis, and as good as no range.
func TestOddPoints(t *testing.T) {
	odd := []Point{{0, 1}, {-1, 1}, {1, math.NaN()}, {1, math.Inf(1)}, {1, 0}, {math.MaxFloat64, 1}, {1, math.SmallestNonzeroFloat64}}
	for _, scale := range []Scale{Linear, Decimal, Binary, Epochs} {
		for _, at := range []float64{1, 1e-250, 1e250, 12345} {
			c := Chart{Title: "odd", X: Axis{Scale: scale}, Y: Axis{Scale: Decimal}}
			c.Series = []Series{{Name: "one", Points: append([]Point{{at, 3}}, odd...)}, {Name: "none", Points: []Point{{1, math.NaN()}}}}
			s := write(t, &Page{Sections: []Section{{Title: "odd", Charts: []Chart{c}}}})
			if !strings.Contains(s, "</svg>one") || strings.Contains(s, "</svg>none") {
				t.Errorf("scale %d at %g: the legend is not that of the series with points", scale, at)
			}
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		scale       Scale
		least, most float64
		numbers     int
		want        string
	}{
		{Linear, .5, 2, 6, "0.5|1|1.5|2"},
		{Linear, 0, .31, 6, "0|0.1|0.2|0.3"},
		{Linear, .97, 4.1, 5, "1|2|3|4"},
		{Linear, 0, 4e6, 6, "0|10⁶|2·10⁶|3·10⁶|4·10⁶"},
		{Decimal, 7, 260, 6, "10|20|50|100|200"},
		{Decimal, 1.2, 2.6, 6, "1.5|2|2.5"},
		{Decimal, .6, 2.6, 6, "0.7|1|1.5|2"},
		{Decimal, .02, 20, 6, "0.03|0.1|0.3|1|3|10"},
		{Decimal, .9e-8, 11, 6, "10⁻⁸|10⁻⁶|10⁻⁴|10⁻²|1"},
		{Binary, 1 << 10, 16 << 20, 5, "4 Ki|32 Ki|256 Ki|2 Mi|16 Mi"},
		{Binary, 16, 2 << 30, 5, "64|4 Ki|256 Ki|16 Mi|1 Gi"},
		{Epochs, 0, 4000, 5, "0|1|10|100|1000"},
	} {
		var got []string
		for _, tick := range c.scale.ticks(span{c.least, c.most}, c.numbers) {
			got = append(got, strings.TrimSpace(tick.Label))
			if tick.Value < c.least || tick.Value > c.most {
				t.Errorf("%+v: %+v is out of range", c, tick)
			}
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%+v: got %s", c, s)
		}
	}
}
