package loss

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// logits is a grid of predictions on which a cross-entropy cancels or overflows if it is
// computed carelessly.
var logits = []float32{-200, -104, -88, -50, -20, -17, -16, -5, -1, -.1, -1e-5, 0, 1e-5, .1, 1, 5, 16, 17, 20, 50, 88, 104, 200}

// sigmoid is 1 / (1 + e^-x).
func sigmoid(x float64) float64 {
	if x < 0 {
		return math.Exp(x) / (1 + math.Exp(x))
	}
	return 1 / (1 + math.Exp(-x))
}

// TestLogitsExact compares value and gradient with float64, for targets on either side
// and between, and weights from none to many: PyTorch's formula is 36 % off at logit 16
// with weight 100, and 0 from 17 on. Between, the gradient is a difference, whose error
// is one of what is subtracted.
func TestLogitsExact(t *testing.T) {
	for _, weight := range []float64{0, 1e-10, 1e-6, .001, .5, 1, 3, 100, 1e6} {
		w := float64(float32(weight))
		for _, y := range []float32{0, 0x1p-20, .1, .5, .9, 1 - 0x1p-24, 1} {
			for _, x := range logits {
				grad, each := []float32{0}, []float32{0}
				mustEval(t, BCEWithLogits{Reduction: Sum, PosWeight: Weight(weight)}, []float32{x}, []float32{y}, grad, each)
				z, no, yes := float64(x), 1-float64(y), w*float64(y)
				least := 0x1p-149 * max(1, w) // e^-104 is the smallest number, or 0
				loss, up, down := no*softplus(z)+yes*softplus(-z), no*sigmoid(z), yes*sigmoid(-z)
				exact(t, fmt.Sprintf("loss of %g for %g, weight %g", x, y, weight), each[0], loss, loss, least)
				exact(t, fmt.Sprintf("gradient of %g for %g, weight %g", x, y, weight), grad[0], up-down, up+down, least)
			}
		}
	}
}

