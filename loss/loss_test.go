package loss

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
)

// A formula is the loss of one prediction in float64, written apart from the
// package. Its slope comes from differences.
type formula func(x, y float64) float64

func squared(x, y float64) float64      { return (x - y) * (x - y) }
func crossEntropy(x, y float64) float64 { return -y*math.Log(x) - (1-y)*math.Log1p(-x) }
func hinge(x, y float64) float64        { return max(0, 1-x*y) }
func squaredHinge(x, y float64) float64 { return hinge(x, y) * hinge(x, y) }
func softplus(x float64) float64        { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
func logistic(weight float64) formula {
	return func(x, y float64) float64 { return weight*y*softplus(-x) + (1-y)*softplus(x) }
}

// slope is the central difference, which is off by some 1e-9 on these data.
func (f formula) slope(x, y float64) float64 {
	const h = 1e-6
	return (f(x+h, y) - f(x-h, y)) / (2 * h)
}

// uniform numbers are the same on all machines: they need no math functions.
func uniform(n int, low, high float32, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = low + float32((high-low)*rng.Float32())
	}
	return x
}

// signs makes labels ±1 of labels in [0, 1].
func signs(y []float32) []float32 {
	s := make([]float32, len(y))
	for i := range y {
		s[i] = float32(math.Copysign(1, float64(y[i])-0.5))
	}
	return s
}

// A sample is a loss with its formula, data that fit, and how many units a loss and a
// gradient may be off.
type sample struct {
	name         string
	of           func(Reduction) Loss
	formula      formula
	pred, target []float32
	each, grad   float64 // worst seen
}

// losses are all of them.
var losses = slices.Concat(firstLosses, laterLosses, clippedLosses)

var firstLosses = []sample{
	{"MSE", func(r Reduction) Loss { return MSE{Reduction: r} }, squared,
		uniform(3001, -5, 5, 1), uniform(3001, -5, 5, 2), 3, 1.5}, // 2.9, 1.0
	{"BCE", func(r Reduction) Loss { return BCE{Reduction: r, Clamp: ClampLog} }, crossEntropy,
		uniform(3001, 0.01, 0.99, 3), uniform(3001, 0, 1, 4), 4, 5}, // 2.5, 2.9
	{"BCEClip", func(r Reduction) Loss { return BCE{Reduction: r, Clamp: ClampProbability} }, crossEntropy,
		uniform(3001, 0.01, 0.99, 5), uniform(3001, 0, 1, 6), 4, 5}, // 2.1, 3.1
	{"BCEWithLogits", func(r Reduction) Loss { return BCEWithLogits{Reduction: r, PosWeight: nil} }, logistic(1),
		uniform(3001, -20, 20, 7), uniform(3001, 0, 1, 8), 4, 3}, // 1.8, 1.4
	{"BCEWithLogitsWeight", func(r Reduction) Loss { return BCEWithLogits{Reduction: r, PosWeight: Weight(2.5)} }, logistic(2.5),
		uniform(3001, -20, 20, 9), uniform(3001, 0, 1, 10), 4, 10}, // 2.2, 7.0: two numbers of up to 2.5 cancel
	{"Hinge", func(r Reduction) Loss { return Hinge{Reduction: r, Labels: PlusMinus} }, hinge,
		uniform(3001, -3, 3, 11), signs(uniform(3001, 0, 1, 12)), 1, 0.01}, // 1.0, 0.002 of the difference
	{"SquaredHinge", func(r Reduction) Loss { return SquaredHinge{Reduction: r, Labels: PlusMinus} }, squaredHinge,
		uniform(3001, -3, 3, 13), signs(uniform(3001, 0, 1, 14)), 3, 1.5}, // 2.8, 1.0
}

