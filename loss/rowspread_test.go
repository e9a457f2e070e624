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

// spread64 is the focal loss of a row of logits and targets, which have all weights, in float64 from
// the formula, and its gradient, with the sizes of what each is the difference of: where a class is
// nearly sure those of what is left of 1.
func spread64(gamma float64, z []float32, t []float64) (loss float64, grad, size []float64) {
	top, rest, largest := math.Inf(-1), 0.0, -1
	for c, x := range z {
		if float64(x) > top {
			top, largest = float64(x), c
		}
	}
	for c, x := range z {
		if c != largest {
			rest += math.Exp(float64(x) - top)
		}
	}
	likes, slopes, total := make([]float64, len(z)), make([]float64, len(z)), 0.0
	for c, x := range z {
		each := top - float64(x) + math.Log1p(rest)
		like, unlike := math.Exp(-each), -math.Expm1(-each)
		if unlike == 0 { // beside which a power is nothing
			each = 0
		}
		m := math.Pow(unlike, gamma)
		if t[c] != 0 {
			loss += t[c] * m * each
			slopes[c] = t[c] * m
			if gamma > 0 && unlike > 0 {
				slopes[c] *= 1 + gamma*like/unlike*each
			}
		}
		likes[c] = like
		total += slopes[c]
	}
	grad, size = make([]float64, len(z)), make([]float64, len(z))
	for c := range z {
		grad[c], size[c] = likes[c]*total-slopes[c], likes[c]*total+slopes[c]
		if c == largest && rest < .99 {
			others := 0.0
			for k, s := range slopes {
				if k != c {
					others += s
				}
			}
			grad[c], size[c] = (others-slopes[c]*rest)/(1+rest), (others+slopes[c]*rest)/(1+rest)
		}
	}
	return loss, grad, size
}

// spreadOptions are options of all kinds for so many classes.
func spreadOptions(classes int) map[string]RowLossOptions {
	weights := uniform(classes, .5, 2, 5)
	weights[0] = 0
	all := map[string]RowLossOptions{
		"plain":             {Gamma: 2},
		"cross-entropy":     {Smoothing: .1, Reduction: Sum},
		"half":              {Gamma: .5, Smoothing: 1},
		"large":             {Gamma: 30, Smoothing: .1, Reduction: None},
		"smoothed, weights": {Gamma: 1.5, Weights: weights, Smoothing: .25, Ignore: Label(-7)},
	}
	for name, o := range all {
		o.Model = SoftmaxFocal
		all[name] = o
	}
	return all
}

// TestSpreadFocal compares value, losses and gradients with float64, of targets and of labels, with
// logits among which none is larger than all others and with some that are, and are right.
func TestSpreadFocal(t *testing.T) {
	for _, shape := range rowsShapes {
		rows, classes := shape[0], shape[1]
		for name, o := range spreadOptions(classes) {
			for _, spread := range []float32{.1, 3, 30} {
				for _, targets := range []string{"labels", "some", "one"} {
					if targets == "labels" && o.Smoothing == 0 {
						continue
					}
					b := rowsData(rows, classes, spread, uint64(classes))
					for i := 0; i < rows; i += 2 { // sure ones
						b.Logits[i*classes+int(b.Labels[i])] = spread + 20
					}
					switch {
					case targets == "some":
						b = targetsOf(b, classes)
					case targets == "one":
						b = hotOf(b, classes)
					case o.Ignore != nil:
						b.Labels[rows/2] = *o.Ignore
					}
					b.Weights, b.Scale = uniform(rows, .25, 2, 8), Weight(3)
					if rows > 2 {
						b.Weights[1] = 0
					}
					compareSpread(t, fmt.Sprintf("%v %s %g %s", shape, name, spread, targets), classes, o, b, float64(rowsUnits+2*spread+20)*max(1, o.Gamma))
				}
			}
		}
	}
}

// hotOf has the targets that labels stand for.
func hotOf(b Rows, classes int) Rows {
	b.Targets = make([]float32, len(b.Logits))
	for i, y := range b.Labels {
		b.Targets[i*classes+int(y)] = 1
	}
	b.Labels = nil
	return b
}

