package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/guptarohit/asciigraph"
)

// Curves are told apart by colour on a terminal and by a letter elsewhere.
var curveColours = []asciigraph.AnsiColor{asciigraph.Red, asciigraph.Orange, asciigraph.Gold, asciigraph.Green,
	asciigraph.DodgerBlue, asciigraph.MediumOrchid, asciigraph.Gray, asciigraph.Cyan, asciigraph.Pink}

// leastDecade is where the scale ends: float32 allows little less.
const leastDecade = -8

// beside is the width of what stands left of the curves and how far the last number
// below them goes beyond.
const beside = 12

// curves draws the relative gap to the optimum over the epochs, on logarithmic
// scales. Where curves coincide the later one of the list is seen.
func (s *screen) curves(runs []*Run) string {
	width := s.width - beside
	epochs, decade := 1, -7.
	for _, r := range runs {
		epochs = max(epochs, r.Epochs)
		decade = max(decade, math.Ceil(r.decadeAt(0)))
	}
	at := func(column int) float64 {
		return math.Pow(float64(epochs+1), float64(column)/float64(width-1)) - 1
	}
	var data [][]float64
	for _, r := range runs {
		series := make([]float64, width)
		for column := range series {
			series[column] = r.decadeAt(at(column))
		}
		data = append(data, series)
	}
	options := []asciigraph.Option{
		asciigraph.LowerBound(leastDecade), asciigraph.UpperBound(decade), asciigraph.Height(2 * int(decade-leastDecade)),
		asciigraph.YAxisValueFormatter(wholeDecade),
		asciigraph.XAxisRange(0, float64(width-1)),
		asciigraph.XAxisValueFormatter(func(x float64) string { return fmt.Sprintf("%.0f", at(int(x+.5))) }),
	}
	var names []string
	for _, r := range runs {
		names = append(names, r.Optimizer)
	}
	style, legend := s.curveStyles(names)
	return trimLines(asciigraph.PlotMany(data, append(options, style)...)) + "\n" + s.wrap("The relative gap to the optimum after so many epochs: "+legend)
}

// wholeDecade writes what is at the axis: a number in every second line.
func wholeDecade(y float64) string {
	if whole := math.Round(y); math.Abs(y-whole) < .1 {
		return fmt.Sprintf("1e%+03.0f", whole)
	}
	return ""
}

// curveStyles tells curves apart, by colours or by letters.
func (s *screen) curveStyles(names []string) (style asciigraph.Option, legend string) {
	var marked []string
	var letters []asciigraph.CharSet
	for k, name := range names {
		letter := string(rune('a' + k))
		letters = append(letters, asciigraph.CreateCharSet(letter))
		if s.colours {
			letter = curveColours[k].String() + "■" + asciigraph.Default.String()
		}
		marked = append(marked, letter+" "+name)
	}
	if s.colours {
		style = asciigraph.SeriesColors(curveColours[:len(names)]...)
	} else {
		style = asciigraph.SeriesChars(letters...)
	}
	return style, strings.Join(marked, ", ")
}

// decadeAt is the decimal logarithm of the relative gap after an epoch, on the
// line between the points at hand, or NaN beyond the last epoch.
func (r *Run) decadeAt(epoch float64) float64 {
	decade := func(p Point) float64 {
		return max(leastDecade, math.Log10(max(1e-300, (p.Loss-r.Optimum)/r.Optimum)))
	}
	for k, p := range r.Curve {
		if at := float64(p.Epoch); epoch <= at {
			if k == 0 {
				return decade(p)
			}
			before := r.Curve[k-1]
			part := (epoch - float64(before.Epoch)) / float64(p.Epoch-before.Epoch)
			return decade(before) + part*(decade(p)-decade(before))
		}
	}
	if epoch < float64(r.Epochs)*(1+1e-9) {
		return decade(r.Curve[len(r.Curve)-1])
	}
	return math.NaN()
}