// TestFormulas compares losses and gradients with float64.
func TestFormulas(t *testing.T) {
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) {
			n := len(l.pred)
			grad, each := make([]float32, n), make([]float32, n)
			value := mustEval(t, l.of(None), l.pred, l.target, grad, each)
			sum := 0.0
			for i := range n {
				x, y := float64(l.pred[i]), float64(l.target[i])
				loss, slope := l.formula(x, y), l.formula.slope(x, y)
				near(t, "loss", float64(each[i]), loss, l.each, max(1, math.Abs(loss)))
				near(t, "gradient", float64(grad[i]), slope, l.grad, max(1, math.Abs(slope)))
				sum += loss
			}
			near(t, "value", value, sum, 0.4, sum) // roundings average out: 0.05, and 0.29 with Stirling's terms
		})
	}
}

// TestPosWeights compares a weight for each class with those of each column, among smoothed labels,
// over several parts.
func TestPosWeights(t *testing.T) {
	const rows, columns = 2001, 5
	weights := []float32{1, 0, 3, .25, 70}
	x, y := uniform(rows*columns, -20, 20, 9), uniform(rows*columns, 0, 1, 10)
	for i := range y {
		if i%3 > 0 {
			y[i] = float32(i % 2)
		}
	}
	grad, each := make([]float32, len(x)), make([]float32, len(x))
	for _, smoothing := range []float64{0, .25} {
		l := BCEWithLogits{Reduction: Sum, PosWeights: weights, Smoothing: smoothing, Scaling: Scaling{Weight: uniform(rows, 0, 2, 1), Rows: rows, GradScale: Weight(-2)}}
		value, total := mustEval(t, l, x, y, grad, each), 0.0
		for i := range x {
			label := (1-smoothing)*float64(y[i]) + smoothing/2
			f, w := logistic(float64(weights[i%columns])), float64(l.Weight[i/columns])
			loss, slope := w*f(float64(x[i]), label), -2*w*f.slope(float64(x[i]), label)
			size, between := max(1, float64(weights[i%columns])), math.Abs(float64(x[i]))
			if label == 0 || label == 1 {
				size, between = max(1, math.Abs(loss)), 0
			}
			near(t, "loss", float64(each[i]), loss, 8+4*between, size)
			near(t, "gradient", float64(grad[i]), slope, 12, 2*max(1, float64(weights[i%columns])))
			total += loss
		}
		near(t, "value", value, total, 1, total)
	}
}

func TestReductions(t *testing.T) {
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) {
			n := len(l.pred)
			grad, mean, each := make([]float32, n), make([]float32, n), make([]float32, n)
			none := mustEval(t, l.of(None), l.pred, l.target, grad, each)
			total := 0.0
			for _, e := range each {
				total += float64(e)
			}
			if math.Abs(none-total) > 0x1p-24*total { // MSE adds squares before they are rounded
				t.Errorf("None is %g, its losses are %g", none, total)
			}
			sumGrad := make([]float32, n)
			if sum := mustEval(t, l.of(Sum), l.pred, l.target, sumGrad, nil); sum != none || !slices.Equal(sumGrad, grad) {
				t.Errorf("Sum is %g, None is %g, or gradients differ", sum, none)
			}
			if got := mustEval(t, l.of(Mean), l.pred, l.target, mean, nil); got != none*(1/float64(n)) {
				t.Errorf("Mean is %g, want %g / %d", got, none, n)
			}
			for i := range mean {
				if want := grad[i] * float32(1/float64(n)); mean[i] != want {
					t.Fatalf("gradient %d of Mean is %g, want %g", i, mean[i], want)
				}
			}
		})
	}
}