func compareSpread(t *testing.T, name string, classes int, o RowLossOptions, b Rows, units float64) {
	t.Helper()
	const least = 0x1p-120 // of what fades to 0
	value, grad, each := evalRowLoss(t, newRowLoss(t, classes, o), b)
	total, divisor := 0.0, 0.0
	want, sizes := make([]float64, len(grad)), make([]float64, len(grad))
	for i := range each {
		if b.Labels != nil && o.Ignore != nil && b.Labels[i] == *o.Ignore {
			continue
		}
		divisor++
		targets := make([]float64, classes)
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
		loss, g, size := spread64(o.Gamma, b.Logits[i*classes:][:classes], targets)
		near(t, name+": loss", float64(each[i]), loss, units, math.Abs(loss)+least/unit)
		total += loss
		copy(want[i*classes:], g)
		copy(sizes[i*classes:], size)
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
	near(t, name+": value", value, total/divisor, units, math.Abs(total)/divisor+least/unit)
	for i, g := range grad {
		if off := math.Abs(float64(g) - 3*want[i]/divisor); !(off <= unit*units*3*sizes[i]/divisor+least) {
			t.Fatalf("%s: gradient %d is %g, want %g: %.3g units off", name, i, g, 3*want[i]/divisor, off/unit/sizes[i])
		}
	}
}

// TestSpreadFocalDifferences compares gradients with differences of the values.
func TestSpreadFocalDifferences(t *testing.T) {
	const rows, classes, h = 6, 5, 0x1p-7
	for name, o := range spreadOptions(classes) {
		for _, soft := range []bool{false, true} {
			b := rowsData(rows, classes, 1, 11)
			if soft {
				b = targetsOf(b, classes)
			}
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
				if want := 8 * (up - down) / (2 * h); math.Abs(float64(grad[i])-want) > 2e-3 {
					t.Errorf("%s, soft %v: gradient %d is %g, differences say %g", name, soft, i, grad[i], want)
				}
			}
		}
	}
}

// TestSpreadFocalAlike has a gamma of 0 be the cross-entropy, and targets what labels are.
func TestSpreadFocalAlike(t *testing.T) {
	for _, shape := range rowsShapes[:9] {
		rows, classes := shape[0], shape[1]
		for name, b := range map[string]Rows{"labels": rowsData(rows, classes, 9, 3), "targets": targetsOf(rowsData(rows, classes, 9, 3), classes)} {
			focal := newRowLoss(t, classes, RowLossOptions{Model: SoftmaxFocal, Smoothing: .1})
			entropy := newCrossEntropy(t, classes, CrossEntropyOptions{Smoothing: .1})
			got, grad, _ := evalRowLoss(t, focal, b)
			want, wantGrad, _ := evalRows(t, entropy, b)
			near(t, fmt.Sprintf("%v %s: value", shape, name), got, want, 2*rowsUnits, math.Abs(want))
			for i, g := range grad {
				near(t, fmt.Sprintf("%v %s: gradient", shape, name), float64(g), float64(wantGrad[i]), 2*rowsUnits, 1/float64(rows))
			}
		}
		b := rowsData(rows, classes, 9, 3)
		l := newRowLoss(t, classes, RowLossOptions{Model: SoftmaxFocal, Gamma: 2})
		want, wantGrad, _ := evalRowLoss(t, l, b)
		got, grad, _ := evalRowLoss(t, l, hotOf(b, classes))
		near(t, fmt.Sprintf("%v: value", shape), got, want, 4*rowsUnits, math.Abs(want))
		for i, g := range grad {
			near(t, fmt.Sprintf("%v: gradient", shape), float64(g), float64(wantGrad[i]), 4*rowsUnits, math.Abs(float64(wantGrad[i]))+0x1p-100)
		}
	}
}

// TestSpreadFocalBits compares tables and numbers of workers, the gradient apart, in place and not
// wanted, and keeps the bits what they are.
func TestSpreadFocalBits(t *testing.T) {
	defer kernels.Use(kernels.Active())
	all, large := uint64(0), []int{1, 3}
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		large = large[1:]
	}
	for _, shape := range append([][2]int{{tune.ParallelLen/10 + 1, 10}, {7, tune.ParallelLen/7 + 1}}, rowsShapes[:9]...) {
		rows, classes := shape[0], shape[1]
		for name, o := range spreadOptions(classes) {
			for _, soft := range []bool{false, true} {
				if rows*classes >= tune.ParallelLen && (o.Weights == nil || soft) {
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
						b := rowsData(rows, classes, 10, 6)
						if soft {
							b = targetsOf(b, classes)
						}
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
						if none, err := l.Eval(Rows{Logits: b.Logits, Labels: b.Labels, Targets: b.Targets, Each: each}); err != nil || none != value {
							t.Errorf("%v %s: other bits without a gradient, or %v", shape, name, err)
						}
						b.Grad = b.Logits
						add(evalRowLoss(t, l, b))
					}
				}
				all += bits // in any order
			}
		}
	}
	if want := uint64(0x929d094b89798c6a); all != want {
		t.Errorf("the bits have changed: %#x, were %#x", all, want)
	}
}

