package loss

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// rowLosses are options of each model.
var rowLosses = map[string]RowLossOptions{
	"NLL":                  {Model: NLL},
	"multi-margin":         {Model: MultiMargin},
	"multi-margin squared": {Model: MultiMargin, Squared: true, Margin: Weight(.3)},
	"Crammer-Singer":       {Model: CrammerSinger, Margin: Weight(.7)},
	"categorical hinge":    {Model: CategoricalHinge},
	"focal":                {Model: SoftmaxFocal, Gamma: 2},
	"focal half":           {Model: SoftmaxFocal, Gamma: .5},
	"focal 0":              {Model: SoftmaxFocal},
}

// rowLoss64 is the loss of a row of the weight 1 in float64 from the formula, its gradient, and
// of what size the numbers are whose roundings it has.
func rowLoss64(o RowLossOptions, z []float32, y int) (loss float64, grad []float64, size float64) {
	margin, label, n := 1.0, float64(z[y]), float64(len(z))
	if o.Margin != nil {
		margin = *o.Margin
	}
	grad = make([]float64, len(z))
	first, largest, top := -1, 0, math.Inf(-1)
	for c, x := range z {
		if float64(x) > top {
			largest, top = c, float64(x)
		}
		if c != y && (first < 0 || x > z[first]) {
			first = c
		}
		size = max(size, math.Abs(float64(x)), margin)
	}
	switch o.Model {
	case NLL:
		grad[y] = -1
		return -label, grad, 0
	case MultiMargin:
		for c, x := range z {
			h, slope := margin-label+float64(x), 1/n
			if c == y || h <= 0 {
				continue
			}
			if o.Squared {
				h, slope = h*h, 2*h/n
			}
			loss += h / n
			grad[c] += slope
			grad[y] -= slope
		}
		return loss, grad, size
	case CrammerSinger, CategoricalHinge:
		other := math.Inf(-1)
		if first >= 0 {
			other = float64(z[first])
		}
		if o.Model == CategoricalHinge && other <= 0 {
			first, other = -1, 0
		}
		if loss = margin - label + other; loss <= 0 {
			return 0, grad, size
		}
		grad[y]--
		if first >= 0 {
			grad[first]++
		}
		return loss, grad, size
	}
	sum, rest := 0.0, 0.0
	for c, x := range z {
		if c != largest {
			sum += math.Exp(float64(x) - top)
		}
		if c != y {
			rest += math.Exp(float64(x) - top)
		}
	}
	log := math.Log1p(sum)
	cross := top - label + log
	p, unlike := math.Exp(-cross), rest/(1+sum)
	m := math.Pow(unlike, o.Gamma)
	slope := m * (unlike + o.Gamma*p*cross)
	for c, x := range z {
		grad[c] = slope * math.Exp(float64(x)-top) / rest
		if c == y {
			grad[c] = -slope
		}
		if rest == 0 {
			grad[c] = 0
		}
	}
	return m * cross, grad, 0
}

