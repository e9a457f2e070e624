package loss

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/kernels"
)

// softmaxShapes are rows, features and classes.
var softmaxShapes = [][3]int{{1, 1, 1}, {1, 7, 3}, {3, 0, 4}, {65, 1, 2}, {257, 33, 10}, {300, 5, 40}, {70, 300, 5}, {3, 5, 4097}, {1100, 900, 2}}

// softmaxOptions are options of all kinds, or where there is much to compute some.
func softmaxOptions(rows, features, classes int) map[string]CrossEntropyOptions {
	o := rowsOptions(classes)
	if rows*features*classes > 20_000 {
		return map[string]CrossEntropyOptions{"plain": o["plain"], "everything": o["everything"]}
	}
	return o
}

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
		for name, o := range softmaxOptions(rows, features, classes) {
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
		for name, o := range softmaxOptions(rows, features, classes) {
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

// TestSoftmaxLinearGolden compares with float64 results of PyTorch.
func TestSoftmaxLinearGolden(t *testing.T) {
	var data struct {
		X, W, B, Targets, Weights []float32
		Labels                    []int64
		Cases                     []struct {
			Smoothing                 float64
			Weighted, Soft, Intercept bool
			Value                     float64
			W                         []float64 `json:"grad_w"`
			B                         []float64 `json:"grad_b"`
			X                         []float64 `json:"grad_x"`
		}
	}
	readJSON(t, "softmax_linear.json", &data)
	if len(data.Cases) < 3 {
		t.Fatalf("%d golden cases", len(data.Cases))
	}
	classes, rows := len(data.B), len(data.Labels)
	features := len(data.X) / rows
	for k, c := range data.Cases {
		o := CrossEntropyOptions{Ignore: Label(TorchIgnore), Smoothing: c.Smoothing}
		if c.Weighted {
			o.Weights = data.Weights
		}
		b := LinearRows{X: data.X, W: data.W, Labels: data.Labels}
		if c.Intercept {
			b.B = data.B
		}
		if c.Soft {
			b.Labels, b.Targets = nil, data.Targets
		}
		b = b.withGradients(classes, rows)
		near(t, fmt.Sprint("value ", k), b.eval(t, newSoftmaxLinear(t, features, classes, o)), c.Value, 4, c.Value)
		for which, want := range [][]float64{c.W, c.B, c.X} {
			got := [][]float32{b.GradW, b.GradB, b.GradX}[which]
			if len(want) != len(got) && (which != 1 || c.Intercept) {
				t.Fatalf("case %d has %d gradients by %c, want %d", k, len(want), "WBX"[which], len(got))
			}
			for i, g := range want {
				near(t, fmt.Sprintf("case %d: gradient by %c, %d", k, "WBX"[which], i), float64(got[i]), g, 4, 1)
			}
		}
	}
}

// TestSoftmaxLinearDifferences compares gradients with differences of the values, at a scale.
func TestSoftmaxLinearDifferences(t *testing.T) {
	const rows, features, classes, h = 4, 3, 5, 0x1p-7
	for name, o := range rowsOptions(classes) {
		b := softmaxData(rows, features, classes, 3)
		b.Scale = Weight(8)
		b = b.withGradients(classes, rows)
		l := newSoftmaxLinear(t, features, classes, o)
		b.eval(t, l)
		grads := [][]float32{b.GradW, b.GradB, b.GradX}
		b.GradW, b.GradB, b.GradX = nil, nil, nil
		for k, x := range [][]float32{b.W, b.B, b.X} {
			for i, v := range x {
				x[i] = v + h
				up := b.eval(t, l)
				x[i] = v - h
				down := b.eval(t, l)
				x[i] = v
				if want := 8 * (up - down) / (2 * h); math.Abs(float64(grads[k][i])-want) > 1e-3 {
					t.Errorf("%s: gradient by %c, %d, is %g, differences say %g", name, "WBX"[k], i, grads[k][i], want)
				}
			}
		}
	}
}

// TestSoftmaxLinearWorkers compares bits, and those of what is not wanted, in several chunks
// whose last one is short.
func TestSoftmaxLinearWorkers(t *testing.T) {
	for _, shape := range [][3]int{{14_000, 20, 5}, {1030, 990, 20}} {
		rows, features, classes := shape[0], shape[1], shape[2]
		b := softmaxData(rows, features, classes, 4)
		l := newSoftmaxLinear(t, features, classes, CrossEntropyOptions{Smoothing: .1})
		if n := l.chunkRows(); n%fallback.MatMulLen != 0 || n >= rows || rows%n == 0 {
			t.Fatalf("%d rows in chunks of %d", rows, n)
		}
		_, want := b.composed(t, features, classes, CrossEntropyOptions{Smoothing: .1})
		var value float64
		for _, workers := range []int{1, 2, 3, 7} {
			if err := l.SetWorkers(workers); err != nil {
				t.Fatal(err)
			}
			got := b.withGradients(classes, rows)
			v := got.eval(t, l)
			if workers == 1 {
				value = v
			}
			if v != value || !got.sameGradients(want) {
				t.Errorf("%v: the bits of %d workers differ", shape, workers)
			}
			if n := len(l.rooms); n != workers {
				t.Errorf("there was room for %d workers, want %d", n, workers)
			}
			for k := range 5 { // without one of what is written, or without all
				some := got
				for i, out := range []*[]float32{&some.GradW, &some.GradB, &some.GradX, &some.Each} {
					if i == k || k == 4 {
						*out = nil
					}
				}
				if v := some.eval(t, l); v != value {
					t.Errorf("%v: the value is %g without %d, was %g", shape, v, k, value)
				}
			}
			if !got.sameGradients(want) {
				t.Errorf("%v: other bits where some are not wanted", shape)
			}
		}
	}
}

// TestSoftmaxLinearEmpty has no rows, or none that counts.
func TestSoftmaxLinearEmpty(t *testing.T) {
	for _, rows := range []int{0, 3} {
		for _, r := range []Reduction{Mean, Sum, None} {
			for _, empty := range []EmptyMean{EmptyNaN, EmptyZero} {
				b := softmaxData(rows, 2, 3, 1)
				for i := range b.Labels {
					b.Labels[i] = TorchIgnore
				}
				b = b.withGradients(3, rows)
				value := b.eval(t, newSoftmaxLinear(t, 2, 3, CrossEntropyOptions{Reduction: r, EmptyMean: empty, Ignore: Label(TorchIgnore)}))
				want := 0.0
				if r == Mean && empty == EmptyNaN {
					want = math.NaN()
				}
				zero := func(x float32) bool { return x != 0 }
				if !same64(value, want) || slices.ContainsFunc(slices.Concat(b.GradW, b.GradB, b.GradX, b.Each), zero) {
					t.Errorf("%d rows, reduction %d, empty mean %d: value %g, want %g, gradients %v %v %v", rows, r, empty, value, want, b.GradW, b.GradB, b.GradX)
				}
			}
		}
	}
}

// TestSoftmaxLinearExtremes has logits that overflow, and numbers that are none, in one row of
// three: it alone has NaN, but for the sums of all.
func TestSoftmaxLinearExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name   string
		x      float32 // of row 1, with weights of 1 and -1
		loss   float64 // of class 0
		grad   float64
		isLost bool
	}{
		{"large", 1e30, 0, 0, false},
		{"wrong", -1e30, 2e30, -1, false},
		{"infinite", inf, 0, 0, true},
		{"NaN", nan, 0, 0, true},
	} {
		b := LinearRows{X: []float32{1, c.x, 1}, W: []float32{1, -1}, B: []float32{0, 0}, Labels: []int64{0, 0, 0}}.withGradients(2, 3)
		value := b.eval(t, newSoftmaxLinear(t, 1, 2, CrossEntropyOptions{Reduction: None}))
		if c.isLost {
			if value == value || b.Each[1] == b.Each[1] || b.Each[0] != b.Each[2] || b.GradX[1] == b.GradX[1] || b.GradX[0] != b.GradX[2] || b.GradW[0] == b.GradW[0] {
				t.Errorf("%s: value %g, losses %g, gradients %g %g", c.name, value, b.Each, b.GradW, b.GradX)
			}
			continue
		}
		near(t, c.name+" loss", float64(b.Each[1]), c.loss, 2, c.loss)
		near(t, c.name+" gradient", float64(b.GradX[1]), 2*c.grad, 2, 2)
	}
}