// TestBlocks holds sums to the documented order: blocks of 64 Ki elements, in
// which element i goes to lane i mod 32. That no gradient is wanted, or that the
// losses are, must not change a bit.
func TestBlocks(t *testing.T) {
	const n, block = 200_000, 64 << 10
	x, y := uniform(n, -9, 9, 20), uniform(n, 0, 1, 21)
	for i := range x { // sums of numbers alike are exact, in any order
		x[i] /= float32(int(1) << (i % 29))
		y[i] /= float32(int(1) << (i % 29))
	}
	want, losses := make([]float32, n), make([]float32, n)
	var mse, cross, absolute, squares float64
	for lo := 0; lo < n; lo += block {
		hi := min(lo+block, n)
		var a, b, c, d [fallback.Lanes]float64
		fallback.MSE(want[lo:hi], losses[lo:hi], x[lo:hi], y[lo:hi], &fallback.MSEScalars{Scale: 1}, &a)
		fallback.BCEWithLogits(want[lo:hi], losses[lo:hi], x[lo:hi], y[lo:hi], &fallback.BCEWithLogitsScalars{Scale: 1, Positive: 3, LabelScale: 1}, &b)
		fallback.SumAbs(x[lo:hi], &c)
		fallback.SumSquares(x[lo:hi], &d)
		mse, cross = mse+fallback.Total(&a), cross+fallback.Total(&b)
		absolute, squares = absolute+fallback.Total(&c), squares+fallback.Total(&d)
	}
	grad, each := make([]float32, n), make([]float32, n)
	for _, grad := range [][]float32{nil, grad} {
		for _, each := range [][]float32{nil, each} {
			if got := mustEval(t, MSE{Reduction: Sum}, x, y, grad, each); got != mse {
				t.Errorf("MSE is %v, want %v", got, mse)
			}
			if got := mustEval(t, BCEWithLogits{Reduction: Sum, PosWeight: Weight(3)}, x, y, grad, each); got != cross {
				t.Errorf("BCEWithLogits is %v, want %v", got, cross)
			}
			if grad != nil && !slices.Equal(grad, want) {
				t.Error("the gradient differs")
			}
		}
	}
	penalty := float64(0.3*absolute) + float64(1.5*squares) // not fused
	for _, grad := range [][]float32{nil, grad} {
		if got, err := (Penalty{0.3, 3}).Eval(x, grad); err != nil || got != penalty {
			t.Errorf("Penalty is %v, want %v (%v)", got, penalty, err)
		}
	}
}

// TestBits keeps the bits what they are, whatever the machine: this number is
// the same for each LOCKSTEP_ISA and each GOARCH. To change it is to break what
// users rely on.
func TestBits(t *testing.T) {
	h := fnv.New64a()
	add := func(value float64, grad []float32) {
		binary.Write(h, binary.LittleEndian, value)
		binary.Write(h, binary.LittleEndian, grad)
	}
	for _, l := range firstLosses {
		grad := make([]float32, len(l.pred))
		add(mustEval(t, l.of(Mean), l.pred, l.target, grad, nil), grad)
		value, err := Penalty{0.1, 0.3}.Eval(l.pred, grad)
		if err != nil {
			t.Fatal(err)
		}
		add(value, grad)
	}
	linear := func(from, to Model) {
		for _, shape := range [][2]int{{300, 77}, {2, 70_000}, {20_000, 64}, {50, 3000}} {
			for model := from; model <= to; model++ {
				l, x, y, w := linearData(t, model, shape[0], shape[1], true)
				grad := make([]float32, len(w))
				value, err := l.Gradient(x, y, w, grad)
				if err != nil {
					t.Fatal(err)
				}
				add(value, grad)
			}
		}
	}
	linear(Squared, SquaredHingeLoss)
	if got, want := h.Sum64(), uint64(0x7d28dbd0cc781e0b); got != want {
		t.Errorf("the bits have changed: %#x, were %#x", got, want)
	}
	h.Reset()
	for _, l := range laterLosses {
		grad := make([]float32, len(l.pred))
		add(mustEval(t, l.of(Mean), l.pred, l.target, grad, nil), grad)
	}
	if got, want := h.Sum64(), uint64(0x9e5f41ae33768dd4); got != want {
		t.Errorf("the bits of later losses have changed: %#x, were %#x", got, want)
	}
	h.Reset()
	for _, l := range clippedLosses {
		grad := make([]float32, len(l.pred))
		add(mustEval(t, l.of(Mean), l.pred, l.target, grad, nil), grad)
	}
	if got, want := h.Sum64(), uint64(0x6d5447b6ca2ed2b4); got != want {
		t.Errorf("the bits of clipped losses have changed: %#x, were %#x", got, want)
	}
	h.Reset()
	linear(PoissonLoss, LogCoshLoss)
	for _, shape := range [][3]int{{300, 70, 10}, {30, 5, 5000}, {1100, 1000, 3}} {
		b := softmaxData(shape[0], shape[1], shape[2], 9).withGradients(shape[2], shape[0])
		add(b.eval(t, newSoftmaxLinear(t, shape[1], shape[2], CrossEntropyOptions{Smoothing: .1})), slices.Concat(b.GradW, b.GradB, b.GradX, b.Each))
	}
	if got, want := h.Sum64(), uint64(0xdda6e8f9c132cda9); got != want {
		t.Errorf("the bits of later linear models have changed: %#x, were %#x", got, want)
	}
}