func newRowLoss(t testing.TB, classes int, o RowLossOptions) *RowLoss {
	t.Helper()
	l, err := NewRowLoss(classes, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// evalRowLoss calls Eval with buffers for gradient and losses.
func evalRowLoss(t testing.TB, l *RowLoss, b Rows) (value float64, grad, each []float32) {
	t.Helper()
	return evalRows(t, &l.rows, b)
}

// TestRowLoss compares value, losses and gradients of every model and shape with float64.
func TestRowLoss(t *testing.T) {
	for _, shape := range rowsShapes {
		rows, classes := shape[0], shape[1]
		weights := uniform(classes, .5, 2, 5)
		weights[0] = 0
		for name, plain := range rowLosses {
			for _, spread := range []float32{.1, 3, 30} {
				for _, weighted := range []bool{false, true} {
					b := rowsData(rows, classes, spread, uint64(classes))
					o := plain
					for i := range b.Labels {
						if i%2 == 0 { // sure ones
							b.Logits[i*classes+int(b.Labels[i])] = spread + 2
						}
						if i%5 == 4 {
							o.Ignore, b.Labels[i] = Label(-7), -7
						}
					}
					if weighted {
						o.Weights, b.Weights = weights, uniform(rows, 0, 2, 8)
						b.Weights[rows/2] = 0
					}
					compareRowLoss(t, fmt.Sprintf("%v %s %g weighted %v", shape, name, spread, weighted), classes, o, b)
				}
			}
		}
	}
}

func compareRowLoss(t *testing.T, name string, classes int, o RowLossOptions, b Rows) {
	t.Helper()
	const least = 0x1p-122 // of what fades to 0
	spread := 0.0
	for _, x := range b.Logits {
		spread = max(spread, math.Abs(float64(x)))
	}
	units := (rowsUnits + 2*spread + 20) * max(1, o.Gamma)
	for _, reduction := range []Reduction{Mean, Sum, None} {
		o.Reduction = reduction
		value, grad, each := evalRowLoss(t, newRowLoss(t, classes, o), b)
		divisor, total, off, want := 0.0, 0.0, 0.0, make([]float64, len(grad))
		sizes := make([]float64, len(b.Labels))
		for i, y := range b.Labels {
			if y < 0 {
				continue
			}
			w := 1.0
			if o.Weights != nil {
				w = float64(o.Weights[y])
			}
			if o.Model == NLL {
				divisor += w
			} else {
				divisor++
			}
			if b.Weights != nil {
				w *= float64(b.Weights[i])
			}
			if w == 0 {
				continue
			}
			loss, g, size := rowLoss64(o, b.Logits[i*classes:][:classes], int(y))
			if o.Squared {
				size *= 2 * math.Sqrt(loss)
			}
			rounded := math.Abs(loss*w) + size*w + least/unit
			near(t, name+": loss", float64(each[i]), loss*w, units, rounded)
			total += loss * w
			off += rounded
			for c := range g {
				want[i*classes+c] = g[c] * w
				if c == int(y) {
					sizes[i] = math.Abs(g[c] * w)
				}
				if o.Squared {
					sizes[i] += size * w / float64(classes)
				}
			}
		}
		if reduction != Mean {
			divisor = 1
		}
		if divisor == 0 {
			if value == value {
				t.Errorf("%s: a mean over nothing is %g", name, value)
			}
			continue
		}
		near(t, name+": value", value, total/divisor, units, off/divisor)
		for i, g := range want {
			scale := math.Abs(g)
			if o.Squared { // of differences, and a sum of them
				scale = sizes[i/classes]
			}
			if off := math.Abs(float64(grad[i]) - g/divisor); !(off <= unit*units*scale/divisor+least) {
				t.Fatalf("%s, %v: gradient %d is %g, want %g", name, reduction, i, grad[i], g/divisor)
			}
		}
	}
}

// TestRowLossDifferences compares gradients with differences of the values, at a scale.
func TestRowLossDifferences(t *testing.T) {
	const rows, classes, h = 6, 5, 0x1p-7
	for name, o := range rowLosses {
		o.Weights = []float32{.5, 1, 1.5, 2, .25}
		b := rowsData(rows, classes, 1, 11)
		b.Scale = Weight(8)
		l := newRowLoss(t, classes, o)
		_, grad, _ := evalRowLoss(t, l, b)
		for i := range grad {
			x := b.Logits[i]
			b.Logits[i] = x + h
			up, _, _ := evalRowLoss(t, l, b)
			b.Logits[i] = x - h
			down, _, _ := evalRowLoss(t, l, b)
			b.Logits[i] = x
			if want := 8 * (up - down) / (2 * h); math.Abs(float64(grad[i])-want) > 1e-3 {
				t.Errorf("%s: gradient %d is %g, differences say %g", name, i, grad[i], want)
			}
		}
	}
}

// TestRowLossBits compares tables and numbers of workers, the gradient apart, in place and not
// wanted, and keeps the bits what they are.
func TestRowLossBits(t *testing.T) {
	defer kernels.Use(kernels.Active())
	all := uint64(0)
	large := []int{1, 2, 5}
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		large = large[1:2]
	}
	for _, shape := range append([][2]int{{tune.ParallelLen/10 + 1, 10}, {7, tune.ParallelLen/7 + 1}}, rowsShapes...) {
		for name, o := range rowLosses {
			l := newRowLoss(t, shape[1], o)
			h := fnv.New64a()
			var bits uint64
			for _, table := range kernels.Available() {
				if err := kernels.Use(table); err != nil {
					t.Fatal(err)
				}
				some := large
				if shape[0]*shape[1] < tune.ParallelLen {
					some = large[:1] // which is what there would be
				}
				for _, workers := range some {
					if err := l.SetWorkers(workers); err != nil {
						t.Fatal(err)
					}
					b := rowsData(shape[0], shape[1], 10, 6)
					value, grad, each := evalRowLoss(t, l, b)
					none, err := l.Eval(Rows{Logits: b.Logits, Labels: b.Labels})
					b.Grad = b.Logits
					in, place, eachIn := evalRowLoss(t, l, b)
					if err != nil || none != value || in != value || !slices.Equal(grad, place) || !slices.Equal(each, eachIn) {
						t.Errorf("%v %s: other bits in place or without a gradient", shape, name)
					}
					h.Reset()
					binary.Write(h, binary.LittleEndian, value)
					binary.Write(h, binary.LittleEndian, grad)
					binary.Write(h, binary.LittleEndian, each)
					if bits == 0 {
						bits = h.Sum64()
					}
					if h.Sum64() != bits {
						t.Errorf("%v %s: %v and %d workers have other bits", shape, name, table, workers)
					}
				}
			}
			all += bits // in any order
		}
	}
	if want := uint64(0x3f63d8ffacef6887); all != want {
		t.Errorf("the bits have changed: %#x, were %#x", all, want)
	}
}

// TestRowLossExtremes has numbers that overflow, and that are none, of label 0.
func TestRowLossExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, classes := range []int{3, 5000} {
		n := float64(classes)
		for _, c := range []struct {
			model       string
			label, rest float32
			other       float32 // the last
			loss, grad  float64 // of the label
		}{
			{"NLL", -inf, nan, nan, math.Inf(1), -1},
			{"NLL", nan, 0, 0, math.NaN(), -1},
			{"NLL", -1e4, 0, 0, 1e4, -1},
			{"multi-margin", 1e4, -1e4, -inf, 0, 0},
			{"multi-margin", -1e4, 1e4, -inf, 20001 * (n - 2) / n, -(n - 2) / n},
			{"multi-margin", inf, 0, 0, 0, 0},
			{"multi-margin", 0, -9, inf, math.Inf(1), -1 / n},
			{"multi-margin", -inf, 0, 0, math.Inf(1), -(n - 1) / n},
			{"multi-margin", 0, -9, nan, math.NaN(), math.NaN()},
			{"multi-margin", nan, 0, 0, math.NaN(), math.NaN()},
			{"multi-margin squared", 0, -9, 1e4, 10000.3 * 10000.3 / n, -2 * 10000.3 / n},
			{"multi-margin squared", 0, -inf, -inf, 0, 0},
			{"multi-margin squared", 1, -2e38, -3e38, 0, 0},
			{"multi-margin squared", 2e38, 1, -9, 0, 0},
			{"Crammer-Singer", 0, -inf, -inf, 0, 0},
			{"Crammer-Singer", 0, 1e4, 2e4, 20000.7, -1},
			{"Crammer-Singer", -inf, -inf, -inf, math.NaN(), math.NaN()},
			{"Crammer-Singer", 3, 0, nan, math.NaN(), math.NaN()},
			{"Crammer-Singer", 3, -inf, inf, math.Inf(1), -1},
			{"Crammer-Singer", inf, 0, inf, math.NaN(), math.NaN()},
			{"Crammer-Singer", inf, 0, 0, 0, 0},
			{"Crammer-Singer", nan, 0, 0, math.NaN(), math.NaN()},
			{"categorical hinge", .5, -1e4, -inf, .5, -1},
			{"categorical hinge", -1e4, -1, 1e4, 20001, -1},
			{"categorical hinge", 2, -1, nan, math.NaN(), math.NaN()},
			{"focal", 1e4, -1e4, -1e4, 0, 0},
			{"focal", -1e4, 1e4, 1e4, 2e4 + math.Log(n-1), -1},
			{"focal half", 3, -inf, -inf, 0, 0},
			{"focal", -inf, 0, 0, math.Inf(1), -1},
			{"focal", 0, 0, nan, math.NaN(), math.NaN()},
			{"focal", 0, 0, inf, math.NaN(), math.NaN()},
			{"focal", -inf, -inf, -inf, math.NaN(), math.NaN()},
		} {
			z := make([]float32, 2*classes)
			for i := range classes {
				z[i] = c.rest
			}
			z[0], z[classes-1] = c.label, c.other
			b := Rows{Logits: z, Labels: []int64{0, 1}, Weights: []float32{1, 0}}
			o := rowLosses[c.model]
			o.Reduction = Sum
			z[classes] = nan // in a row that costs nothing
			value, grad, each := evalRowLoss(t, newRowLoss(t, classes, o), b)
			off := func(got, want float64) bool {
				return !same64(got, want) && !(math.Abs(got-want) <= 2e-6*math.Abs(want))
			}
			if off(value, c.loss) || off(float64(each[0]), c.loss) || off(float64(grad[0]), c.grad) {
				t.Errorf("%d classes, %+v: value %g, loss %g, gradient %g", classes, c, value, each[0], grad[0])
			}
			bad := slices.IndexFunc(grad[:classes], func(g float32) bool { return (g != g) != (c.grad != c.grad) })
			if bad >= 0 && c.model != "NLL" || slices.ContainsFunc(grad[classes:], func(g float32) bool { return g != 0 }) {
				t.Errorf("%d classes, %+v: gradient %d is %g, or that of nothing is none", classes, c, bad, grad[max(0, bad)])
			}
		}
	}
}

