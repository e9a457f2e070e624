package loss

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// laterLosses are those that came after the first release.
var laterLosses = []sample{
	{"MAE", func(r Reduction) Loss { return MAE{Reduction: r} }, func(x, y float64) float64 { return math.Abs(x - y) },
		uniform(3001, -5, 5, 101), uniform(3001, -5, 5, 102), 1, .1},
	{"Huber", func(r Reduction) Loss { return Huber{Reduction: r, Delta: .75} }, huber(.75, .75),
		uniform(3001, -3, 3, 103), uniform(3001, -3, 3, 104), 2, 2},
	{"SmoothL1", func(r Reduction) Loss { return SmoothL1{Reduction: r, Beta: .25} }, huber(.25, 1),
		uniform(3001, -3, 3, 105), uniform(3001, -3, 3, 106), 3, 3},
	{"Quantile", func(r Reduction) Loss { return Quantile{Reduction: r, Level: .25} }, func(x, y float64) float64 { return max(.25*(y-x), .75*(x-y)) },
		uniform(3001, -3, 3, 107), uniform(3001, -3, 3, 108), 3, 1},
	{"LogCosh", func(r Reduction) Loss { return LogCosh{Reduction: r} }, func(x, y float64) float64 { return logCosh(x - y) },
		uniform(3001, -3, 3, 109), uniform(3001, -3, 3, 110), 3, 3},
	{"SoftMargin", func(r Reduction) Loss { return SoftMargin{Reduction: r} }, func(x, y float64) float64 { return softplus(-x * y) },
		uniform(3001, -20, 20, 111), signs(uniform(3001, 0, 1, 112)), 3, 3},
	{"PoissonNLL", func(r Reduction) Loss { return PoissonNLL{Reduction: r} }, func(x, y float64) float64 { return math.Exp(x) - y*x },
		uniform(3001, -2, 3, 113), counts(3001, 114), 30, 9}, // e^x - y·x cancels,
	{"PoissonNLLFull", func(r Reduction) Loss { return PoissonNLL{Reduction: r, Full: true} }, func(x, y float64) float64 { return math.Exp(x) - y*x + stirling(y) },
		uniform(3001, -2, 3, 115), counts(3001, 116), 10, 7},
	{"PoissonNLLRates", func(r Reduction) Loss { return PoissonNLL{Reduction: r, Rates: true, Eps: 0x1p-7, Full: true} }, func(x, y float64) float64 { return x - y*math.Log(x+0x1p-7) + stirling(y) },
		uniform(3001, .1, 9, 117), counts(3001, 118), 14, 4},
	{"GaussianNLL", func(r Reduction) Loss { return gaussian{GaussianNLL{Reduction: r, Eps: .01, Full: true}} }, func(x, y float64) float64 { return ((x-y)*(x-y)/.75 + math.Log(.75) + math.Log(2*math.Pi)) / 2 },
		uniform(3001, -2, 2, 119), uniform(3001, -2, 2, 120), 4, 3},
	{"KLDivergence", func(r Reduction) Loss { return KLDivergence{Reduction: r} }, func(x, y float64) float64 { return y * (math.Log(y) - x) },
		uniform(3001, -9, -4, 121), uniform(3001, .1, 1, 122), 3, .1},
	{"KLDivergenceLog", func(r Reduction) Loss { return KLDivergence{Reduction: r, LogTarget: true} }, func(x, y float64) float64 { return math.Exp(y) * (y - x) },
		uniform(3001, -9, -4, 123), uniform(3001, -3, 0, 124), 3, 2},
	{"Focal", func(r Reduction) Loss { return Focal{Reduction: r, Gamma: 2, Alpha: Weight(.25)} }, focal(2, .25, .75),
		uniform(3001, -20, 20, 125), uniform(3001, 0, 1, 126), 8, 5},
	{"FocalHalf", func(r Reduction) Loss { return Focal{Reduction: r, Gamma: .5} }, focal(.5, 1, 1),
		uniform(3001, -20, 20, 127), signs01(3001, 128), 5, 5},
	{"BCESmoothed", func(r Reduction) Loss { return BCE{Reduction: r, Smoothing: .25} }, func(x, y float64) float64 { return crossEntropy(x, .75*y+.125) },
		uniform(3001, 0.01, 0.99, 129), signs01(3001, 130), 4, 5},
	{"BCEWithLogitsSmoothed", func(r Reduction) Loss { return BCEWithLogits{Reduction: r, Smoothing: .25} }, func(x, y float64) float64 { return logistic(1)(x, .75*y+.125) },
		uniform(3001, -20, 20, 131), signs01(3001, 132), 4, 3},
}