func TestEmpty(t *testing.T) {
	for _, l := range losses {
		if v := mustEval(t, l.of(Mean), nil, nil, nil, nil); v == v {
			t.Errorf("%s: the mean of nothing is %g", l.name, v)
		}
		for _, r := range []Reduction{Sum, None} {
			if v := mustEval(t, l.of(r), nil, nil, nil, nil); v != 0 {
				t.Errorf("%s: the sum of nothing is %g", l.name, v)
			}
		}
	}
	if v, err := (Penalty{1, 1}).Eval(nil, nil); v != 0 || err != nil {
		t.Errorf("the penalty of nothing is %g, %v", v, err)
	}
}

func TestExtremeLogits(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct{ x, y, loss, grad float32 }{
		{1e4, 1, 0, 0}, {1e4, 0, 1e4, 1}, {-1e4, 1, 1e4, -1}, {-1e4, 0, 0, 0},
		{1e4, 0.5, 5e3, 0.5}, {-1e4, 0.5, 5e3, -0.5},
		{0, 0, math.Ln2, 0.5}, {-90, 0, 8.19401262e-40, 8.19401262e-40},
		{inf, 0, inf, 1}, {-inf, 1, inf, -1},
		{inf, 1, 0, 0}, {-inf, 0, 0, 0}, // 0·∞ in the frameworks, which is NaN
		{nan, 0, nan, nan}, {0, nan, nan, nan},
	} {
		grad, each := []float32{0}, []float32{0}
		value := mustEval(t, BCEWithLogits{Reduction: None}, []float32{c.x}, []float32{c.y}, grad, each)
		if !same(each[0], c.loss) || !same(float32(value), c.loss) || !same(grad[0], c.grad) {
			t.Errorf("logit %g, target %g: loss %g, gradient %g, want %g, %g", c.x, c.y, each[0], grad[0], c.loss, c.grad)
		}
	}
}

// TestOutside gives BCE what is no probability, between 0 and 1, which are.
func TestOutside(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, x := range []float32{-0x1p-149, -0.5, 1 + 0x1p-23, 1.5, -inf, inf} {
		for _, y := range []float32{0, 0.25, 1} {
			pred, target := []float32{0, 1, x, 0, 1, 0.5}, []float32{0, 1, y, 1, 0, 0.5}
			for _, l := range []struct {
				clamp Clamp
				grad  []float32
			}{
				{ClampLog, []float32{0, 0, nan, -1e12, 1e12, 0}},
				{ClampProbability, []float32{0, 0, 0, 0, 0, 0}},
			} {
				outside := l.clamp == ClampLog
				for _, each := range [][]float32{nil, make([]float32, len(pred))} {
					grad := make([]float32, len(pred))
					v := mustEval(t, BCE{Reduction: Sum, Clamp: l.clamp}, pred, target, grad, each)
					if (v != v) != outside || !slices.EqualFunc(grad, l.grad, same) {
						t.Errorf("clamp %d, prediction %g, target %g: %g, gradient %g, want %g", l.clamp, x, y, v, grad, l.grad)
					}
					if each != nil && (each[2] != each[2]) != outside {
						t.Errorf("clamp %d, prediction %g, target %g: the loss is %g", l.clamp, x, y, each[2])
					}
				}
				if v := mustEval(t, BCE{Reduction: Sum, Clamp: l.clamp}, pred, target, nil, nil); (v != v) != outside {
					t.Errorf("clamp %d, prediction %g, target %g: %g without a gradient", l.clamp, x, y, v)
				}
			}
		}
	}
}

