package loss

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/kernels"
)

// testDelta and testLevel are those of models that have one.
const (
	testDelta = .75
	testLevel = .25
)

var modelFormulas = [...]formula{
	Squared: squared, Logistic: logistic(1), HingeLoss: hinge, SquaredHingeLoss: squaredHinge,
	PoissonLoss:  func(x, y float64) float64 { return math.Exp(x) - y*x },
	HuberLoss:    huber(testDelta, testDelta),
	AbsoluteLoss: func(x, y float64) float64 { return math.Abs(x - y) },
	QuantileLoss: func(x, y float64) float64 { return max(testLevel*(y-x), (1-testLevel)*(x-y)) },
	LogCoshLoss:  func(x, y float64) float64 { return logCosh(x - y) },
}

// curvature is the most that a model's slope changes with the prediction; Poisson's is as large
// as the rate.
var curvature = [...]float64{Squared: 2, Logistic: 0.25, HingeLoss: 0, SquaredHingeLoss: 2, PoissonLoss: 0, HuberLoss: 1, AbsoluteLoss: 0, QuantileLoss: 0, LogCoshLoss: 1}

// linearTolerance is in units of what linear64 expects. Worst seen: 3.9, of
// two million.
const linearTolerance = 6

// linear64 is the gradient of the mean loss and, last, the loss itself, and for
// each the error to expect of float32 if roundings are independent, so that
// their squares add. W has an intercept where it is longer than a row.
func linear64(model Model, x, y, w []float32) (want, expected []float64) {
	rows, f := len(y), modelFormulas[model]
	columns := len(x) / rows
	run := min(rows, (&Linear{columns: columns}).shape(rows).run)
	n := len(w)
	want, expected = make([]float64, n+1), make([]float64, n+1)
	row := make([]float64, n)
	for i := range rows {
		for j := range row {
			row[j] = 1
			if j < columns {
				row[j] = float64(x[i*columns+j])
			}
		}
		label := float64(y[i])
		z, off := dot64(row, w)
		square := off*off + label*label // of the error of z - y
		loss, slope := f(z, label), f.slope(z, label)
		bend, cancels := curvature[model], 0.
		if model == PoissonLoss {
			bend, cancels = math.Exp(z), math.Exp(z)
		}
		for j, v := range row {
			want[j] += slope * v
			expected[j] += (slope*slope*running(run) + square*bend*bend) * v * v
		}
		want[n] += loss
		expected[n] += loss*loss + cancels*cancels + square*slope*slope
	}
	for j := range want {
		want[j] /= float64(rows)
		expected[j] = math.Sqrt(expected[j])/float64(rows) + math.Abs(want[j])
	}
	return want, expected
}

// running is by how much the squared error of a float32 sum of n terms exceeds
// that of its terms: sums of random signs grow like √k, and each is rounded.
func running(n int) float64 { return 1 + float64(n)/2 }

// dot64 is a row times w and its expected error. There are 32 sums of a row.
func dot64(row []float64, w []float32) (z, expected float64) {
	for j, v := range row {
		z += v * float64(w[j])
		expected += v * v * float64(w[j]) * float64(w[j])
	}
	return z, math.Sqrt(expected*running(len(row)/32)) + math.Abs(z)
}