// clippedLosses are those of probabilities that came with Keras' clips, and the focal loss with its
// smoothed labels.
var clippedLosses = []sample{
	{"ClippedKLDivergence", func(r Reduction) Loss { return KLDivergence{Reduction: r, Probabilities: true} }, func(x, y float64) float64 { return y * math.Log(y/x) },
		uniform(3001, .01, 1, 165), uniform(3001, .1, 1, 166), 3, 3},
	{"FocalProbabilities", func(r Reduction) Loss {
		return Focal{Reduction: r, Gamma: 1.5, Alpha: Weight(.25), Probabilities: true, Smoothing: .25}
	}, func(x, y float64) float64 {
		y = .75*y + .125
		return (.25*y + .75*(1-y)) * math.Pow(y*(1-x)+(1-y)*x, 1.5) * crossEntropy(x, y)
	},
		uniform(3001, .01, .99, 167), uniform(3001, 0, 1, 168), 5, 8},
	{"FocalSmoothed", func(r Reduction) Loss { return Focal{Reduction: r, Gamma: 1.5, Alpha: Weight(.25), Smoothing: .25} },
		func(x, y float64) float64 { return focal(1.5, .25, .75)(x, .75*y+.125) },
		uniform(3001, -20, 20, 169), uniform(3001, 0, 1, 170), 8, 5},
}

func huber(delta, ceiling float64) formula {
	return func(x, y float64) float64 {
		a := math.Abs(x - y)
		if a < delta {
			return a * a / 2 / delta * ceiling
		}
		return (a - delta/2) * ceiling
	}
}

func focal(gamma, yes, no float64) formula {
	return func(x, y float64) float64 {
		p, q := sigmoid(x), sigmoid(-x)
		return (yes*y + no*(1-y)) * math.Pow(y*q+(1-y)*p, gamma) * logistic(1)(x, y)
	}
}

func stirling(y float64) float64 {
	if y <= 1 {
		return 0
	}
	return y*math.Log(y) - y + math.Log(2*math.Pi*y)/2
}

// counts are whole numbers from 0 to 8.
func counts(n int, seed uint64) []float32 {
	x := uniform(n, 0, 9, seed)
	for i := range x {
		x[i] = float32(int(x[i]))
	}
	return x
}

func signs01(n int, seed uint64) []float32 {
	x := signs(uniform(n, 0, 1, seed))
	for i := range x {
		x[i] = (x[i] + 1) / 2
	}
	return x
}

// gaussian is GaussianNLL with the variance .75 of all elements.
type gaussian struct{ GaussianNLL }

var variances = slices.Repeat([]float32{.75}, severalLen)

func (l gaussian) Eval(pred, target, grad, each []float32) (float64, error) {
	return l.GaussianNLL.Eval(pred, target, variances[:len(pred)], grad, nil, each)
}