// exact wants a number within 4 units of 2⁻²⁴ of a size, or of what is least.
func exact(t *testing.T, what string, got float32, want, size, least float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > 4*0x1p-24*size+4*least {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// TestLogisticExact has a linear model predict positives and negatives beyond doubt,
// whose gradient would be 0 if it were σ(x) - y.
func TestLogisticExact(t *testing.T) {
	l, err := NewLinear(Logistic, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, y := range []float32{0, 1} {
		for _, x := range logits {
			grad := []float32{0}
			value, err := l.Gradient([]float32{1}, []float32{y}, []float32{x}, grad)
			if err != nil {
				t.Fatal(err)
			}
			z, side := float64(x), float64(1-2*y)
			loss, slope := softplus(side*z), side*sigmoid(side*z)
			exact(t, fmt.Sprintf("loss of %g for %g", x, y), float32(value), loss, loss, 0x1p-149)
			exact(t, fmt.Sprintf("gradient of %g for %g", x, y), grad[0], slope, math.Abs(slope), 0x1p-149)
		}
	}
}

// TestMaskedLogits has infinite logits in a batch: on the target's side they cost
// nothing, on the other all.
func TestMaskedLogits(t *testing.T) {
	inf := float32(math.Inf(1))
	x, y := []float32{-inf, inf, 2}, []float32{0, 1, 1}
	grad := make([]float32, 3)
	for _, l := range []Loss{BCEWithLogits{Reduction: Sum}, BCEWithLogits{Reduction: Sum, PosWeight: Weight(3)}} {
		if v := mustEval(t, l, x, y, grad, nil); !(v > 0 && v < 1) || grad[0] != 0 || grad[1] != 0 || !(grad[2] < 0) {
			t.Errorf("a masked batch has the loss %g and the gradient %v", v, grad)
		}
	}
	for k, wrong := range [][2]float32{{inf, 0}, {-inf, 1}} {
		v := mustEval(t, BCEWithLogits{Reduction: Sum}, wrong[:1], wrong[1:], grad[:1], nil)
		if !math.IsInf(v, 1) || grad[0] != []float32{1, -1}[k] {
			t.Errorf("the wrong side of %g has the loss %g and the gradient %g", wrong[1], v, grad[0])
		}
	}
}

// TestSquaresBeyondFloat32 has a difference whose square float32 does not hold, though
// the mean of all is one that it does.
func TestSquaresBeyondFloat32(t *testing.T) {
	x, y := make([]float32, 100), make([]float32, 100)
	x[7] = 2e19
	want := float64(x[7]) * float64(x[7]) / 100
	if v := mustEval(t, MSE{Reduction: Mean}, x, y, nil, nil); math.Abs(v-want) > 1e-12*want {
		t.Errorf("the mean of MSE is %g, want %g", v, want)
	}
	x[7] *= -1
	if v := mustEval(t, SquaredHinge{Reduction: Mean}, x, slices.Repeat([]float32{1}, len(x)), nil, nil); math.Abs(v-want) > 1e-12*want {
		t.Errorf("the mean of SquaredHinge is %g, want %g", v, want)
	}
}

// TestLongRows compares predictions of long rows with float64. Products of one sign make
// sums grow, and with them what each addition loses: one sum in 32 lanes of 64 Ki
// products is 1.5 units of 2⁻²⁴ off and not .75; of a million in pieces that are added as
// float32, 1.6 and not .2.
func TestLongRows(t *testing.T) {
	for _, c := range []struct {
		rows, columns int
		most          float64 // rms, in units of 2⁻²⁴ of the sum
	}{{64, 64 << 10, 1}, {4, 1 << 20, .4}} {
		x, w, z := uniform(c.rows*c.columns, 0, 1, 1), uniform(c.columns, 0, 1, 2), make([]float32, c.rows)
		l, err := NewLinear(Squared, c.columns, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Predict(x, w, z); err != nil {
			t.Fatal(err)
		}
		squares := 0.0
		for i := range z {
			want := 0.0
			for j := range w {
				want += float64(x[i*c.columns+j]) * float64(w[j])
			}
			off := (float64(z[i])/want - 1) * 0x1p24
			squares += off * off
		}
		if rms := math.Sqrt(squares / float64(c.rows)); rms > c.most {
			t.Errorf("rows of %d columns are %.2f units off, want at most %g", c.columns, rms, c.most)
		}
	}
}

// TestForget has no call keep the caller's buffers alive.
func TestForget(t *testing.T) {
	l, err := NewLinear(Squared, 3, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(x []float32) error{
		"Eval":     func(x []float32) error { _, err := MSE{}.Eval(x, x, nil, nil); return err },
		"Penalty":  func(x []float32) error { _, err := Penalty{}.Eval(x, nil); return err },
		"Gradient": func(x []float32) error { _, err := l.Gradient(x, x[:1000], x[:4], make([]float32, 4)); return err },
		"Softmax":  func(x []float32) error { return Softmax(x, x, 3, 0) },
		"CosineEmbedding": func(x []float32) error {
			_, err := CosineEmbedding{Eps: 1}.Eval(3, Pairs{X: x, Y: x, GradX: make([]float32, len(x))})
			return err
		},
		"Predict": func(x []float32) error { return l.Predict(x, x[:4], make([]float32, 1000)) },
	} {
		x := make([]float32, 3000)
		first := weak.Make(&x[0])
		if err := call(x); err != nil {
			t.Fatal(err)
		}
		x = nil
		runtime.GC() // one: the pool lets go of its own at the second
		if first.Value() != nil {
			t.Errorf("%s keeps its arguments", name)
		}
	}
	runtime.KeepAlive(l)
}

// TestBlockLines wants blocks that no vector's store splits.
func TestBlockLines(t *testing.T) {
	for range 10 {
		for _, b := range newRoom().unwanted {
			if buffers.Address(b)%tune.Line != 0 || len(b) != tune.LossBlock {
				t.Errorf("a block of %d elements begins at %#x", len(b), buffers.Address(b))
			}
		}
	}
}