// TestSoftmaxLinearPredict has the logits, to which the intercept is added first.
func TestSoftmaxLinearPredict(t *testing.T) {
	for _, shape := range softmaxShapes {
		rows, features, classes := shape[0], shape[1], shape[2]
		b := softmaxData(rows, features, classes, 2)
		l := newSoftmaxLinear(t, features, classes, CrossEntropyOptions{})
		z, want := make([]float32, rows*classes), fallback.RowMajor(rows, classes, make([]float32, rows*classes))
		for _, intercept := range [][]float32{b.B, nil} {
			if err := l.Predict(b.X, b.W, intercept, z); err != nil {
				t.Fatal(err)
			}
			s := fallback.MatMulScalars{Alpha: 1}
			if intercept != nil {
				s.Beta = 1
			}
			d := fallback.Matrix{Data: intercept, Rows: rows, Columns: classes, ColumnStride: 1}
			fallback.MatMul(want, d, fallback.RowMajor(rows, features, b.X), fallback.RowMajor(classes, features, b.W).T(), &s)
			if !slices.Equal(z, want.Data) {
				t.Errorf("%v: other logits than the product", shape)
			}
		}
	}
}

// TestSoftmaxLinearKept allocates nothing in later calls, and keeps nothing of the caller's.
func TestSoftmaxLinearKept(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("what is allocated is the same on every machine")
	}
	for _, shape := range [][3]int{{100, 20, 10}, {5000, 100, 20}} {
		b := softmaxData(shape[0], shape[1], shape[2], 1).withGradients(shape[2], shape[0])
		l := newSoftmaxLinear(t, shape[1], shape[2], CrossEntropyOptions{})
		if err := l.SetWorkers(3); err != nil {
			t.Fatal(err)
		}
		z := make([]float32, shape[0]*shape[2])
		n := allocs.PerRun(10, func() {
			b.eval(t, l)
			if err := l.Predict(b.X, b.W, b.B, z); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%v: %v allocations", shape, n)
		}
		b.X = slices.Clone(b.X)
		first := weak.Make(&b.X[0])
		b.eval(t, l)
		b = LinearRows{}
		runtime.GC()
		if first.Value() != nil {
			t.Errorf("%v: the rows are kept", shape)
		}
		runtime.KeepAlive(l)
	}
}