// TestSpreadFocalExtremes has numbers that overflow, and that are none, of smoothed labels of class 0,
// and of the target 1 of class 0.
func TestSpreadFocalExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, classes := range []int{3, 5000} {
		n := float64(classes)
		for _, c := range []struct {
			gamma, smoothing   float64
			label, rest, other float32 // other is the last
			loss, grad         float64 // of the label
		}{
			{2, 0, 1e4, -1e4, -1e4, 0, 0},
			{2, 0, -1e4, 1e4, 1e4, 2e4 + math.Log(n-1), -1},
			{.5, 0, 3, -inf, -inf, 0, 0},
			{1000, 0, 1e4, -1e4, -inf, 0, 0},
			{1000, 0, -3e38, 3e38, 3e38, math.Inf(1), -1},
			{2, .1, 1e4, -1e4, -1e4, .1 * (n - 1) / n * 2e4, .1 * (n - 1) / n},
			{1000, .1, 1e4, -1e4, -1e4, .1 * (n - 1) / n * 2e4, .1 * (n - 1) / n},
			{0, .5, 1e4, -1e4, -1e4, .5 * (n - 1) / n * 2e4, .5 * (n - 1) / n},
			{2, 0, -inf, 0, 0, math.Inf(1), -1},
			{2, .1, 0, -inf, -inf, math.Inf(1), .1 * (n - 1) / n},
			{2, 0, 0, 0, nan, math.NaN(), math.NaN()},
			{2, .1, 0, 0, inf, math.NaN(), math.NaN()},
			{2, 0, -inf, -inf, -inf, math.NaN(), math.NaN()},
			{0, .1, nan, 0, 0, math.NaN(), math.NaN()},
		} {
			z := make([]float32, 2*classes)
			for i := range classes {
				z[i] = c.rest
			}
			z[0], z[classes-1] = c.label, c.other
			z[classes] = nan // in a row that costs nothing
			b := Rows{Logits: z, Labels: []int64{0, 1}, Weights: []float32{1, 0}}
			if c.smoothing == 0 {
				b = hotOf(b, classes)
			}
			l := newRowLoss(t, classes, RowLossOptions{Model: SoftmaxFocal, Gamma: c.gamma, Smoothing: c.smoothing, Reduction: Sum})
			value, grad, each := evalRowLoss(t, l, b)
			off := func(got, want float64) bool {
				return !same64(got, want) && !(math.Abs(got-want) <= 2e-6*math.Abs(want))
			}
			if off(value, c.loss) || off(float64(each[0]), c.loss) || off(float64(grad[0]), c.grad) {
				t.Errorf("%d classes, %+v: value %g, loss %g, gradient %g", classes, c, value, each[0], grad[0])
			}
			bad := slices.IndexFunc(grad[:classes], func(g float32) bool { return (g != g) != (c.grad != c.grad) })
			if bad >= 0 || slices.ContainsFunc(grad[classes:], func(g float32) bool { return g != 0 }) {
				t.Errorf("%d classes, %+v: gradient %d is %g, or that of nothing is none", classes, c, bad, grad[max(0, bad)])
			}
		}
	}
}

func TestSpreadFocalAllocations(t *testing.T) {
	for _, shape := range [][2]int{{7, 10}, {2, 5000}} {
		b, l := rowsData(shape[0], shape[1], 1, 1), newRowLoss(t, shape[1], spreadOptions(shape[1])["smoothed, weights"])
		b.Grad = make([]float32, len(b.Logits))
		if n := allocs.PerRun(10, func() {
			if _, err := l.Eval(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", shape, n)
		}
	}
}

// TestSpreadFocalErrors has nothing written where something is refused.
func TestSpreadFocalErrors(t *testing.T) {
	for want, o := range map[string]RowLossOptions{
		"Smoothing is 0.1, want 0: it is for SoftmaxFocal": {Model: NLL, Smoothing: .1},
		"Smoothing is 1.5, want from 0 to 1":               {Model: SoftmaxFocal, Smoothing: 1.5},
		"Smoothing is NaN, want from 0 to 1":               {Model: SoftmaxFocal, Smoothing: math.NaN()},
	} {
		if _, err := NewRowLoss(3, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	l, x, grad := newRowLoss(t, 3, RowLossOptions{Model: SoftmaxFocal, Smoothing: .1}), make([]float32, 6), []float32{5, 5, 5, 5, 5, 5}
	for want, b := range map[string]Rows{
		"Targets is 6 elements, want nil beside labels": {Logits: x, Labels: []int64{0, 1}, Targets: make([]float32, 6), Grad: grad},
		"Labels[1] is 3":              {Logits: x, Labels: []int64{0, 3}, Grad: grad},
		"len(Logits) is 6":            {Logits: x, Targets: make([]float32, 9), Grad: grad},
		"a buffer apart from Targets": {Logits: x, Targets: grad, Grad: grad},
	} {
		if _, err := l.Eval(b); err == nil || !strings.Contains(err.Error(), want) || grad[0] != 5 {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
