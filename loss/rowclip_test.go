package loss

import (
	"encoding/binary"
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

// clippedData has rows of numbers above 0 that do not add up to 1: some of 0, and rows with one that
// is not.
func clippedData(rows, classes int) Rows {
	b := rowsData(rows, classes, 1, uint64(classes))
	b.Logits = uniform(rows*classes, .1, 1, 12)
	for i := range b.Logits {
		row, c := i/classes, i%classes
		if c > 0 && (c%7 == 3 || row%4 == 1) {
			b.Logits[i] = 0
		}
	}
	return b
}

// clipped64 is the loss of a row of the weight 1 of targets, in float64 from the formula, and its
// gradient, with what these are off by if q is off by one unit in the last place.
func clipped64(gamma float64, x []float32, t []float64) (loss, off float64, grad, gradOff []float64) {
	const low = float64(float32(1e-7))
	high := float64(float32(1 - 1e-7))
	sum, product, productOff := 0.0, 0.0, 0.0
	for _, v := range x {
		sum += float64(v)
	}
	grad, gradOff = make([]float64, len(x)), make([]float64, len(x))
	for c, v := range x {
		s := float64(v) / sum
		q := min(max(s, low), high)
		m := math.Pow(1-q, gamma)
		bend, log := gamma*m/(1-q), -math.Log(q)
		loss += t[c] * m * log
		off += t[c] * (m*log + m + bend*log*q)
		if q != s {
			continue
		}
		grad[c] = -t[c] * (m/q + bend*log)
		gradOff[c] = t[c] * ((m/q+bend*log)*(1+(1+gamma)*q/(1-q)) + 2*bend)
		product += grad[c] * s
		productOff += gradOff[c] * s
	}
	for c := range x {
		grad[c], gradOff[c] = (grad[c]-product)/sum, (gradOff[c]+productOff)/sum
	}
	return loss, off, grad, gradOff
}

// clippedOptions are options of all kinds for so many classes.
func clippedOptions(classes int) map[string]RowLossOptions {
	of := func(o RowLossOptions) RowLossOptions {
		o.Model, o.Probabilities = SoftmaxFocal, true
		return o
	}
	weights := uniform(classes, .5, 2, 5)
	weights[0] = 0
	return map[string]RowLossOptions{
		"cross-entropy":     of(RowLossOptions{}),
		"plain":             of(RowLossOptions{Gamma: 2}),
		"half":              of(RowLossOptions{Gamma: .5, Reduction: None}),
		"smoothed":          of(RowLossOptions{Gamma: 2, Smoothing: .1, Reduction: Sum}),
		"weights":           of(RowLossOptions{Gamma: 3, Weights: weights}),
		"smoothed, weights": of(RowLossOptions{Gamma: 1.5, Weights: weights, Smoothing: .25, Ignore: Label(-7)}),
	}
}

// TestClippedFocal compares value, losses and gradients with float64.
func TestClippedFocal(t *testing.T) {
	for _, shape := range rowsShapes {
		rows, classes := shape[0], shape[1]
		for name, o := range clippedOptions(classes) {
			for _, soft := range []bool{false, true} {
				b := clippedData(rows, classes)
				if soft {
					b = targetsOf(b, classes)
				} else if o.Ignore != nil {
					b.Labels[rows/2] = *o.Ignore
				}
				b.Weights, b.Scale = uniform(rows, 0, 2, 8), Weight(3)
				b.Weights[0] = 0
				compareClipped(t, fmt.Sprintf("%v %s soft %v", shape, name, soft), classes, o, b)
			}
		}
	}
}

func compareClipped(t *testing.T, name string, classes int, o RowLossOptions, b Rows) {
	t.Helper()
	value, grad, each := evalRowLoss(t, newRowLoss(t, classes, o), b)
	total, totalOff, divisor := 0.0, 0.0, 0.0
	type row struct{ grad, off []float64 }
	all := make([]row, len(each))
	for i := range each {
		targets := make([]float64, classes)
		if b.Labels != nil && o.Ignore != nil && b.Labels[i] == *o.Ignore {
			all[i] = row{targets, targets}
			continue
		}
		divisor++
		for c := range targets {
			if b.Targets != nil {
				targets[c] = float64(b.Targets[i*classes+c])
			} else if int(b.Labels[i]) == c {
				targets[c] = 1
			}
			targets[c] = targets[c]*(1-o.Smoothing) + o.Smoothing/float64(classes)
			if o.Weights != nil {
				targets[c] *= float64(o.Weights[c])
			}
			targets[c] *= float64(b.Weights[i])
		}
		loss, off, g, gOff := clipped64(o.Gamma, b.Logits[i*classes:][:classes], targets)
		near(t, name+": loss", float64(each[i]), loss, rowsUnits, off+1e-30)
		total, totalOff, all[i] = total+loss, totalOff+off, row{g, gOff}
	}
	if o.Reduction != Mean {
		divisor = 1
	}
	if divisor == 0 {
		if value == value {
			t.Errorf("%s: a mean over nothing is %g", name, value)
		}
		return
	}
	near(t, name+": value", value, total/divisor, rowsUnits, totalOff/divisor+1e-30)
	for i, g := range grad {
		want, off := 3*all[i/classes].grad[i%classes]/divisor, 3*all[i/classes].off[i%classes]/divisor
		if !(math.Abs(float64(g)-want) <= rowsUnits*unit*off+1e-30) {
			t.Fatalf("%s: gradient %d is %g, want %g: %.3g units of %g off", name, i, g, want, math.Abs(float64(g)-want)/unit/off, off)
		}
	}
}

// TestClippedFocalDifferences compares gradients with differences of the values, where none is
// clipped.
func TestClippedFocalDifferences(t *testing.T) {
	const rows, classes, h = 6, 5, 0x1p-7
	for name, o := range clippedOptions(classes) {
		b := rowsData(rows, classes, 1, 11)
		b.Logits = uniform(rows*classes, .25, 1, 12)
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
			if want := 8 * (up - down) / (2 * h); math.Abs(float64(grad[i])-want) > 2e-2 {
				t.Errorf("%s: gradient %d is %g, differences say %g", name, i, grad[i], want)
			}
		}
	}
}