// linearData has labels that suit the model, and not all on the right side.
func linearData(t testing.TB, model Model, rows, columns int, intercept bool) (l *Linear, x, y, w []float32) {
	t.Helper()
	l, err := NewLinear(model, columns, intercept)
	if err != nil {
		t.Fatal(err)
	}
	scale := float32(2 / math.Sqrt(float64(max(1, columns))))
	x, w, y = uniform(rows*columns, -2, 2, 50), uniform(l.Len(), -scale, scale, 51), uniform(rows, 0, 1, 52)
	if model == HingeLoss || model == SquaredHingeLoss {
		y = signs(y)
	}
	switch model {
	case HuberLoss:
		err = l.SetDelta(testDelta)
	case QuantileLoss:
		err = l.SetLevel(testLevel)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, x, y, w
}

func TestLinear(t *testing.T) {
	for _, shape := range [][2]int{{1, 1}, {1, 7}, {9, 1}, {70, 0}, {37, 33}, {3000, 5}, {40, 1000}, {17_000, 33}, {16_500, 130}, {3, 70_000}, {2, 131_072}} {
		rows, columns := shape[0], shape[1]
		for model := range modelFormulas {
			if Model(model) > SquaredHingeLoss && rows*columns > 200_000 {
				continue // which are one pass for all models
			}
			for _, intercept := range []bool{false, true} {
				l, x, y, w := linearData(t, Model(model), rows, columns, intercept)
				grad := make([]float32, len(w))
				value, err := l.Gradient(x, y, w, grad)
				if err != nil {
					t.Fatal(err)
				}
				want, expected := linear64(Model(model), x, y, w)
				for j, g := range append(slices.Clone(grad), float32(value)) {
					near(t, "gradient", float64(g), want[j], linearTolerance, expected[j])
				}
				if t.Failed() {
					t.Fatalf("model %d, %d × %d, intercept %v", model, rows, columns, intercept)
				}
			}
		}
	}
}

func TestLinearWithoutRows(t *testing.T) {
	for model := range modelFormulas {
		l, x, y, w := linearData(t, Model(model), 0, 3, true)
		grad := []float32{1, 2, 3, 4}
		value, err := l.Gradient(x, y, w, grad)
		if err != nil || value == value || !slices.Equal(grad, make([]float32, 4)) {
			t.Errorf("model %d: the mean over no rows is %g, its gradient %g, %v", model, value, grad, err)
		}
		if err := l.Predict(x, w, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestLinearWorkers compares bits, and looks whether the workers have been at
// work at all.
func TestLinearWorkers(t *testing.T) {
	for model := range modelFormulas {
		const rows, columns = 20_003, 64 // segments of two runs
		l, x, y, w := linearData(t, Model(model), rows, columns, true)
		for i := range x { // sums of numbers alike are exact, in any order
			x[i] /= float32(int(1) << (i / columns % 30))
		}
		if model != int(HingeLoss) && model != int(SquaredHingeLoss) {
			for i := range y {
				y[i] /= float32(int(1) << (i % 30))
			}
		}
		if s := l.shape(rows); s.segment <= s.run || s.run <= s.block {
			t.Fatalf("the shape is %+v", s)
		}
		var first []float32
		var firstValue float64
		for _, workers := range []int{1, 2, 3, 5} {
			if err := l.SetWorkers(workers); err != nil {
				t.Fatal(err)
			}
			grad := make([]float32, len(w))
			value, err := l.Gradient(x, y, w, grad)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first, firstValue = grad, value
			}
			if !slices.Equal(grad, first) || value != firstValue {
				t.Errorf("model %d: the bits of %d workers differ", model, workers)
			}
			if n := len(l.room); n != workers {
				t.Errorf("model %d: there was room for %d workers, want %d", model, n, workers)
			}
		}
	}
}

// TestLinearLabels has bad labels in several segments: the first is named,
// whoever meets it, and nothing is written.
func TestLinearLabels(t *testing.T) {
	const rows, columns = 20_003, 64
	bad := map[Model][]float32{
		Logistic:         {-1, 2, float32(math.NaN()), -0x1p-149, float32(math.Inf(1))},
		HingeLoss:        {0, 0.5, float32(math.NaN()), -2, float32(math.Inf(-1)), 1 + 0x1p-23, 1 - 0x1p-24},
		SquaredHingeLoss: {0, 0.5, float32(math.NaN()), -2, float32(math.Inf(-1)), 1 + 0x1p-23, 1 - 0x1p-24},
		PoissonLoss:      {-1, -0x1p-149, float32(math.NaN()), float32(math.Inf(1))},
	}
	for model, labels := range bad {
		l, x, y, w := linearData(t, model, rows, columns, false)
		for _, label := range labels {
			for _, at := range []int{0, 1000, rows - 1} {
				y := slices.Clone(y)
				for i := at; i < rows; i += 3000 {
					y[i] = label
				}
				for _, workers := range []int{1, 3} {
					if err := l.SetWorkers(workers); err != nil {
						t.Fatal(err)
					}
					grad := []float32{columns - 1: 7}
					_, err := l.Gradient(x, y, w, grad)
					var e *ArgError
					if want := fmt.Sprintf("y[%d]", at); !errors.As(err, &e) || e.Arg != want || !same(e.Value.(float32), label) {
						t.Errorf("model %d: %v, want that %s is %g", model, err, want, label)
					}
					if !slices.Equal(grad, []float32{columns - 1: 7}) {
						t.Errorf("model %d: the gradient was written", model)
					}
				}
			}
		}
		if _, err := l.Gradient(x, y, w, make([]float32, columns)); err != nil {
			t.Errorf("model %d: good labels after bad ones: %v", model, err)
		}
	}
}

// TestLinearZeroOne maps labels, of which there are no others then.
func TestLinearZeroOne(t *testing.T) {
	for _, model := range []Model{HingeLoss, SquaredHingeLoss} {
		l, x, y, w := linearData(t, model, 300, 7, true)
		want, got := make([]float32, 8), make([]float32, 8)
		value, err := l.Gradient(x, y, w, want)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.SetLabels(ZeroOne); err != nil {
			t.Fatal(err)
		}
		zeroOne := slices.Clone(y)
		for i := range zeroOne {
			zeroOne[i] = max(0, y[i])
		}
		if v, err := l.Gradient(x, zeroOne, w, got); err != nil || v != value || !slices.Equal(got, want) {
			t.Errorf("model %d: %g, %g (%v), want %g, %g as with labels ±1", model, v, got, err, value, want)
		}
		for _, label := range []float32{-1, 0.5, float32(math.NaN()), float32(math.Inf(1)), 1 + 0x1p-23, 1 - 0x1p-24, 0x1p-149, 0x1p-75} {
			zeroOne[299] = label
			var e *ArgError
			if _, err := l.Gradient(x, zeroOne, w, got); !errors.As(err, &e) || e.Arg != "y[299]" || !same(e.Value.(float32), label) {
				t.Errorf("model %d: %v, want that y[299] is %g", model, err, label)
			}
		}
	}
}

// TestLinearDefaults has the delta and the level of which nothing was said.
func TestLinearDefaults(t *testing.T) {
	gradient := func(model Model, set func(*Linear) error) (float64, []float32) {
		l, x, y, w := linearData(t, Squared, 300, 7, true)
		l, err := NewLinear(model, 7, true)
		if err == nil && set != nil {
			err = set(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		grad := make([]float32, 8)
		value, err := l.Gradient(x, y, w, grad)
		if err != nil {
			t.Fatal(err)
		}
		return value, grad
	}
	delta, byDelta := gradient(HuberLoss, nil)
	if v, g := gradient(HuberLoss, func(l *Linear) error { return l.SetDelta(1) }); v != delta || !slices.Equal(g, byDelta) {
		t.Errorf("the default's loss is %g, that of 1 %g", delta, v)
	}
	level, byLevel := gradient(QuantileLoss, nil)
	absolute, byAbsolute := gradient(AbsoluteLoss, nil)
	for i := range byLevel {
		byLevel[i] *= 2
	}
	if absolute != 2*level || !slices.Equal(byLevel, byAbsolute) {
		t.Errorf("the median's loss is %g, the absolute one %g", level, absolute)
	}
}

// TestLinearReuse calls one Linear with matrices of changing size.
func TestLinearReuse(t *testing.T) {
	used, _, _, _ := linearData(t, Squared, 1, 9, true)
	for _, rows := range []int{2000, 3, 5000, 1} {
		fresh, x, y, w := linearData(t, Squared, rows, 9, true)
		got, want := make([]float32, 10), make([]float32, 10)
		v, err := used.Gradient(x, y, w, got)
		if err != nil {
			t.Fatal(err)
		}
		u, err := fresh.Gradient(x, y, w, want)
		if err != nil || v != u || !slices.Equal(got, want) {
			t.Errorf("%d rows: %v, want %v (%v)", rows, got, want, err)
		}
	}
}

func TestPredict(t *testing.T) {
	for _, shape := range [][2]int{{1, 1}, {70, 0}, {9, 33}, {3, 70_000}} {
		for _, intercept := range []bool{false, true} {
			l, x, z, w := linearData(t, Squared, shape[0], shape[1], intercept)
			if err := l.Predict(x, w, z); err != nil {
				t.Fatal(err)
			}
			for i := range z {
				row := make([]float64, len(w))
				for j := range row {
					row[j] = 1
					if j < shape[1] {
						row[j] = float64(x[i*shape[1]+j])
					}
				}
				want, expected := dot64(row, w)
				near(t, "x·w", float64(z[i]), want, linearTolerance, expected)
			}
		}
	}
}

// TestPredictApart compares rows that are walked one by one, as blocks of a matrix
// in memory are, with the same rows side by side.
func TestPredictApart(t *testing.T) {
	const rows, columns = 51, 130
	l, x, _, w := linearData(t, Squared, rows, columns, true)
	l.grow(1)
	var z [2][rows]float32
	for k, apart := range []bool{false, true} {
		l.predict(kernels.Active(), x, w, z[k][:], l.room[0].part[:], apart)
	}
	if z[0] != z[1] {
		t.Error("the rows differ")
	}
}
