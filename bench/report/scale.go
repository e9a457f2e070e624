package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// A Scale is what an axis does to numbers.
type Scale int

const (
	Linear  Scale = iota
	Decimal       // logarithmic, numbers at 1, 2, 5 or at powers of 10
	Binary        // logarithmic, numbers at powers of 2, in Ki and Mi
	Epochs        // the logarithm of 1 more: there is a place for 0
)

// has reports whether there is a place for a number. Those at the ends of float64
// would leave none for the axis around them.
func (s Scale) has(v float64) bool {
	if math.IsNaN(v) || math.Abs(v) > 1e300 {
		return false
	}
	switch s {
	case Decimal, Binary:
		return v > 1e-300
	case Epochs:
		return v >= 0
	}
	return true
}

func (s Scale) normalizer() plot.Normalizer { return normalizer{s} }

// A normalizer is a scale as the plotting library wants it.
type normalizer struct{ Scale }

func (n normalizer) Normalize(min, max, x float64) float64 {
	return (n.place(x) - n.place(min)) / (n.place(max) - n.place(min))
}

// place is where a number is on an axis in even steps, and number the reverse.
func (s Scale) place(v float64) float64 {
	switch s {
	case Decimal, Binary:
		return math.Log(v)
	case Epochs:
		return math.Log1p(v)
	}
	return v
}

func (s Scale) number(place float64) float64 {
	switch s {
	case Decimal, Binary:
		return math.Exp(place)
	case Epochs:
		return math.Expm1(place)
	}
	return place
}

// pad widens a span, so that no point sits on an edge, and one of a single
// number by as much as it takes to have a scale at all.
func (s Scale) pad(r span) span {
	lo, hi := s.place(r.least), s.place(r.most)
	by := .03 * (hi - lo)
	if by == 0 {
		by = math.Ln2
		if s == Linear {
			by = max(1, math.Abs(lo)/2)
		}
	}
	if s == Epochs {
		return span{s.number(max(0, lo-by)), s.number(hi + by)}
	}
	return span{s.number(lo - by), s.number(hi + by)}
}

// ticks are the numbers of an axis, some of them at most, at round values.
func (s Scale) ticks(r span, most int) []plot.Tick {
	switch s {
	case Decimal:
		return decimalTicks(r, most)
	case Binary:
		return binaryTicks(r, most)
	case Epochs:
		list := []plot.Tick{}
		for _, v := range []float64{0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6} {
			if r.least <= v && v <= r.most {
				list = append(list, plot.Tick{Value: v, Label: decimal(v)})
			}
		}
		return list
	}
	return linearTicks(r, most)
}

func linearTicks(r span, most int) []plot.Tick {
	for step := math.Pow(10, math.Floor(math.Log10(r.most-r.least))-1); ; step *= 10 {
		for _, part := range []float64{1, 2, 5} {
			by := step * part
			var list []plot.Tick
			for k := math.Ceil(r.least / by); k*by <= r.most; k++ {
				list = append(list, plot.Tick{Value: k * by, Label: decimal(k * by)})
			}
			if len(list) <= most {
				return list
			}
		}
	}
}

// decimalTicks has as many of each decade as there is room for, or the decades,
// or fewer of them. Numbers close to each other are as on a linear axis.
func decimalTicks(r span, most int) []plot.Tick {
	if r.most < 4*r.least {
		return linearTicks(r, most)
	}
	for _, parts := range [][]float64{{1, 1.5, 2, 3, 5, 7}, {1, 2, 5}, {1, 3}} {
		if list := decades(r, parts, 1, decimal); len(list) <= most {
			return list
		}
	}
	for every := 1; ; every++ {
		if list := decades(r, []float64{1}, every, power); len(list) <= most {
			return list
		}
	}
}

// decades has some numbers of every so-manieth decade.
func decades(r span, parts []float64, every int, write func(float64) string) []plot.Tick {
	var list []plot.Tick
	for e := int(math.Floor(math.Log10(r.least))); float64(e) <= math.Log10(r.most); e++ {
		for _, part := range parts {
			// Parsing is exact where a product with a power of 10 is not.
			v, _ := strconv.ParseFloat(fmt.Sprintf("%ge%d", part, e), 64)
			if e%every == 0 && r.least <= v && v <= r.most {
				list = append(list, plot.Tick{Value: v, Label: write(v)})
			}
		}
	}
	return list
}

func binaryTicks(r span, most int) []plot.Tick {
	for every := 1; ; every++ {
		var list []plot.Tick
		for e := int(math.Ceil(math.Log2(r.least))); float64(e) <= math.Log2(r.most); e++ {
			if e%every == 0 {
				list = append(list, plot.Tick{Value: math.Ldexp(1, e), Label: binary(e)})
			}
		}
		if len(list) <= most {
			return list
		}
	}
}

// decimal writes a round number in digits, or a small or large one as a power of 10.
func decimal(v float64) string {
	// Six digits hide what is left of sums of steps.
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	if a := math.Abs(v); v == 0 || a >= 1e-3 && a < 1e6 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return power(v)
}

// power writes a number as a power of 10, with its factor unless it is 1.
func power(v float64) string {
	if v == 1 {
		return "1"
	}
	part, e, _ := strings.Cut(strconv.FormatFloat(v, 'e', -1, 64), "e")
	n, _ := strconv.Atoi(e)
	s := "10" + superscript.Replace(strconv.Itoa(n))
	if part == "1" {
		return s
	}
	return part + "·" + s
}

var superscript = strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴",
	"5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")

// binary writes a power of 2, with what a unit is to follow.
func binary(e int) string {
	for _, u := range []struct {
		name string
		from int
	}{{"Gi", 30}, {"Mi", 20}, {"Ki", 10}} {
		if e >= u.from {
			return strconv.Itoa(1<<(e-u.from)) + " " + u.name
		}
	}
	return strconv.FormatFloat(math.Ldexp(1, e), 'g', -1, 64) + " "
}