// TestNaN puts a NaN among others, where it must stay: in its own gradient and
// in the value.
func TestNaN(t *testing.T) {
	for _, l := range losses {
		pred := slices.Clone(l.pred)
		pred[77] = float32(math.NaN())
		grad, each := make([]float32, len(pred)), make([]float32, len(pred))
		if v := mustEval(t, l.of(None), pred, l.target, grad, each); v == v {
			t.Errorf("%s: the value is %g", l.name, v)
		}
		for i := range grad {
			blind := strings.HasPrefix(l.name, "KLDivergence") // whose gradient is the target
			if (grad[i] != grad[i]) != (i == 77 && !blind) || (each[i] != each[i]) != (i == 77) {
				t.Errorf("%s: element %d has the loss %g and the gradient %g", l.name, i, each[i], grad[i])
			}
		}
	}
}

func TestPenalty(t *testing.T) {
	w := append(uniform(1000, -3, 3, 30), 0, float32(math.Copysign(0, -1)))
	for _, c := range []struct {
		penalty Penalty
		l1, l2  float64 // of l1·|w| + l2·w²
	}{
		{Penalty{L1: 0.1}, 0.1, 0}, {Penalty{L2: 0.3}, 0, 0.15}, {Penalty{L1: 0.1, L2: 0.3}, 0.1, 0.15},
		{KerasL1L2(0.1, 0.3), 0.1, 0.3}, {Penalty{}, 0, 0},
	} {
		grad := make([]float32, len(w))
		for i := range grad {
			grad[i] = float32(i % 3)
		}
		got, err := c.penalty.Eval(w, grad)
		if err != nil {
			t.Fatal(err)
		}
		value := 0.0
		for i := range w {
			x := float64(w[i])
			value += c.l1*math.Abs(x) + c.l2*x*x
			slope := 2 * c.l2 * x
			if x != 0 {
				slope += math.Copysign(c.l1, x)
			}
			// It is added to what was there: two roundings, two coefficients.
			near(t, "gradient", float64(grad[i]), float64(i%3)+slope, 3, 2+math.Abs(slope))
		}
		if math.Abs(got-value) > 1e-13*value {
			t.Errorf("%+v is %g, want %g", c.penalty, got, value)
		}
	}
}

// TestInfiniteWeight has an infinity among others, which a coefficient of 0 does
// not hide.
func TestInfiniteWeight(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		penalty     Penalty
		value, grad float32
	}{
		{Penalty{L1: 1, L2: 1}, inf, -inf},
		{Penalty{L2: 1}, nan, -inf},
		{Penalty{L1: 1}, nan, nan},
		{Penalty{}, nan, nan},
	} {
		grad := make([]float32, 3)
		value, err := c.penalty.Eval([]float32{2, -inf, 2}, grad)
		if err != nil {
			t.Fatal(err)
		}
		want := float32(c.penalty.L1 + 2*c.penalty.L2)
		if !same(float32(value), c.value) || !slices.EqualFunc(grad, []float32{want, c.grad, want}, same) {
			t.Errorf("%+v: %g, gradient %g, want %g, %g", c.penalty, value, grad, c.value, c.grad)
		}
		if value, err := c.penalty.Eval([]float32{2, -inf, 2}, nil); err != nil || !same(float32(value), c.value) {
			t.Errorf("%+v: %g without a gradient, %v", c.penalty, value, err)
		}
	}
}

