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

const (
	curveWidth = 80

	// leastDecade is where the scale ends: float32 allows little less.
	leastDecade = -8
)

// curves draws the relative gap to the optimum over the epochs, on logarithmic
// scales. Where curves coincide the later one of the list is seen.
func curves(runs []*Run, colours bool) string {
	epochs, decade := 1, -7.
	for _, r := range runs {
		epochs = max(epochs, r.Epochs)
		decade = max(decade, math.Ceil(r.decadeAt(0)))
	}
	var data [][]float64
	var names []string
	var chars []asciigraph.CharSet
	for k, r := range runs {
		series := make([]float64, curveWidth)
		for column := range series {
			series[column] = r.decadeAt(epochAt(column, epochs))
		}
		data = append(data, series)
		names = append(names, r.Optimizer)
		chars = append(chars, asciigraph.CreateCharSet(string(rune('a'+k))))
	}
	options := []asciigraph.Option{
		asciigraph.LowerBound(leastDecade), asciigraph.UpperBound(decade), asciigraph.Height(2 * int(decade-leastDecade)),
		asciigraph.YAxisValueFormatter(func(y float64) string {
			if whole := math.Round(y); math.Abs(y-whole) < .1 {
				return fmt.Sprintf("1e%+03.0f", whole)
			}
			return ""
		}),
		asciigraph.XAxisRange(0, curveWidth-1),
		asciigraph.XAxisValueFormatter(func(x float64) string { return fmt.Sprintf("%.0f", epochAt(int(x+.5), epochs)) }),
		asciigraph.Caption("relative gap to the optimum after so many epochs"),
	}
	if colours {
		options = append(options, asciigraph.SeriesColors(curveColours[:len(runs)]...), asciigraph.SeriesLegends(names...))
		return asciigraph.PlotMany(data, options...)
	}
	options = append(options, asciigraph.SeriesChars(chars...))
	for k, name := range names {
		names[k] = fmt.Sprintf("%c %s", 'a'+k, name)
	}
	return asciigraph.PlotMany(data, options...) + "\n" + wrap("curves: "+strings.Join(names, ", "), 100)
}

// epochAt is the epoch at a column of the plot.
func epochAt(column, epochs int) float64 {
	return math.Pow(float64(epochs+1), float64(column)/(curveWidth-1)) - 1
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
