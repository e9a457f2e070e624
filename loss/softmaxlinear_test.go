package loss

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// softmaxShapes are rows, features and classes.
var softmaxShapes = [][3]int{{1, 1, 1}, {1, 7, 3}, {3, 0, 4}, {65, 1, 2}, {257, 33, 10}, {600, 5, 100}, {70, 300, 5}, {9, 20, 4097}, {1300, 900, 3}}

// softmaxData is a model, with intercepts, and rows that suit it.
func softmaxData(rows, features, classes int, seed uint64) LinearRows {
	b := rowsData(rows, classes, 1, seed)
	scale := float32(3 / math.Sqrt(float64(max(1, features))))
	return LinearRows{X: uniform(rows*features, -2, 2, seed+3), W: uniform(classes*features, -scale, scale, seed+4), B: uniform(classes, -1, 1, seed+5), Labels: b.Labels}
}

// softTargets has targets in the place of labels.
func (b LinearRows) softTargets(classes int) LinearRows {
	b.Targets, b.Labels = uniform(len(b.Labels)*classes, 0, 2/float32(classes), 98), nil
	return b
}

// withGradients has room for all that can be wanted.
func (b LinearRows) withGradients(classes, rows int) LinearRows {
	b.GradW, b.GradB, b.GradX, b.Each = make([]float32, len(b.W)), make([]float32, classes), make([]float32, len(b.X)), make([]float32, rows)
	for _, x := range [][]float32{b.GradW, b.GradB, b.GradX, b.Each} {
		for i := range x {
			x[i] = float32(math.NaN())
		}
	}
	return b
}

