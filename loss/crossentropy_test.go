package loss

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// rowsUnits is how many units of 2⁻²⁴ a loss of rows may be off: a rounding for each of the
// elements of a lane, of which half the roundings go the other way, and some operations. The
// distance of logits from the largest is rounded too, which an exponential is off by.
const rowsUnits = 40

// crossEntropy64 is the losses of rows and their gradient for a divisor of 1, in float64
// from the formula, and the sizes of what each gradient is the sum of.
func crossEntropy64(classes int, o CrossEntropyOptions, b Rows) (each, grad, size []float64) {
	rows := len(b.Logits) / classes
	each, grad, size = make([]float64, rows), make([]float64, len(b.Logits)), make([]float64, len(b.Logits))
	for i := range rows {
		scale := 1.0
		if b.Weights != nil {
			scale = float64(b.Weights[i])
		}
		if scale == 0 || b.Labels != nil && o.Ignore != nil && b.Labels[i] == *o.Ignore {
			continue
		}
		z := b.Logits[i*classes:][:classes]
		top, sum := math.Inf(-1), 0.0
		for _, x := range z {
			if top = max(top, float64(x)); x != x {
				top = math.NaN()
			}
		}
		largest := -1 // whose exponential is left out of the sum
		for c, x := range z {
			if largest < 0 && float64(x) == top {
				largest = c
				continue
			}
			sum += math.Exp(float64(x) - top)
		}
		log := math.Log1p(sum)
		if largest < 0 { // NaN
			log = math.NaN()
		}
		lse := top + log
		all := 0.0
		for c, x := range z {
			t := 0.0
			if b.Labels == nil {
				t = float64(b.Targets[i*classes+c])
			} else if int(b.Labels[i]) == c {
				t = 1
			}
			t = (1-o.Smoothing)*t + o.Smoothing/float64(classes)
			if o.Weights != nil {
				t *= float64(o.Weights[c])
			}
			if all += t; t != 0 {
				each[i] += t * ((top - float64(x)) + log)
			}
			grad[i*classes+c] = t
		}
		each[i] += o.ZLoss * lse * lse
		z2 := 2 * o.ZLoss * lse
		for c, x := range z {
			s := math.Exp((float64(x) - top) - log)
			g, k := &grad[i*classes+c], i*classes+c
			t := *g
			if c == largest && b.Labels != nil { // t - s without a difference of numbers near 1
				*g = (all+z2-t)*s - t*(sum/(1+sum))
				size[k] = (math.Abs(z2)+math.Abs(all-t))*s + t*(sum/(1+sum))
			} else {
				*g = (all+z2)*s - t
				size[k] = (all+math.Abs(z2))*s + t
			}
			*g *= scale
			size[k] *= scale
		}
		each[i] *= scale
	}
	return each, grad, size
}

// rowsData is logits of a spread, labels and targets.
func rowsData(rows, classes int, spread float32, seed uint64) Rows {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := Rows{Logits: uniform(rows*classes, -spread, spread, seed+1), Labels: make([]int64, rows)}
	for i := range b.Labels {
		b.Labels[i] = int64(rng.IntN(classes))
	}
	return b
}

// targetsOf has targets in the place of labels: some of 0, and rows that do not add up to 1.
func targetsOf(b Rows, classes int) Rows {
	b.Targets = uniform(len(b.Logits), 0, 2/float32(classes), 99)
	for i := range b.Targets {
		if i%3 == 0 {
			b.Targets[i] = 0
		}
	}
	b.Labels = nil
	return b
}