// TestAllocations calls everything again and again. The data are longer than a
// block, and for Linear long enough for workers.
func TestAllocations(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("what is allocated is the same on every machine")
	}
	check := func(what string, call func() error) {
		t.Helper()
		n := allocs.PerRun(10, func() {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	const n = 70_000
	x, y, grad, each := uniform(n, 0, 1, 60), make([]float32, n), make([]float32, n), make([]float32, n)
	for _, l := range losses {
		for _, r := range []Reduction{Mean, Sum, None} {
			of := l.of(r)
			check(l.name, func() error { _, err := of.Eval(x, y, grad, each); return err })
			check(l.name+" without a gradient", func() error { _, err := of.Eval(x, y, nil, each); return err })
		}
	}
	check("Penalty", func() error { _, err := Penalty{1, 1}.Eval(x, grad); return err })
	check("Penalty without a gradient", func() error { _, err := Penalty{1, 1}.Eval(x, nil); return err })
	for _, shape := range [][2]int{{20_000, 64}, {20, 64}, {3, n}, {0, 5}} {
		for model := range modelFormulas {
			l, x, y, w := linearData(t, Model(model), shape[0], shape[1], true)
			if err := l.SetWorkers(3); err != nil {
				t.Fatal(err)
			}
			grad, z := make([]float32, len(w)), make([]float32, len(y))
			check("Gradient", func() error { _, err := l.Gradient(x, y, w, grad); return err })
			check("Predict", func() error { return l.Predict(x, w, z) })
		}
	}
}

func TestErrors(t *testing.T) {
	memory := uniform(100, 0, 1, 40)
	before := slices.Clone(memory)
	x, y, grad, each := memory[0:6], memory[6:12], memory[12:18], memory[18:24]
	linear := func(f func(l *Linear) error) error { // 2 rows of 3 columns and an intercept
		l, err := NewLinear(Squared, 3, true)
		if err != nil {
			t.Fatal(err)
		}
		return f(l)
	}
	gradient := func(x, y, w, grad []float32) error {
		return linear(func(l *Linear) error { _, err := l.Gradient(x, y, w, grad); return err })
	}
	predict := func(x, w, z []float32) error {
		return linear(func(l *Linear) error { return l.Predict(x, w, z) })
	}
	eval := func(l Loss, pred, target, grad, each []float32) error {
		_, err := l.Eval(pred, target, grad, each)
		return err
	}
	penalty := func(p Penalty, w, grad []float32) error { _, err := p.Eval(w, grad); return err }
	create := func(m Model, columns int) error { _, err := NewLinear(m, columns, true); return err }
	nan, inf := math.NaN(), math.Inf(1)
	of := func(m Model) *Linear {
		l, err := NewLinear(m, 3, false)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	hinge, huber, quantile := of(HingeLoss), of(HuberLoss), of(QuantileLoss)

	for _, c := range []struct {
		arg, value string
		err        error
	}{
		{"Reduction", "5", eval(MSE{Reduction: 5}, x, y, grad, each)},
		{"Clamp", "2", eval(BCE{Clamp: 2}, x, y, grad, each)},
		{"PosWeight", "-1", eval(BCEWithLogits{PosWeight: Weight(-1)}, x, y, grad, each)},
		{"PosWeight", "1", eval(BCEWithLogits{PosWeight: Weight(1), PosWeights: []float32{1}}, x, y, grad, each)},
		{"PosWeights[1]", "-1", eval(BCEWithLogits{PosWeights: []float32{1, -1}}, x, y, grad, each)},
		{"len(PosWeights)", "0", eval(BCEWithLogits{PosWeights: []float32{}}, x, y, grad, each)},
		{"PosWeight", "NaN", eval(BCEWithLogits{PosWeight: Weight(nan)}, x, y, grad, each)},
		{"PosWeight", "+Inf", eval(BCEWithLogits{PosWeight: Weight(inf)}, x, y, grad, each)},
		{"Labels", "2", eval(Hinge{Labels: 2}, x, y, grad, each)},
		{"Labels", "2", eval(SquaredHinge{Labels: 2}, x, y, grad, each)},
		{"len(target)", "5", eval(MSE{}, x, y[:5], grad, each)},
		{"len(grad)", "5", eval(MSE{}, x, y, grad[:5], each)},
		{"len(grad)", "0", eval(MSE{}, x, y, grad[:0], each)},
		{"len(each)", "5", eval(MSE{}, x, y, grad, each[:5])},
		{"each", "nil", eval(MSE{Reduction: None}, x, y, grad, nil)},
		{"grad", "6 elements at", eval(MSE{}, x, y, x, each)},
		{"grad", "6 elements at", eval(MSE{}, x, y, memory[11:17], each)},
		{"each", "6 elements at", eval(MSE{}, x, y, grad, memory[5:11])},
		{"each", "6 elements at", eval(MSE{}, x, y, grad, memory[17:23])},
		{"L1", "-1", penalty(Penalty{L1: -1}, x, grad)},
		{"L2", "NaN", penalty(Penalty{L2: nan}, x, grad)},
		{"L2", "+Inf", penalty(Penalty{L2: inf}, x, grad)},
		{"len(grad)", "5", penalty(Penalty{}, x, grad[:5])},
		{"grad", "6 elements at", penalty(Penalty{}, x, memory[5:11])},
		{"model", "9", create(9, 3)},
		{"model", "0", linear(func(l *Linear) error { return l.SetDelta(1) })},
		{"model", "0", linear(func(l *Linear) error { return l.SetLevel(.5) })},
		{"delta", "0", huber.SetDelta(0)},
		{"delta", "NaN", huber.SetDelta(nan)},
		{"level", "1", quantile.SetLevel(1)},
		{"columns", "-1", create(Squared, -1)},
		{"model", "0", linear(func(l *Linear) error { return l.SetLabels(ZeroOne) })},
		{"labels", "2", hinge.SetLabels(2)},
		{"n", "-1", linear(func(l *Linear) error { return l.SetWorkers(-1) })},
		{"n", "4194304", linear(func(l *Linear) error { return l.SetWorkers(1 << 22) })},
		{"columns", strconv.Itoa(math.MaxInt), create(Squared, math.MaxInt)},
		{"len(w)", "3", gradient(x, y[:2], each[:3], grad[:4])},
		{"len(x)", "5", gradient(x[:5], y[:2], each[:4], grad[:4])},
		{"len(grad)", "3", gradient(x, y[:2], each[:4], grad[:3])},
		{"grad", "4 elements at", gradient(x, y[:2], each[:4], x[:4])},
		{"grad", "4 elements at", gradient(x, y[:2], each[:4], memory[7:11])},
		{"grad", "4 elements at", gradient(x, y[:2], each[:4], memory[21:25])},
		{"len(w)", "5", predict(x, each[:5], y[:2])},
		{"len(x)", "6", predict(x, each[:4], y[:3])},
		{"z", "2 elements at", predict(x, each[:4], memory[5:7])},
		{"z", "2 elements at", predict(x, each[:4], memory[21:23])},
	} {
		var e *ArgError
		if !errors.As(c.err, &e) || e.Arg != c.arg || !strings.Contains(e.Error(), c.arg+" is "+c.value) {
			t.Errorf("%v, want that %s is %s", c.err, c.arg, c.value)
		}
	}
	if !slices.Equal(memory, before) {
		t.Error("something was written")
	}
	if err := eval(MSE{Reduction: None}, x, y, grad, each); err != nil {
		t.Errorf("neighbours in memory are refused: %v", err)
	}
}

func mustEval(t *testing.T, l Loss, pred, target, grad, each []float32) float64 {
	t.Helper()
	value, err := l.Eval(pred, target, grad, each)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// same compares numbers, for which NaN is NaN.
func same(x, y float32) bool { return x == y || x != x && y != y }