// TestVariance compares the gradient by the variance with differences, and has variances
// below the least one.
func TestVariance(t *testing.T) {
	const n, eps = 1000, 0x1p-4
	x, y, v := uniform(n, -2, 2, 140), uniform(n, -2, 2, 141), uniform(n, .1, 3, 142)
	grad, by, each := make([]float32, n), make([]float32, n), make([]float32, n)
	if _, err := (GaussianNLL{Reduction: None, Eps: eps}).Eval(x, y, v, grad, by, each); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		d := float64(x[i]) - float64(y[i])
		of := formula(func(v, _ float64) float64 { return (math.Log(v) + d*d/v) / 2 })
		s := float64(v[i])
		near(t, "loss", float64(each[i]), of(s, 0), 3, 1+d*d/s)
		near(t, "gradient", float64(grad[i]), d/s, 2, math.Abs(d/s))
		near(t, "gradient by the variance", float64(by[i]), of.slope(s, 0), 4, (1+d*d/s)/s)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	v = []float32{0, -1, eps, nan, inf}
	x, y = slices.Repeat([]float32{1}, len(v)), slices.Repeat([]float32{.5}, len(v))
	n5 := len(v)
	if _, err := (GaussianNLL{Reduction: None, Eps: eps}).Eval(x, y, v, grad[:n5], by[:n5], each[:n5]); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{8, 8, 8, nan, 0} {
		if !same(grad[i], want) || i < 2 && (by[i] != by[2] || each[i] != each[2]) || (each[i] != each[i]) != (want != want) {
			t.Errorf("variance %g: loss %g, gradients %g and %g", v[i], each[i], grad[i], by[i])
		}
	}
	if by[2] != .5*(1-.25/eps)/eps || by[4] != 0 || each[4] != inf {
		t.Errorf("the gradient at the least variance is %g; at infinity loss %g, gradient %g", by[2], each[4], by[4])
	}
}

