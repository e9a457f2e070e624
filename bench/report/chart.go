package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Chart is lines over a common axis.
type Chart struct {
	Title   string
	Caption string
	X, Y    Axis
	Series  []Series
	Marks   []Mark
}

// An Axis is how numbers become places. Its range is that of the points, and
// wide enough for Least and Most unless those are 0.
type Axis struct {
	Label       string
	Scale       Scale
	Unit        string // after the numbers at the axis
	Least, Most float64
}

// Series are points in the order of x.
type Series struct {
	Name   string
	Points []Point
	Style  Style
}

// A Point is a place in a chart. Those that a scale has no place for are left
// out.
type Point struct{ X, Y float64 }

// A Mark is a place on the x axis with a name.
type Mark struct {
	X    float64
	Name string
}

// A Style tells series apart, by more than the colour.
type Style struct {
	Colour Colour
	Dash   int  // 0 is none
	Bare   bool // without a symbol at each point
	Wide   bool
}

// A Colour is a place in the palette of the page, which has one for a light and
// one for a dark background.
type Colour int

// Ink is the colour of text, Faint that of what stands back. The others follow.
const (
	Ink Colour = iota
	Faint
	grid
	First
)

// Colours is how many there are from First on.
const Colours = 8

// variable is the name of the colour in the page's style sheet.
func (c Colour) variable() string {
	switch c {
	case Ink:
		return "ink"
	case Faint:
		return "faint"
	case grid:
		return "grid"
	}
	return fmt.Sprintf("c%d", int(c-First)%Colours+1)
}

// A drawing is coloured in numbers that stand for places in the palette: the
// canvas knows no style sheet. They are the only colours that it is given.
func (c Colour) standIn() color.Color {
	return color.NRGBA{uint8(c), standInG, standInB, 255}
}

const standInG, standInB = 0x5a, 0xa5

var standIns = regexp.MustCompile(fmt.Sprintf("#([0-9A-F]{2})%02X%02X", standInG, standInB))

// The size of a chart, in the units of its coordinates. On a phone these are a
// little smaller than a pixel, beside each other on a wide page a little larger.
const (
	width, height = 420, 290
	textSize      = 13.5
	row           = 19 // of text above or below the axes
)

var dashes = [][]vg.Length{nil, {6, 3}, {2, 2.5}, {9, 3, 2, 3}}

// symbols are filled: outlines are lost beside a line.
var symbols = []draw.GlyphDrawer{draw.CircleGlyph{}, polygon{4, 45}, polygon{3, 90}, polygon{4, 90}, polygon{3, -90},
	polygon{3, 0}, polygon{5, 90}, polygon{3, 180}}

// A polygon is a symbol: so many corners, the first at an angle in degrees.
type polygon struct {
	corners int
	from    float64
}

func (p polygon) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	// The fewer corners, the less of the circle around them is filled.
	radius := s.Radius * vg.Length(1+.9/float64(p.corners))
	var points []vg.Point
	for k := range p.corners {
		sin, cos := math.Sincos(p.from*math.Pi/180 + 2*math.Pi*float64(k)/float64(p.corners))
		points = append(points, vg.Point{X: at.X + radius*vg.Length(cos), Y: at.Y + radius*vg.Length(sin)})
	}
	c.FillPolygon(s.Color, points)
}

func (s Style) line() draw.LineStyle {
	l := draw.LineStyle{Color: s.Colour.standIn(), Width: 1.8, Dashes: dashes[s.Dash%len(dashes)]}
	if s.Wide {
		l.Width = 2.6
	}
	return l
}

func (s Style) symbol() draw.GlyphStyle {
	return draw.GlyphStyle{Color: s.Colour.standIn(), Radius: 3, Shape: symbols[max(0, int(s.Colour-First))%len(symbols)]}
}

// drawn is the chart with what it can show, and false if that is nothing.
func (c Chart) drawn() (Chart, bool) {
	var list []Series
	for _, s := range c.Series {
		var points []Point
		for _, p := range s.Points {
			if c.X.Scale.has(p.X) && c.Y.Scale.has(p.Y) {
				points = append(points, p)
			}
		}
		if len(points) > 0 {
			s.Points = points
			list = append(list, s)
		}
	}
	c.Series = list
	return c, len(list) > 0
}