// TestRowsBatchMean has the sum divided by all rows, ignored ones too, of each loss of rows.
func TestRowsBatchMean(t *testing.T) {
	const rows, classes = 8, 5
	weights, x := uniform(classes, .5, 2, 5), uniform(rows*classes, -1, 1, 3)
	b := rowsData(rows, classes, 1, 11)
	b.Labels[1], b.Labels[6] = -7, -7
	targets := targetsOf(b, classes)
	evals := map[string]func(r Reduction, grad []float32) (float64, error){
		"CosineEmbedding": func(r Reduction, grad []float32) (float64, error) {
			return CosineEmbedding{Reduction: r, Eps: 1e-12}.Eval(rows, Pairs{X: b.Logits, Y: x, GradX: grad, Each: make([]float32, rows)})
		},
		"SoftmaxLinear": func(r Reduction, grad []float32) (float64, error) {
			l, err := NewSoftmaxLinear(classes, classes, CrossEntropyOptions{Reduction: r, Ignore: Label(-7), Weights: weights})
			if err != nil {
				return 0, err
			}
			return l.Eval(LinearRows{X: b.Logits, W: x[:classes*classes], Labels: b.Labels, GradX: grad, Each: make([]float32, rows)})
		},
	}
	for name, o := range rowLosses {
		o.Ignore, o.Weights = Label(-7), weights
		evals[name] = func(r Reduction, grad []float32) (float64, error) {
			o.Reduction = r
			return newRowLoss(t, classes, o).Eval(Rows{Logits: b.Logits, Labels: b.Labels, Grad: grad, Each: make([]float32, rows)})
		}
	}
	for name, b := range map[string]Rows{"labels": b, "targets": targets} {
		evals["CrossEntropy of "+name] = func(r Reduction, grad []float32) (float64, error) {
			b.Grad, b.Each = grad, make([]float32, rows)
			return newCrossEntropy(t, classes, CrossEntropyOptions{Reduction: r, Ignore: Label(-7), Weights: weights}).Eval(b)
		}
	}
	for name, eval := range evals {
		sums, grads := make([]float32, rows*classes), make([]float32, rows*classes)
		sum, err := eval(Sum, sums)
		mean, err2 := eval(BatchMean, grads)
		if err := errors.Join(err, err2); err != nil || mean != sum/rows {
			t.Errorf("%s: %g, want %g, or %v", name, mean, sum/rows, err)
		}
		for i, g := range grads { // the number of rows is a power of two
			if g != sums[i]/rows {
				t.Errorf("%s: gradient %d is %g, want %g", name, i, g, sums[i]/rows)
			}
		}
	}
	for _, empty := range []EmptyMean{EmptyNaN, EmptyZero} {
		value, err := newCrossEntropy(t, classes, CrossEntropyOptions{Reduction: BatchMean, EmptyMean: empty}).Eval(Rows{})
		if err != nil || (value == 0) != (empty == EmptyZero) {
			t.Errorf("no rows: %g, %v", value, err)
		}
	}
}