func newSoftmaxLinear(t testing.TB, features, classes int, o CrossEntropyOptions) *SoftmaxLinear {
	t.Helper()
	l, err := NewSoftmaxLinear(features, classes, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (b LinearRows) eval(t testing.TB, l *SoftmaxLinear) float64 {
	t.Helper()
	value, err := l.Eval(b)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// composed is what fallback.MatMul and CrossEntropy make of some rows.
func (b LinearRows) composed(t testing.TB, features, classes int, o CrossEntropyOptions) (float64, LinearRows) {
	t.Helper()
	rows := len(b.X) / max(1, features)
	if rows = len(b.Labels); b.Targets != nil {
		rows = len(b.Targets) / classes
	}
	b = b.withGradients(classes, rows)
	x, w, z := fallback.RowMajor(rows, features, b.X), fallback.RowMajor(classes, features, b.W), fallback.RowMajor(rows, classes, make([]float32, rows*classes))
	s := fallback.MatMulScalars{Alpha: 1}
	if b.B != nil {
		s.Beta = 1
	}
	fallback.MatMul(z, fallback.Matrix{Data: b.B, Rows: rows, Columns: classes, ColumnStride: 1}, x, w.T(), &s)
	value, err := newCrossEntropy(t, classes, o).Eval(Rows{Logits: z.Data, Labels: b.Labels, Targets: b.Targets, Weights: b.Weights, Grad: z.Data, Each: b.Each, Scale: b.Scale})
	if err != nil {
		t.Fatal(err)
	}
	s.Beta = 0
	fallback.MatMul(fallback.RowMajor(classes, features, b.GradW), x, z.T(), x, &s)
	fallback.MatMul(fallback.RowMajor(rows, features, b.GradX), x, z, w, &s)
	one := fallback.RowMajor(rows, 1, slices.Repeat([]float32{1}, rows))
	fallback.MatMul(fallback.RowMajor(classes, 1, b.GradB), one, z.T(), one, &s)
	return value, b
}

// sameGradients reports whether all that is written has the same bits.
func (b LinearRows) sameGradients(c LinearRows) bool {
	return slices.EqualFunc(b.GradW, c.GradW, same) && slices.EqualFunc(b.GradB, c.GradB, same) &&
		slices.EqualFunc(b.GradX, c.GradX, same) && slices.EqualFunc(b.Each, c.Each, same)
}

// closeTo reports whether values are those of losses added in another order.
func closeTo(x, y float64) bool { return same64(x, y) || math.Abs(x-y) <= 1e-13*math.Abs(y) }

// TestSoftmaxLinearComposed wants the bits of the products and the cross-entropy one after the
// other, on every table and for any number of workers.
func TestSoftmaxLinearComposed(t *testing.T) {
	before := kernels.Active()
	defer func() {
		if err := kernels.Use(before); err != nil {
			t.Fatal(err)
		}
	}()
	for _, shape := range softmaxShapes {
		rows, features, classes := shape[0], shape[1], shape[2]
		for name, o := range rowsOptions(classes) {
			for _, targets := range []bool{false, true} {
				b := softmaxData(rows, features, classes, uint64(classes))
				if targets {
					b = b.softTargets(classes)
					b.B = nil
				}
				if rows > 2 {
					b.Weights = uniform(rows, 0, 2, 8)
					b.Weights[1] = 0
				}
				b.Scale = Weight(.75)
				value, want := b.composed(t, features, classes, o)
				l := newSoftmaxLinear(t, features, classes, o)
				for _, table := range kernels.Available() {
					if err := kernels.Use(table); err != nil {
						t.Fatal(err)
					}
					got := b.withGradients(classes, rows)
					if v := got.eval(t, l); !closeTo(v, value) || !got.sameGradients(want) {
						t.Fatalf("%v %s, targets %v, %v: value %g, want %g, or other bits", shape, name, targets, table, v, value)
					}
				}
			}
		}
	}
}

// softmaxLinear64 is the losses of rows, the gradients for a divisor of 1, and what each of
// these is off by if roundings are independent, so that their squares add, in float64 from the
// formula.
func softmaxLinear64(features, classes int, o CrossEntropyOptions, b LinearRows) (each []float64, grads, expected [3][]float64) {
	rows := len(b.Labels)
	if b.Targets != nil {
		rows = len(b.Targets) / classes
	}
	at := func(x []float32, i int) float64 { return float64(x[i]) }
	rounded, off := make([]float32, rows*classes), make([]float64, rows*classes)
	exact := make([]float64, rows*classes)
	for i := range rows {
		for c := range classes {
			z, squares := 0.0, 0.0
			if b.B != nil {
				z = at(b.B, c)
			}
			for j := range features {
				v := at(b.X, i*features+j) * at(b.W, c*features+j)
				z += v
				squares += v * v
			}
			k := i*classes + c
			exact[k], rounded[k] = z, float32(z)
			off[k] = math.Sqrt(squares*running(min(features, fallback.MatMulLen))) + 2*math.Abs(z)
		}
	}
	each, g, size := crossEntropy64(classes, o, Rows{Logits: rounded, Labels: b.Labels, Targets: b.Targets, Weights: b.Weights})
	for k, n := range []int{classes * features, classes, rows * features} {
		grads[k], expected[k] = make([]float64, n), make([]float64, n)
	}
	for i := range rows {
		worst := 0.0 // logits of a row are off together
		for c := range classes {
			worst = max(worst, off[i*classes+c])
		}
		for c := range classes {
			k := i*classes + c
			slack := size[k] * (8 + worst)
			add := func(which, at int, v float64) {
				grads[which][at] += g[k] * v
				expected[which][at] += slack * slack * v * v * running(min(rows, fallback.MatMulLen))
			}
			add(1, c, 1)
			for j := range features {
				add(0, c*features+j, at(b.X, i*features+j))
				add(2, i*features+j, at(b.W, c*features+j))
			}
		}
	}
	for which := range expected {
		for i, squares := range expected[which] {
			expected[which][i] = math.Sqrt(squares) + math.Abs(grads[which][i])
		}
	}
	return each, grads, expected
}

// TestSoftmaxLinear compares with float64.
func TestSoftmaxLinear(t *testing.T) {
	for _, shape := range softmaxShapes {
		rows, features, classes := shape[0], shape[1], shape[2]
		for name, o := range rowsOptions(classes) {
			b := softmaxData(rows, features, classes, uint64(rows))
			divisor := 0.0
			for i, y := range b.Labels {
				if o.Ignore != nil && i%5 == 4 {
					b.Labels[i] = *o.Ignore
				}
				switch {
				case o.Ignore != nil && b.Labels[i] == *o.Ignore:
				case o.Weights != nil:
					divisor += float64(o.Weights[y])
				default:
					divisor++
				}
			}
			if divisor == 0 {
				continue // see TestSoftmaxLinearEmpty
			}
			got := b.withGradients(classes, rows)
			value := got.eval(t, newSoftmaxLinear(t, features, classes, o))
			each, grads, expected := softmaxLinear64(features, classes, o, b)
			total := 0.0
			for _, e := range each {
				total += e
			}
			near(t, fmt.Sprintf("%v %s: value", shape, name), value, total/divisor, rowsUnits, total/divisor)
			for k, g := range [][]float32{got.GradW, got.GradB, got.GradX} {
				for i, x := range g {
					near(t, fmt.Sprintf("%v %s: gradient by %c, %d", shape, name, "WBX"[k], i), float64(x)*divisor, grads[k][i], 4, expected[k][i])
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		}
	}
}