// TestLaterExtremes has large numbers, infinities and what saturates. A NaN as what is wanted is
// one: not all losses have a limit.
func TestLaterExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	focal0, focal2 := Focal{Reduction: None}, Focal{Reduction: None, Gamma: 2}
	smoothed := Focal{Reduction: None, Gamma: 2, Smoothing: .5}
	divergence, sure := KLDivergence{Reduction: None, Probabilities: true}, Focal{Reduction: None, Gamma: 9, Probabilities: true}
	low, high := float32(16.118095), float32(15.942385) // -log 1e-7, and that of 1 - (1-1e-7) in float32
	for _, c := range []struct {
		l                Loss
		x, y, loss, grad float32
	}{
		{MAE{Reduction: None}, 1, 1, 0, 0}, {MAE{Reduction: None}, -inf, 1, inf, -1}, {MAE{Reduction: None}, 1e4, -1e4, 2e4, 1},
		{Huber{Reduction: None, Delta: 2}, 4, 2, 2, 2}, {Huber{Reduction: None, Delta: 2}, inf, 0, inf, 2}, {Huber{Reduction: None, Delta: 2}, 0, 1e4, 2e4 - 2, -2},
		{SmoothL1{Reduction: None, Beta: 2}, 4, 2, 1, 1}, {SmoothL1{Reduction: None, Beta: 2}, -inf, 0, inf, -1},
		{SmoothL1{Reduction: None}, 3, 3, 0, 0}, {SmoothL1{Reduction: None}, 3, 2.5, .5, 1}, {SmoothL1{Reduction: None, Beta: 0x1p-126}, 3, 2.5, .5, 1},
		{Quantile{Reduction: None, Level: .25}, 0, 1, .25, -.25}, {Quantile{Reduction: None, Level: .25}, inf, 1, inf, .75}, {Quantile{Reduction: None, Level: .25}, 2, 2, 0, 0},
		{LogCosh{Reduction: None}, 0, 0, 0, 0}, {LogCosh{Reduction: None}, 1e4, 0, 1e4 - math.Ln2, 1}, {LogCosh{Reduction: None}, -inf, 0, inf, -1},
		{SoftMargin{Reduction: None}, 1e4, 1, 0, 0}, {SoftMargin{Reduction: None}, 1e4, -1, 1e4, 1}, {SoftMargin{Reduction: None}, -inf, 1, inf, -1},
		{PoissonNLL{Reduction: None}, 1e4, 1, inf, inf}, {PoissonNLL{Reduction: None}, -1e4, 1, 1e4, -1}, {PoissonNLL{Reduction: None}, -inf, 0, 0, 0}, {PoissonNLL{Reduction: None}, -inf, 1, inf, -1},
		{PoissonNLL{Reduction: None, Rates: true}, 0, 1, inf, -inf}, {PoissonNLL{Reduction: None, Rates: true, Eps: .5}, 0, 0, 0, 1}, {PoissonNLL{Reduction: None, Rates: true}, -1, 1, nan, 2},
		{KLDivergence{Reduction: None}, -inf, 0, 0, 0}, {KLDivergence{Reduction: None}, -inf, 1, inf, -1}, {KLDivergence{Reduction: None}, -1e4, .5, 5e3 - math.Ln2/2, -.5},
		{KLDivergence{Reduction: None, LogTarget: true}, -2, -inf, 0, 0}, {KLDivergence{Reduction: None, LogTarget: true}, -1e4, 0, 1e4, -1},
		{focal0, 1e4, 0, 1e4, 1}, {focal0, inf, 1, 0, 0}, {focal0, -inf, 1, inf, -1},
		{focal2, 1e4, 0, 1e4, 1}, {focal2, 1e4, 1, 0, 0}, {focal2, inf, 0, inf, 1}, {focal2, -inf, 0, 0, 0}, {focal2, -1e4, .5, 1250, -.125}, {smoothed, 1e4, 1, 156.25, .015625}, {smoothed, -inf, 0, inf, -.015625}, {smoothed, nan, 0, nan, nan},
		{BCEWithLogits{Reduction: None, Smoothing: .5}, 1e4, 1, 2.5e3, .25},
		{divergence, 2, .5, -math.Ln2 / 2, 0}, {divergence, 1, .5, -math.Ln2 / 2, -.5}, {divergence, inf, 2, 0, 0}, {divergence, .25, 2, 2 * math.Ln2, -4}, {divergence, .5, nan, nan, nan},
		{sure, 1, 1, 0, 0}, {sure, 0, 0, 0, 0}, {sure, -inf, 0, 0, 0}, {sure, inf, 0, high, 0}, {sure, -1, 1, low, 0}, {sure, 0, 1, low, -9 * low}, {sure, .5, .5, math.Ln2 / 512, 0}, {sure, .5, nan, nan, nan},
	} {
		grad, each := []float32{0}, []float32{0}
		value := mustEval(t, c.l, []float32{c.x}, []float32{c.y}, grad, each)
		if !same(each[0], c.loss) || !same(float32(value), c.loss) || !same(grad[0], c.grad) && c.loss == c.loss {
			t.Errorf("%+v of %g, target %g: loss %g, gradient %g, want %g, %g", c.l, c.x, c.y, each[0], grad[0], c.loss, c.grad)
		}
	}
	negative := math.Float32frombits(0xffc00000)
	for _, l := range losses {
		for _, y := range l.target[:3] {
			each := []float32{0}
			if v := mustEval(t, l.of(None), []float32{negative}, []float32{y}, nil, each); v == v || each[0] == each[0] {
				t.Errorf("%s of a NaN with a sign is %g", l.name, v)
			}
		}
	}
}