func newCrossEntropy(t testing.TB, classes int, o CrossEntropyOptions) *CrossEntropy {
	t.Helper()
	l, err := NewCrossEntropy(classes, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// evalRows calls Eval with buffers for gradient and losses.
func evalRows(t testing.TB, l *CrossEntropy, b Rows) (value float64, grad, each []float32) {
	t.Helper()
	if b.Grad == nil {
		b.Grad = make([]float32, len(b.Logits))
	}
	if b.Each == nil {
		b.Each = make([]float32, len(b.Logits)/l.classes)
	}
	value, err := l.Eval(b)
	if err != nil {
		t.Fatal(err)
	}
	return value, b.Grad, b.Each
}

// rowsOptions are options of all kinds for so many classes.
func rowsOptions(classes int) map[string]CrossEntropyOptions {
	weights := uniform(classes, 0, 2, 5)
	weights[0] = 0
	return map[string]CrossEntropyOptions{
		"plain":             {},
		"weights":           {Weights: weights},
		"smoothing":         {Smoothing: .1},
		"smoothing weights": {Smoothing: .3, Weights: weights},
		"all smoothing":     {Smoothing: 1},
		"z":                 {ZLoss: 1e-2},
		"everything":        {Weights: weights, Smoothing: .2, ZLoss: .1, Ignore: Label(TorchIgnore)},
		"ignore a class":    {Ignore: Label(int64(classes - 1))},
	}
}

var rowsShapes = [][2]int{{1, 1}, {3, 2}, {700, 3}, {50, 10}, {9, 100}, {7, 1000}, {3, 4095}, {3, 4096}, {3, 4097}, {2, 5120}, {2, 20_001}, {1, 300_000}}

// TestCrossEntropy compares value, losses and gradients with float64, of every option and
// shape, with logits among which none is larger than all others and with some that are.
func TestCrossEntropy(t *testing.T) {
	for _, shape := range rowsShapes {
		rows, classes := shape[0], shape[1]
		for name, o := range rowsOptions(classes) {
			for _, spread := range []float32{.1, 3, 30} {
				for _, targets := range []bool{false, true} {
					t.Run(fmt.Sprintf("%dx%d %s %g targets %v", rows, classes, name, spread, targets), func(t *testing.T) {
						b := rowsData(rows, classes, spread, uint64(classes))
						for i := range b.Labels {
							if i%2 == 0 { // sure ones
								b.Logits[i*classes+int(b.Labels[i])] = spread + 20
							}
							if i%5 == 4 && o.Ignore != nil {
								b.Labels[i] = *o.Ignore
							}
						}
						if rows > 2 {
							b.Weights = uniform(rows, 0, 2, 8)
							b.Weights[1] = 0
						}
						if targets {
							b = targetsOf(b, classes)
						}
						compareRows(t, classes, o, b, float64(rowsUnits+2*spread+20))
					})
				}
			}
		}
	}
}

func compareRows(t *testing.T, classes int, o CrossEntropyOptions, b Rows, units float64) {
	t.Helper()
	divisor := 0.0
	for _, y := range b.Labels {
		switch {
		case o.Ignore != nil && y == *o.Ignore:
		case o.Weights != nil:
			divisor += float64(o.Weights[y])
		default:
			divisor++
		}
	}
	if b.Targets != nil {
		divisor = float64(len(b.Logits) / classes)
	}
	wantEach, wantGrad, size := crossEntropy64(classes, o, b)
	for _, reduction := range []Reduction{Mean, Sum, None} {
		o.Reduction = reduction
		if reduction != Mean {
			divisor = 1
		}
		value, grad, each := evalRows(t, newCrossEntropy(t, classes, o), b)
		if divisor == 0 {
			if value == value {
				t.Errorf("a mean over nothing is %g", value)
			}
			continue
		}
		total := 0.0
		for i, e := range wantEach {
			total += e
			near(t, fmt.Sprintf("loss %d", i), float64(each[i]), e, units, math.Abs(e))
		}
		near(t, "value", value, total/divisor, units, math.Abs(total/divisor))
		for i, g := range wantGrad {
			const least = 0x1p-122 // of what fades to 0
			if off := math.Abs(float64(grad[i]) - g/divisor); !(off <= unit*units*size[i]/divisor+least) {
				t.Fatalf("gradient %d is %g, want %g", i, grad[i], g/divisor)
			}
		}
	}
}

// TestCrossEntropyDifferences compares gradients with differences of the values, at a scale.
func TestCrossEntropyDifferences(t *testing.T) {
	const rows, classes, h = 4, 5, 0x1p-7
	for name, o := range rowsOptions(classes) {
		for _, targets := range []bool{false, true} {
			b := rowsData(rows, classes, 1, 3)
			if targets {
				b = targetsOf(b, classes)
			}
			b.Scale = Weight(8)
			l := newCrossEntropy(t, classes, o)
			_, grad, _ := evalRows(t, l, b)
			for i := range grad {
				x := b.Logits[i]
				b.Logits[i] = x + h
				up, _, _ := evalRows(t, l, b)
				b.Logits[i] = x - h
				down, _, _ := evalRows(t, l, b)
				b.Logits[i] = x
				if want := 8 * (up - down) / (2 * h); math.Abs(float64(grad[i])-want) > 1e-3 {
					t.Errorf("%s, targets %v: gradient %d is %g, differences say %g", name, targets, i, grad[i], want)
				}
			}
		}
	}
}

// TestCrossEntropyPlaces has the gradient in the place of the logits, apart, or not at all.
func TestCrossEntropyPlaces(t *testing.T) {
	for _, shape := range rowsShapes {
		for name, o := range rowsOptions(shape[1]) {
			for _, targets := range []bool{false, true} {
				b := rowsData(shape[0], shape[1], 4, 1)
				if targets {
					b = targetsOf(b, shape[1])
				}
				l := newCrossEntropy(t, shape[1], o)
				value, grad, each := evalRows(t, l, b)
				none, err := l.Eval(Rows{Logits: b.Logits, Labels: b.Labels, Targets: b.Targets})
				if err != nil {
					t.Fatal(err)
				}
				b.Grad = b.Logits
				in, _, eachIn := evalRows(t, l, b)
				if !same64(in, value) || !same64(none, value) || !slices.EqualFunc(grad, b.Logits, same) || !slices.EqualFunc(each, eachIn, same) {
					t.Errorf("%v %s, targets %v: other bits in place or without a gradient", shape, name, targets)
				}
			}
		}
	}
}

func same64(x, y float64) bool { return x == y || x != x && y != y }

// TestCrossEntropyBits keeps the bits what they are, whatever the machine and the number of
// workers.
func TestCrossEntropyBits(t *testing.T) {
	h := fnv.New64a()
	for _, shape := range [][2]int{{2000, 10}, {300, 1000}, {5, 4096}, {8, 40_001}, {1, 300_000}} {
		for _, name := range []string{"plain", "everything"} {
			for _, targets := range []bool{false, true} {
				b := rowsData(shape[0], shape[1], 10, 2)
				if targets {
					b = targetsOf(b, shape[1])
				}
				l := newCrossEntropy(t, shape[1], rowsOptions(shape[1])[name])
				for _, workers := range []int{1, 2, 5} {
					if err := l.SetWorkers(workers); err != nil {
						t.Fatal(err)
					}
					value, grad, each := evalRows(t, l, b)
					first := fnv.New64a()
					binary.Write(first, binary.LittleEndian, value)
					binary.Write(first, binary.LittleEndian, grad)
					binary.Write(first, binary.LittleEndian, each)
					binary.Write(h, binary.LittleEndian, first.Sum64())
					if want := 1; len(b.Logits) >= tune.ParallelLen {
						want = workers
						if n := len(l.rooms); n != want {
							t.Errorf("there was room for %d workers, want %d", n, want)
						}
					}
				}
			}
		}
	}
	if got, want := h.Sum64(), uint64(0x38a89ea60d246f69); got != want {
		t.Errorf("the bits have changed: %#x, were %#x", got, want)
	}
}

// TestCrossEntropyWorkers compares bits.
func TestCrossEntropyWorkers(t *testing.T) {
	for _, classes := range []int{10, 1000, 70_000} {
		rows := 3*tune.ParallelLen/classes + 1
		b := rowsData(rows, classes, 10, 4)
		l := newCrossEntropy(t, classes, CrossEntropyOptions{})
		var want []float32
		var wantValue float64
		for _, workers := range []int{1, 2, 3, 7} {
			if err := l.SetWorkers(workers); err != nil {
				t.Fatal(err)
			}
			value, grad, _ := evalRows(t, l, b)
			if want == nil {
				want, wantValue = grad, value
			}
			if value != wantValue || !slices.Equal(grad, want) {
				t.Errorf("%d classes: the bits of %d workers differ", classes, workers)
			}
			if n := len(l.rooms); n != workers {
				t.Errorf("there was room for %d workers, want %d", n, workers)
			}
		}
	}
}

// TestCrossEntropyTables compares the tables.
func TestCrossEntropyTables(t *testing.T) {
	before := kernels.Active()
	defer func() {
		if err := kernels.Use(before); err != nil {
			t.Fatal(err)
		}
	}()
	for _, shape := range rowsShapes {
		b := rowsData(shape[0], shape[1], 10, 6)
		for name, o := range rowsOptions(shape[1]) {
			l := newCrossEntropy(t, shape[1], o)
			var want []float32
			for _, table := range kernels.Available() {
				if err := kernels.Use(table); err != nil {
					t.Fatal(err)
				}
				_, grad, _ := evalRows(t, l, b)
				if want == nil {
					want = grad
				}
				if !slices.EqualFunc(grad, want, same) {
					t.Errorf("%v %s: %v has other bits than %v", shape, name, table, kernels.Available()[0])
				}
			}
		}
	}
}

// TestCrossEntropyExtremes has logits that overflow, and numbers that are none.
func TestCrossEntropyExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, classes := range []int{3, 5000} {
		fill := func(x float32, first ...float32) []float32 {
			z := make([]float32, classes)
			for i := range z {
				z[i] = x
			}
			for i, v := range first {
				z[i] = v
			}
			return z
		}
		for _, c := range []struct {
			name       string
			z          []float32
			loss, grad float64 // of label 0
		}{
			{"large", fill(-1e4, 1e4), 0, 0},
			{"largest", fill(-math.MaxFloat32, math.MaxFloat32), 0, 0},
			{"small", fill(-1e4, -1e4-200), 200 + math.Log(float64(classes-1)), -1},
			{"wrong", fill(0, -1e4, 1e4), 2e4, -1},
			{"all alike", fill(7e30), math.Log(float64(classes)), 1/float64(classes) - 1},
			{"without others", fill(-inf, 3), 0, 0},
			{"one other", fill(-inf, 3, 3), math.Ln2, -.5},
			{"impossible", fill(0, -inf), math.Inf(1), -1},
			{"nothing", fill(-inf), math.NaN(), math.NaN()},
			{"infinite", fill(0, inf), math.NaN(), math.NaN()},
			{"another infinite", fill(0, 0, inf), math.NaN(), math.NaN()},
			{"NaN", fill(0, nan), math.NaN(), math.NaN()},
			{"another NaN", fill(0, 0, nan), math.NaN(), math.NaN()},
			{"all NaN", fill(nan), math.NaN(), math.NaN()},
		} {
			l := newCrossEntropy(t, classes, CrossEntropyOptions{})
			value, grad, each := evalRows(t, l, Rows{Logits: c.z, Labels: []int64{0}})
			off := func(got, want float64) bool {
				return !same64(got, want) && !(math.Abs(got-want) <= 1e-6*math.Abs(want))
			}
			if off(value, c.loss) || off(float64(each[0]), c.loss) || off(float64(grad[0]), c.grad) {
				t.Errorf("%d classes, %s: value %g, loss %g, gradient %g, want %g and %g", classes, c.name, value, each[0], grad[0], c.loss, c.grad)
			}
			if bad := slices.IndexFunc(grad, func(g float32) bool { return (g != g) != (c.grad != c.grad) }); bad >= 0 {
				t.Errorf("%d classes, %s: gradient %d is %g", classes, c.name, bad, grad[bad])
			}
		}
	}
}

// TestCrossEntropySure has predictions as sure as float32 can have them, of which loss and
// gradient are right where 1 less the probability would be 0.
func TestCrossEntropySure(t *testing.T) {
	for _, classes := range []int{2, 1000, 9000} {
		for _, lead := range []float32{1, 5, 15, 20, 40, 80} {
			b := Rows{Logits: make([]float32, classes), Labels: []int64{int64(classes - 1)}}
			b.Logits[classes-1] = lead
			_, grad, each := evalRows(t, newCrossEntropy(t, classes, CrossEntropyOptions{}), b)
			over := float64(classes-1) * math.Exp(-float64(lead))
			near(t, fmt.Sprintf("loss at %g", lead), float64(each[0]), math.Log1p(over), 8, math.Log1p(over))
			want := -over / (1 + over)
			near(t, fmt.Sprintf("gradient at %g", lead), float64(grad[classes-1]), want, 8, -want)
		}
	}
}

// TestCrossEntropyEmpty has no rows, or none that counts.
func TestCrossEntropyEmpty(t *testing.T) {
	weights := []float32{0, 1, 1}
	for _, o := range []CrossEntropyOptions{{Ignore: Label(-7)}, {Weights: weights}, {EmptyMean: EmptyZero, Weights: weights, Ignore: Label(-7)}} {
		for _, rows := range []int{0, 3} {
			b := Rows{Logits: uniform(3*rows, -1, 1, 1), Labels: make([]int64, rows), Grad: uniform(3*rows, 1, 2, 1), Each: uniform(rows, 1, 2, 1)}
			for i := range b.Labels {
				if o.Ignore != nil {
					b.Labels[i] = -7
				}
			}
			for _, r := range []Reduction{Mean, Sum, None} {
				o.Reduction = r
				value, grad, each := evalRows(t, newCrossEntropy(t, 3, o), b)
				want := 0.0
				if r == Mean && o.EmptyMean == EmptyNaN {
					want = math.NaN()
				}
				if !same64(value, want) {
					t.Errorf("%+v: the value is %g, want %g", o, value, want)
				}
				zero := func(x float32) bool { return x != 0 || math.Signbit(float64(x)) }
				if slices.ContainsFunc(each, zero) || (r == Mean || o.Ignore != nil) && slices.ContainsFunc(grad, zero) {
					t.Errorf("%+v: losses %v, gradients %v", o, each, grad)
				}
			}
		}
	}
}

// TestCrossEntropySkips has rows that cost nothing beside others, with logits of no use.
func TestCrossEntropySkips(t *testing.T) {
	for _, classes := range []int{4, 5000} {
		b := rowsData(6, classes, 2, 9)
		o := CrossEntropyOptions{Ignore: Label(-1), Smoothing: .1}
		b.Labels[2], b.Labels[3], b.Weights = -1, -1, []float32{1, 0, 1, 1, 1, 1}
		clean := b
		clean.Logits = slices.Clone(b.Logits)
		for i := classes; i < 4*classes; i++ {
			b.Logits[i] = float32(math.NaN())
		}
		l := newCrossEntropy(t, classes, o)
		value, grad, each := evalRows(t, l, b)
		want, wantGrad, wantEach := evalRows(t, l, clean)
		if value != want || !slices.Equal(grad, wantGrad) || !slices.Equal(each, wantEach) {
			t.Errorf("%d classes: value %g, want %g", classes, value, want)
		}
	}
}

func TestCrossEntropyAllocations(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("what is allocated is the same on every machine")
	}
	for _, shape := range [][2]int{{3, 10}, {1000, 700}, {12, 70_000}} {
		for _, targets := range []bool{false, true} {
			b := rowsData(shape[0], shape[1], 1, 1)
			if targets {
				b = targetsOf(b, shape[1])
			}
			b.Grad = make([]float32, len(b.Logits))
			l := newCrossEntropy(t, shape[1], rowsOptions(shape[1])["everything"])
			if err := l.SetWorkers(3); err != nil {
				t.Fatal(err)
			}
			n := allocs.PerRun(10, func() {
				if _, err := l.Eval(b); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%v, targets %v: %v allocations", shape, targets, n)
			}
		}
	}
}

// TestCrossEntropyErrors has each error name what is wrong, and nothing written.
func TestCrossEntropyErrors(t *testing.T) {
	nan := math.NaN()
	for want, o := range map[string]CrossEntropyOptions{
		"Reduction is 4":                {Reduction: WeightedMean},
		"EmptyMean is 2":                {EmptyMean: 2},
		"len(Weights) is 2":             {Weights: make([]float32, 2)},
		"Weights[1] is -1":              {Weights: []float32{1, -1, 1}},
		"Weights[2] is NaN":             {Weights: []float32{1, 1, float32(nan)}},
		"Smoothing is 1.5, want from 0": {Smoothing: 1.5},
		"Smoothing is NaN":              {Smoothing: nan},
		"ZLoss is -1":                   {ZLoss: -1},
	} {
		if _, err := NewCrossEntropy(3, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := NewCrossEntropy(0, CrossEntropyOptions{}); err == nil {
		t.Error("no classes are accepted")
	}
	l := newCrossEntropy(t, 3, CrossEntropyOptions{Ignore: Label(-5)})
	for _, n := range []int{-1, 1 << 20} {
		if l.SetWorkers(n) == nil {
			t.Errorf("%d workers are accepted", n)
		}
	}
	memory := uniform(100, 0, 1, 3)
	before := slices.Clone(memory)
	logits, grad, each, rowWeights, targets := memory[:6], memory[6:12], memory[12:14], memory[14:16], memory[16:22]
	labels := []int64{0, 2}
	for want, b := range map[string]Rows{
		"Labels[1] is 3, want a class, from 0 to 2, or -5": {Logits: logits, Labels: []int64{0, 3}, Grad: grad, Each: each},
		"Labels[0] is -1":                  {Logits: logits, Labels: []int64{-1, 3}, Grad: grad, Each: each},
		"Targets is 6 elements, want nil":  {Logits: logits, Labels: labels, Targets: targets, Grad: grad},
		"len(Logits) is 5":                 {Logits: memory[:5], Labels: labels, Grad: grad},
		"len(Logits) is 6, want 1 rows":    {Logits: logits, Targets: targets[:5], Grad: grad},
		"len(Weights) is 6":                {Logits: logits, Labels: labels, Weights: targets, Grad: grad},
		"Weights[1] is +Inf":               {Logits: logits, Labels: labels, Weights: []float32{1, float32(math.Inf(1))}, Grad: grad},
		"len(Grad) is 5":                   {Logits: logits, Labels: labels, Grad: memory[6:11]},
		"len(Each) is 6":                   {Logits: logits, Labels: labels, Grad: grad, Each: memory[12:18]},
		"want a buffer apart from Logits":  {Logits: logits, Labels: labels, Grad: memory[1:7]},
		"want a buffer apart from Targets": {Logits: logits, Targets: targets, Grad: targets},
		"want a buffer apart from Weights": {Logits: logits, Labels: labels, Weights: rowWeights, Each: rowWeights, Grad: grad},
		"want a buffer apart from Grad":    {Logits: logits, Labels: labels, Each: grad[:2], Grad: grad},
	} {
		if _, err := l.Eval(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if !slices.Equal(memory, before) {
			t.Fatalf("%s: something was written", want)
		}
	}
	none := newCrossEntropy(t, 3, CrossEntropyOptions{Reduction: None})
	if _, err := none.Eval(Rows{Logits: logits, Labels: labels, Grad: grad}); err == nil || !strings.Contains(err.Error(), "Each is nil") {
		t.Errorf("losses without a buffer: %v", err)
	}
}