// TestRowLossFirst has the gradient go to the first of several that are the largest.
func TestRowLossFirst(t *testing.T) {
	for _, model := range []RowModel{CrammerSinger, CategoricalHinge} {
		_, grad, _ := evalRowLoss(t, newRowLoss(t, 4, RowLossOptions{Model: model}), Rows{Logits: []float32{5, 2, 5, 5}, Labels: []int64{0}})
		if !slices.Equal(grad, []float32{-1, 0, 1, 0}) {
			t.Errorf("%v: %v", model, grad)
		}
	}
}

func TestRowLossAllocations(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("what is allocated is the same on every machine")
	}
	for name, o := range rowLosses {
		for _, shape := range [][2]int{{3, 10}, {12, 70_000}} {
			b := rowsData(shape[0], shape[1], 1, 1)
			b.Grad = make([]float32, len(b.Logits))
			l := newRowLoss(t, shape[1], o)
			if n := allocs.PerRun(10, func() {
				if _, err := l.Eval(b); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s %v: %v allocations", name, shape, n)
			}
		}
	}
}

func TestRowLossErrors(t *testing.T) {
	for want, o := range map[string]RowLossOptions{
		"Model is 0":                   {},
		"Model is 6":                   {Model: 6},
		"Margin is 1, want nil":        {Model: NLL, Margin: Weight(1)},
		"Margin is +Inf, want":         {Model: CrammerSinger, Margin: Weight(math.Inf(1))},
		"Squared is true, want":        {Model: CrammerSinger, Squared: true},
		"Gamma is 2, want 0":           {Model: MultiMargin, Gamma: 2},
		"Gamma is NaN, want":           {Model: SoftmaxFocal, Gamma: math.NaN()},
		"Gamma is 1001, want a number": {Model: SoftmaxFocal, Gamma: 1001},
		"len(Weights) is 2":            {Model: NLL, Weights: make([]float32, 2)},
		"Reduction is 4":               {Model: NLL, Reduction: WeightedMean},
	} {
		if _, err := NewRowLoss(3, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	x, grad := make([]float32, 6), []float32{5, 5, 5, 5, 5, 5}
	for want, b := range map[string]Rows{
		"Targets is 6 elements, want nil: the loss": {Logits: x, Targets: make([]float32, 6), Grad: grad},
		"Labels[1] is 3":   {Logits: x, Labels: []int64{0, 3}, Grad: grad},
		"len(Logits) is 6": {Logits: x, Labels: []int64{0}, Grad: grad},
	} {
		for _, o := range rowLosses {
			if o.Model == SoftmaxFocal && b.Targets != nil {
				continue
			}
			if _, err := newRowLoss(t, 3, o).Eval(b); err == nil || !strings.Contains(err.Error(), want) || grad[0] != 5 {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	value, err := newRowLoss(t, 3, RowLossOptions{Model: NLL, EmptyMean: EmptyZero}).Eval(Rows{})
	if value != 0 || err != nil {
		t.Errorf("no rows: %g, %v", value, err)
	}
}

// TestLogSoftmax compares logarithms of probabilities and what comes back through them with
// float64.
func TestLogSoftmax(t *testing.T) {
	for _, shape := range rowsShapes {
		for _, spread := range []float32{.1, 30, 1e4} {
			rows, columns := shape[0], shape[1]
			x, up := uniform(rows*columns, -spread, spread, 3), uniform(rows*columns, -1, 1, 4)
			y, grad := make([]float32, len(x)), slices.Clone(up)
			if err := LogSoftmax(y, x, rows, 0); err != nil {
				t.Fatal(err)
			}
			if err := LogSoftmaxGrad(grad, y, rows, 0); err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				row, of := x[i*columns:][:columns], i*columns
				top, rest, sum, size := float64(slices.Max(row)), 0.0, 0.0, 0.0
				for j, v := range row {
					rest += math.Exp(float64(v) - top)
					sum += float64(up[of+j])
					size += math.Abs(float64(up[of+j]))
				}
				for j, v := range row {
					want := float64(v) - top - math.Log(rest)
					near(t, fmt.Sprintf("%v: logarithm", shape), float64(y[of+j]), want, rowsUnits, max(1, math.Abs(want)))
					u, p := float64(up[of+j]), math.Exp(float64(y[of+j]))
					near(t, fmt.Sprintf("%v: gradient", shape), float64(grad[of+j]), u-p*sum, rowsUnits, math.Abs(u)+p*size)
				}
			}
			if err := LogSoftmax(x, x, rows, 0); err != nil || !slices.Equal(x, y) {
				t.Errorf("%v: other bits in place, or %v", shape, err)
			}
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	y := []float32{1e4, -1e4, -inf, 1, -inf, -inf, inf, 0, nan, 0}
	if err := LogSoftmax(y, y, 5, 0); err != nil || !slices.EqualFunc(y, []float32{0, -2e4, -inf, 0, nan, nan, nan, nan, nan, nan}, same) {
		t.Errorf("%v, %v", y, err)
	}
	x := make([]float32, 12)
	for want, err := range map[string]error{
		"len(x) is 6, want 5 rows": LogSoftmax(x[6:], x[:6], 5, 0), "len(y) is 5": LogSoftmax(x[6:11], x[:6], 2, 0),
		"want x, or a buffer apart": LogSoftmax(x[1:7], x[:6], 2, 0), "len(grad) is 5": LogSoftmaxGrad(x[6:11], x[:6], 2, 0),
		"want a buffer apart from y": LogSoftmaxGrad(x[:6], x[:6], 2, 0),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