// TestSmallExact compares what cancels with float64, in units of the result.
func TestSmallExact(t *testing.T) {
	for _, d := range []float32{1e-20, 1e-10, 1e-4, 1e-3, .01, .1, .3, .49, .4999999, .5, .51, .6, .75, 1, 2, 9, 20, 90, 1e4} {
		for _, x := range []float32{d, -d} {
			grad, each := []float32{0}, []float32{0}
			mustEval(t, LogCosh{Reduction: Sum}, []float32{x}, []float32{0}, grad, each)
			z := float64(d)
			want := z*z/2 - z*z*z*z/12 // of small ones
			if z > 1e-2 {
				want = logCosh(z)
			}
			exact(t, fmt.Sprintf("log cosh %g", x), each[0], want, want, 0x1p-149)
			exact(t, fmt.Sprintf("its gradient at %g", x), grad[0], math.Tanh(float64(x)), math.Tanh(z), 0x1p-149)
		}
	}
	for _, gamma := range []float64{0, .5, 1, 1.5, 2, 5} {
		for _, y := range []float32{0, .25, .5, 1} {
			for _, x := range logits {
				grad, each := []float32{0}, []float32{0}
				mustEval(t, Focal{Reduction: Sum, Gamma: gamma}, []float32{x}, []float32{y}, grad, each)
				z, s := float64(x), float64(y)
				p, q := sigmoid(z), sigmoid(-z)
				wrong, cross := s*q+(1-s)*p, logistic(1)(z, s)
				m := math.Pow(wrong, gamma)
				ends, bend := m*((1-s)*p+s*q), m*gamma*p*q/wrong*cross
				slope := m*((1-s)*p-s*q) + (1-2*s)*bend
				what := fmt.Sprintf("focal loss of %g for %g, gamma %g", x, y, gamma)
				// e^-104 is the smallest number, which a power takes a root of.
				least := 0x1p-149 + 0x1p-126*min(1, cross+1)
				exact(t, what, each[0], m*cross, 2*m*cross, least)
				exact(t, "gradient of "+what, grad[0], slope, 2*(ends+bend), least)
			}
		}
	}
}

func logCosh(d float64) float64 { return math.Abs(d) + math.Log1p(math.Exp(-2*math.Abs(d))) - math.Ln2 }

// TestWeights compares weights of elements and of rows with products, for all reductions,
// whatever is wanted, over more than a block.
func TestWeights(t *testing.T) {
	const rows, columns = 401, 173
	const n = rows * columns
	x, y := uniform(n, .1, .9, 150), uniform(n, .1, .9, 151)
	byRow, byElement := uniform(rows, 0, 2, 152), uniform(n, 0, 2, 153)
	byRow[7], byElement[9] = 0, 0
	x[9], x[7*columns+3] = float32(math.NaN()), float32(math.NaN())
	spread := make([]float32, n)
	for i := range spread {
		spread[i] = byRow[i/columns]
	}
	for _, w := range [][]float32{byRow, byElement, spread} {
		s := Scaling{Weight: w, Rows: rows, GradScale: Weight(-.5)}
		pred, at := slices.Clone(x), func(i int) float64 { return float64(w[i]) }
		if len(w) == rows {
			at = func(i int) float64 { return float64(w[i/columns]) }
		}
		sum := 0.0
		for i := range pred {
			if pred[i] != pred[i] && at(i) != 0 {
				pred[i] = .5
			}
			sum += at(i)
		}
		for r, divisor := range map[Reduction]float64{Mean: n, Sum: 1, None: 1, BatchMean: rows, WeightedMean: sum} {
			for name, l := range map[string]Loss{"MSE": MSE{Reduction: r, Scaling: s}, "BCE": BCE{Reduction: r, Scaling: s}, "Poisson": PoissonNLL{Reduction: r, Scaling: s},
				"Gaussian": gaussian{GaussianNLL{Reduction: r, Eps: .01, Scaling: s}}} {
				plain := map[string]Loss{"MSE": MSE{Reduction: None}, "BCE": BCE{Reduction: None}, "Poisson": PoissonNLL{Reduction: None},
					"Gaussian": gaussian{GaussianNLL{Reduction: None, Eps: .01}}}[name]
				grad, each, g, e := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
				mustEval(t, plain, pred, y, grad, each)
				value := mustEval(t, l, pred, y, g, e)
				want := 0.0
				for i := range g {
					loss, slope := 0.0, 0.0
					if at(i) != 0 {
						loss, slope = at(i)*float64(each[i]), -.5*at(i)*float64(grad[i])/divisor
					}
					want += loss / divisor
					near(t, name+" gradient", float64(g[i]), slope, 3, math.Abs(slope)+0x1p-120)
					near(t, name+" loss", float64(e[i]), loss, 1, math.Abs(loss)+0x1p-120)
				}
				near(t, name, value, want, .2, math.Abs(want))
				for _, c := range [][2][]float32{{nil, nil}, {g, nil}, {nil, e}} {
					if r == None && c[1] == nil {
						continue
					}
					if got := mustEval(t, l, pred, y, c[0], c[1]); got != value {
						t.Errorf("%s is %v where less is wanted, and %v", name, got, value)
					}
				}
			}
		}
	}
}