// TestSoftmaxLinearErrors has each error name what is wrong, and nothing written.
func TestSoftmaxLinearErrors(t *testing.T) {
	for want, c := range map[string][2]int{"classes is 0": {1, 0}, "features is -1": {-1, 2}, "features is 9223372036854775807": {math.MaxInt, 2}} {
		if _, err := NewSoftmaxLinear(c[0], c[1], CrossEntropyOptions{}); math.MaxInt > math.MaxInt32 && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	l := newSoftmaxLinear(t, 2, 3, CrossEntropyOptions{Reduction: None})
	if l.SetWorkers(-1) == nil {
		t.Error("-1 workers are accepted")
	}
	memory := uniform(100, 0, 1, 3)
	before := slices.Clone(memory)
	good := LinearRows{X: memory[:4], W: memory[4:10], B: memory[10:13], Labels: []int64{0, 2},
		GradW: memory[13:19], GradB: memory[19:22], GradX: memory[22:26], Each: memory[26:28]}
	for want, change := range map[string]func(b *LinearRows){
		"len(X) is 3":                   func(b *LinearRows) { b.X = b.X[:3] },
		"len(W) is 5":                   func(b *LinearRows) { b.W = b.W[:5] },
		"len(B) is 2":                   func(b *LinearRows) { b.B = b.B[:2] },
		"Targets is 6":                  func(b *LinearRows) { b.Targets = memory[50:56] },
		"len(Targets) is 7":             func(b *LinearRows) { b.Labels, b.Targets = nil, memory[50:57] },
		"len(Weights) is 3":             func(b *LinearRows) { b.Weights = memory[50:53] },
		"Weights[1] is -1":              func(b *LinearRows) { b.Weights = []float32{1, -1} },
		"len(GradW) is 5":               func(b *LinearRows) { b.GradW = b.GradW[:5] },
		"len(GradB) is 2":               func(b *LinearRows) { b.GradB = b.GradB[:2] },
		"len(GradX) is 3":               func(b *LinearRows) { b.GradX = b.GradX[:3] },
		"len(Each) is 1":                func(b *LinearRows) { b.Each = b.Each[:1] },
		"Each is nil":                   func(b *LinearRows) { b.Each = nil },
		"Labels[1] is 3, want a class,": func(b *LinearRows) { b.Labels = []int64{0, 3} },
		"apart from GradX":              func(b *LinearRows) { b.GradX = memory[21:25]; b.GradB = memory[19:22] },
		"apart from X":                  func(b *LinearRows) { b.GradX = b.X },
		"apart from W":                  func(b *LinearRows) { b.GradW = memory[9:15] },
		"apart from B":                  func(b *LinearRows) { b.Each = memory[12:14]; b.GradW = memory[40:46] },
		"apart from Weights":            func(b *LinearRows) { b.Weights = b.Each },
		"apart from Targets":            func(b *LinearRows) { b.Labels, b.Targets = nil, memory[27:33] },
	} {
		b := good
		change(&b)
		if _, err := l.Eval(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, z := range map[string][]float32{"len(z) is 5": memory[50:55], "len(X) is 4": memory[50:53], "apart from x": memory[3:9], "apart from w": memory[9:15], "apart from b": memory[12:18]} {
		if err := l.Predict(good.X, good.W, good.B, z); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !slices.Equal(memory, before) {
		t.Error("something was written")
	}
	if _, err := l.Eval(good); err != nil {
		t.Errorf("neighbours in memory are refused: %v", err)
	}
}