// TestClippedFocalBits compares tables and numbers of workers, the gradient apart, in place and not
// wanted, and labels with the targets that they stand for, and keeps the bits what they are.
func TestClippedFocalBits(t *testing.T) {
	defer kernels.Use(kernels.Active())
	all, large := uint64(0), []int{1, 3}
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		large = large[1:]
	}
	for _, shape := range append([][2]int{{tune.ParallelLen/10 + 1, 10}, {7, tune.ParallelLen/7 + 1}}, rowsShapes[:9]...) {
		rows, classes := shape[0], shape[1]
		for name, o := range clippedOptions(classes) {
			if rows*classes >= tune.ParallelLen && o.Smoothing == 0 {
				continue // which takes long, and is shared in the same way
			}
			l, bits := newRowLoss(t, classes, o), uint64(0)
			for _, table := range kernels.Available() {
				if err := kernels.Use(table); err != nil {
					t.Fatal(err)
				}
				some := large
				if rows*classes < tune.ParallelLen {
					some = large[:1] // which is what there would be
				}
				for _, workers := range some {
					if err := l.SetWorkers(workers); err != nil {
						t.Fatal(err)
					}
					b := clippedData(rows, classes)
					h := fnv.New64a()
					add := func(value float64, grad, each []float32) {
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
					value, grad, each := evalRowLoss(t, l, b)
					add(value, grad, each)
					if none, err := l.Eval(Rows{Logits: b.Logits, Labels: b.Labels, Each: each}); err != nil || none != value {
						t.Errorf("%v %s: other bits without a gradient, or %v", shape, name, err)
					}
					if o.Weights == nil { // with which rows of their weight 0 are left out
						soft := b
						soft.Labels, soft.Targets = nil, make([]float32, len(b.Logits))
						for i, y := range b.Labels {
							soft.Targets[i*classes+int(y)] = 1
						}
						add(evalRowLoss(t, l, soft))
					}
					b.Grad = b.Logits
					add(evalRowLoss(t, l, b))
				}
			}
			all += bits // in any order
		}
	}
	if want := uint64(0x90f920ce4972f0ba); all != want {
		t.Errorf("the bits have changed: %#x, were %#x", all, want)
	}
}

// TestClippedFocalExtremes has rows that are no probabilities.
func TestClippedFocalExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	low, high := 16.11809565095832, -math.Log(float64(float32(1-1e-7)))
	for _, c := range []struct {
		row        []float32
		loss, grad float64 // of the label, the first
	}{
		{[]float32{1, 0, 0}, high, 0},
		{[]float32{0, 1, 0}, low, 0},
		{[]float32{-1, 2, 0}, low, 0},
		{[]float32{3e38, 1, 1}, high, 0},
		{[]float32{1e-7, 1, 0}, low, 0},
		{[]float32{2, 1, 1}, math.Ln2, -.25},
		{[]float32{1, nan, 0}, math.NaN(), math.NaN()},
		{[]float32{nan, 1, 0}, math.NaN(), math.NaN()},
		{[]float32{inf, 1, 0}, math.NaN(), math.NaN()},
		{[]float32{0, 0, 0}, math.NaN(), math.NaN()},
		{[]float32{1, -1, 0}, high, math.NaN()},
	} {
		l := newRowLoss(t, 3, RowLossOptions{Model: SoftmaxFocal, Probabilities: true, Reduction: Sum})
		z := append(slices.Clone(c.row), nan, nan, nan) // of a row that costs nothing
		value, grad, each := evalRowLoss(t, l, Rows{Logits: z, Labels: []int64{0, 1}, Weights: []float32{1, 0}})
		off := func(got, want float64) bool {
			return !same64(got, want) && !(math.Abs(got-want) <= 1e-6*math.Abs(want))
		}
		if off(value, c.loss) || off(float64(each[0]), c.loss) || off(float64(grad[0]), c.grad) || slices.ContainsFunc(grad[3:], func(g float32) bool { return g != 0 }) {
			t.Errorf("%v: value %g, loss %g, gradient %g, want %g and %g", c.row, value, each[0], grad, c.loss, c.grad)
		}
	}
}

func TestClippedFocalAllocations(t *testing.T) {
	o := clippedOptions(10)["smoothed, weights"]
	b, l := clippedData(7, 10), newRowLoss(t, 10, o)
	b.Grad = make([]float32, len(b.Logits))
	if n := allocs.PerRun(10, func() {
		if _, err := l.Eval(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClippedFocalErrors(t *testing.T) {
	for want, o := range map[string]RowLossOptions{
		"Probabilities is true, want false: it is for SoftmaxFocal": {Model: NLL, Probabilities: true},
		"Smoothing is 1.5, want from 0 to 1":                        {Model: SoftmaxFocal, Probabilities: true, Smoothing: 1.5},
		"Smoothing is NaN, want from 0 to 1":                        {Model: SoftmaxFocal, Probabilities: true, Smoothing: math.NaN()},
	} {
		if _, err := NewRowLoss(3, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