// TestScaledVariance has weights and an upstream scale multiply both gradients.
func TestScaledVariance(t *testing.T) {
	const n = 5000
	x, y, v, w := uniform(n, -2, 2, 160), uniform(n, -2, 2, 161), uniform(n, .1, 3, 162), uniform(n, 0, 2, 163)
	grad, by, g, b := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	if _, err := (GaussianNLL{Reduction: Sum, Eps: .01}).Eval(x, y, v, grad, by, nil); err != nil {
		t.Fatal(err)
	}
	l := GaussianNLL{Reduction: Mean, Eps: .01, Scaling: Scaling{Weight: w, GradScale: Weight(3)}}
	if _, err := l.Eval(x, y, v, g, b, nil); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		factor := float64(w[i]) * 3 / n
		near(t, "gradient", float64(g[i]), float64(grad[i])*factor, 3, math.Abs(float64(g[i])))
		near(t, "gradient by the variance", float64(b[i]), float64(by[i])*factor, 3, math.Abs(float64(b[i])))
	}
}

// TestNothingToDivideBy has no elements, no rows, and weights that sum up to 0.
func TestNothingToDivideBy(t *testing.T) {
	x, y, grad := []float32{1, 2}, []float32{3, 4}, []float32{5, 5}
	zero := Scaling{Weight: []float32{0, 0}}
	if v := mustEval(t, MSE{Reduction: WeightedMean, Scaling: zero}, x, y, grad, nil); v == v || grad[0] != 0 || grad[1] != 0 {
		t.Errorf("without weight the mean is %g, its gradient %v", v, grad)
	}
	both := Scaling{Weight: []float32{1, -1}}
	if v := mustEval(t, MSE{Reduction: WeightedMean, Scaling: both}, []float32{1, 3}, y, grad, nil); v == v || grad[0] != 0 || grad[1] != 0 {
		t.Errorf("where weights cancel the mean is %g, its gradient %v", v, grad)
	}
	if v := mustEval(t, MSE{Scaling: zero}, x, y, grad, nil); v != 0 || grad[0] != 0 {
		t.Errorf("without weight the mean by elements is %g, its gradient %v", v, grad)
	}
	for _, r := range []Reduction{BatchMean, WeightedMean} {
		for _, s := range []Scaling{{}, {Weight: []float32{}}, {Rows: 0}} {
			if v := mustEval(t, MAE{Reduction: r, Scaling: s}, nil, nil, nil, nil); v == v {
				t.Errorf("reduction %d of nothing is %g", r, v)
			}
		}
	}
	if v := mustEval(t, MAE{Reduction: BatchMean, Scaling: Scaling{Rows: 3}}, nil, nil, nil, nil); v != 0 {
		t.Errorf("the mean of rows of nothing is %g", v)
	}
	if v := mustEval(t, MSE{Reduction: Sum, Scaling: Scaling{GradScale: Weight(0)}}, x, y, grad, nil); v != 8 || grad[0] != 0 {
		t.Errorf("with a scale of 0 the value is %g, its gradient %v", v, grad)
	}
}