// svg draws a chart that has points.
func (c Chart) svg() (template.HTML, error) {
	p := plot.New()
	p.BackgroundColor = nil
	x, y := c.ranges()
	c.X.apply(&p.X, x, 5)
	c.Y.apply(&p.Y, y, 6)
	p.Y.LineStyle.Width, p.Y.Tick.Length = 0, 0

	across := plotter.NewGrid()
	across.Vertical.Color = nil
	across.Horizontal = draw.LineStyle{Color: grid.standIn(), Width: .8}
	p.Add(across, marks(c.Marks))
	for _, s := range c.Series {
		points := make(plotter.XYs, len(s.Points))
		for i, at := range s.Points {
			points[i] = plotter.XY{X: at.X, Y: at.Y}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", c.Title, s.Name, err)
		}
		line.LineStyle = s.Style.line()
		p.Add(line)
		if s.Style.Bare {
			continue
		}
		symbols, err := plotter.NewScatter(points)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", c.Title, s.Name, err)
		}
		symbols.GlyphStyle = s.Style.symbol()
		p.Add(symbols)
	}
	// What is added widens the range by its own points.
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = x.least, x.most, y.least, y.most

	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	above := vg.Length(row + 3) // the uppermost number has its middle at the line
	if len(c.Marks) > 0 {
		above += row
	}
	axes := draw.Crop(whole, 0, 0, row, -above)
	p.Draw(axes)
	// The library's own labels cost room: it looks for them at the middle of the
	// numbers, which on a logarithmic axis is at its end.
	label := p.X.Tick.Label
	label.XAlign, label.YAlign = draw.XLeft, draw.YTop
	whole.FillText(label, vg.Point{X: 0, Y: height}, c.Y.Label)
	label.XAlign, label.YAlign = draw.XCenter, draw.YBottom
	data := p.DataCanvas(axes)
	whole.FillText(label, vg.Point{X: data.Center().X, Y: 4}, c.X.Label)
	return inline(canvas, c.Title+": "+c.Y.Label+" over "+c.X.Label)
}

// swatch draws what a legend shows of a series.
func (s Series) swatch() (template.HTML, error) {
	const w, h = 30, 12
	canvas := vgsvg.New(w, h)
	whole := draw.New(canvas)
	whole.StrokeLine2(s.Style.line(), 1, h/2, w-1, h/2)
	if !s.Style.Bare {
		whole.DrawGlyph(s.Style.symbol(), vg.Point{X: w / 2, Y: h / 2})
	}
	return inline(canvas, "")
}

// apply sets an axis of the plot up, with so many numbers at most.
func (a Axis) apply(to *plot.Axis, r span, numbers int) {
	style := draw.TextStyle{
		Color:   Ink.standIn(),
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize},
		XAlign:  to.Tick.Label.XAlign,
		YAlign:  to.Tick.Label.YAlign,
		Handler: to.Tick.Label.Handler,
	}
	to.Tick.Label = style
	to.Tick.LineStyle = draw.LineStyle{Color: Faint.standIn(), Width: 1}
	to.Tick.Length = 4
	to.LineStyle = to.Tick.LineStyle
	to.Padding = 0
	to.Scale = a.Scale.normalizer()
	var ticks []plot.Tick
	for _, t := range a.Scale.ticks(r, numbers) {
		t.Label = strings.TrimSpace(t.Label + a.Unit)
		ticks = append(ticks, t)
	}
	to.Tick.Marker = plot.ConstantTicks(ticks)
}

// ranges are what the axes span.
func (c Chart) ranges() (x, y span) {
	x, y = c.X.span(), c.Y.span()
	for _, s := range c.Series {
		for _, p := range s.Points {
			x.include(p.X)
			y.include(p.Y)
		}
	}
	return c.X.Scale.pad(x), c.Y.Scale.pad(y)
}

func (a Axis) span() span {
	s := nothing
	for _, v := range []float64{a.Least, a.Most} {
		if v != 0 {
			s.include(v)
		}
	}
	return s
}

// marks are vertical lines that have their names above the axes.
type marks []Mark

func (list marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	style := p.X.Tick.Label
	style.XAlign, style.YAlign = draw.XCenter, draw.YBottom
	style.Color = Faint.standIn()
	for _, m := range list {
		if m.X <= p.X.Min || m.X >= p.X.Max {
			continue
		}
		c.StrokeLine2(draw.LineStyle{Color: Faint.standIn(), Width: 1, Dashes: dashes[2]}, x(m.X), c.Min.Y, x(m.X), c.Max.Y)
		c.FillText(style, vg.Point{X: x(m.X), Y: c.Max.Y + 4}, m.Name)
	}
}

var (
	prologue = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)
	fonts    = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;?`)
	blanks   = regexp.MustCompile(`\s*\n\s*`)
)

// inline is a canvas as part of a page, which gives it its width, font and
// colours. Without a description it is decoration.
func inline(canvas *vgsvg.Canvas, description string) (template.HTML, error) {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	w, h := canvas.Size()
	role := `aria-hidden="true"`
	if description != "" {
		role = `role="img" aria-label="` + html.EscapeString(description) + `"`
	}
	s := prologue.ReplaceAllLiteralString(b.String(),
		fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" %s>`, w.Points(), h.Points(), role))
	s = fonts.ReplaceAllLiteralString(s, "")
	s = standIns.ReplaceAllStringFunc(s, func(hex string) string {
		var c Colour
		fmt.Sscanf(hex[1:3], "%x", &c)
		return "var(--" + c.variable() + ")"
	})
	return template.HTML(blanks.ReplaceAllLiteralString(strings.TrimSpace(s), " ")), nil
}

// A span is from the least to the most.
type span struct{ least, most float64 }

var nothing = span{math.Inf(1), math.Inf(-1)}

func (s *span) include(v float64) {
	s.least, s.most = min(s.least, v), max(s.most, v)
}