func TestLaterErrors(t *testing.T) {
	x, y, w := make([]float32, 6), make([]float32, 6), make([]float32, 12)
	nan, inf := math.NaN(), math.Inf(1)
	eval := func(l Loss) error { _, err := l.Eval(x, y, nil, nil); return err }
	with := func(s Scaling) error { return eval(MSE{Scaling: s}) }
	normal := func(eps float64, v, grad, by []float32) error {
		_, err := GaussianNLL{Eps: eps}.Eval(x, y, v, grad, by, nil)
		return err
	}
	overlap := func(grad, each []float32) error {
		_, err := MSE{Scaling: Scaling{Weight: w[:6]}}.Eval(x, y, grad, each)
		return err
	}
	for _, c := range []struct {
		arg, value string
		err        error
	}{
		{"Reduction", "5", eval(MSE{Reduction: 5})},
		{"Rows", "0", eval(MSE{Reduction: BatchMean})},
		{"Rows", "4", eval(MSE{Reduction: BatchMean, Scaling: Scaling{Rows: 4}})},
		{"Rows", "-1", with(Scaling{Rows: -1})},
		{"Rows", "0", with(Scaling{Weight: w[:3]})},
		{"len(Weight)", "3", with(Scaling{Weight: w[:3], Rows: 2})},
		{"len(Weight)", "0", with(Scaling{Weight: w[:0], Rows: 2})},
		{"GradScale", "NaN", with(Scaling{GradScale: &nan})},
		{"GradScale", "+Inf", with(Scaling{GradScale: &inf})},
		{"Delta", "0", eval(Huber{})}, {"Delta", "-1", eval(Huber{Delta: -1})}, {"Delta", "NaN", eval(Huber{Delta: nan})}, {"Delta", "1e+39", eval(Huber{Delta: 1e39})}, {"Delta", "1e-60", eval(Huber{Delta: 1e-60})},
		{"Beta", "-1", eval(SmoothL1{Beta: -1})}, {"Beta", "1e-39", eval(SmoothL1{Beta: 1e-39})}, {"Beta", "NaN", eval(SmoothL1{Beta: nan})},
		{"Level", "0", eval(Quantile{})}, {"Level", "1", eval(Quantile{Level: 1})}, {"Level", "NaN", eval(Quantile{Level: nan})},
		{"Eps", "-1", eval(PoissonNLL{Eps: -1})}, {"Eps", "NaN", eval(PoissonNLL{Eps: nan})},
		{"Gamma", "-1", eval(Focal{Gamma: -1})}, {"Gamma", "1001", eval(Focal{Gamma: 1001})}, {"Gamma", "NaN", eval(Focal{Gamma: nan})},
		{"Alpha", "2", eval(Focal{Alpha: Weight(2)})}, {"Alpha", "-0.25", eval(Focal{Alpha: Weight(-.25)})},
		{"Smoothing", "1.5", eval(Focal{Smoothing: 1.5})}, {"Smoothing", "-1", eval(Focal{Probabilities: true, Smoothing: -1})},
		{"LogTarget", "true", eval(KLDivergence{Probabilities: true, LogTarget: true})},
		{"Smoothing", "2", eval(BCE{Smoothing: 2})}, {"Smoothing", "-1", eval(BCEWithLogits{Smoothing: -1})},
		{"Eps", "0", normal(0, x, nil, nil)}, {"Eps", "NaN", normal(nan, x, nil, nil)},
		{"len(variance)", "0", normal(1, nil, nil, nil)}, {"len(gradVariance)", "5", normal(1, x, nil, y[:5])},
		{"grad", "6 elements at", normal(1, w[:6], w[5:11], nil)},
		{"gradVariance", "6 elements at", normal(1, w[:6], nil, w[5:11])},
		{"grad", "6 elements at", normal(1, x, w[:6], w[5:11])},
		{"grad", "6 elements at", overlap(w[5:11], nil)},
		{"each", "6 elements at", overlap(nil, w[5:11])},
	} {
		var e *ArgError
		if !errors.As(c.err, &e) || e.Arg != c.arg || !strings.Contains(e.Error(), c.arg+" is "+c.value) {
			t.Errorf("%v, want that %s is %s", c.err, c.arg, c.value)
		}
	}
	if slices.ContainsFunc(slices.Concat(x, y, w), func(x float32) bool { return x != 0 }) {
		t.Error("something was written")
	}
}
