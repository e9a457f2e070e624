package loss

import (
	"fmt"
	"math"
	"testing"
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
// and weights from none to many: PyTorch's formula is 36 % off at logit 16 with weight
// 100, and 0 from 17 on.
func TestLogitsExact(t *testing.T) {
	for _, weight := range []float64{0, 1e-6, .5, 1, 3, 100, 1e6} {
		w := float64(float32(weight))
		for _, y := range []float32{0, 1} {
			for _, x := range logits {
				grad, each := []float32{0}, []float32{0}
				mustEval(t, BCEWithLogits{Sum, Weight(weight)}, []float32{x}, []float32{y}, grad, each)
				z, no, yes := float64(x), float64(1-y), w*float64(y)
				least := 0x1p-149 * max(1, w) // e^-104 is the smallest number, or 0
				exact(t, fmt.Sprintf("loss of %g for %g, weight %g", x, y, weight), each[0], no*softplus(z)+yes*softplus(-z), least)
				exact(t, fmt.Sprintf("gradient of %g for %g, weight %g", x, y, weight), grad[0], no*sigmoid(z)-yes*sigmoid(-z), least)
			}
		}
	}
}

// exact wants a number within 4 units of 2⁻²⁴, or of what is least.
func exact(t *testing.T, what string, got float32, want, least float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > 4*0x1p-24*math.Abs(want)+4*least {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// TestMaskedLogits has infinite logits in a batch: on the target's side they cost
// nothing, on the other all.
func TestMaskedLogits(t *testing.T) {
	inf := float32(math.Inf(1))
	x, y := []float32{-inf, inf, 2}, []float32{0, 1, 1}
	grad := make([]float32, 3)
	for _, l := range []Loss{BCEWithLogits{Reduction: Sum}, BCEWithLogits{Sum, Weight(3)}} {
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
	if v := mustEval(t, MSE{Mean}, x, y, nil, nil); math.Abs(v-want) > 1e-12*want {
		t.Errorf("the mean is %g, want %g", v, want)
	}
}

// TestLongRows compares predictions of rows that are longer than a kernel takes with
// float64, beside what one sum in 32 lanes leaves.
func TestLongRows(t *testing.T) {
	const columns = 1 << 18
	x, w := uniform(columns, -1, 1, 1), uniform(columns, -1, 1, 2)
	l, err := NewLinear(Squared, columns, false)
	if err != nil {
		t.Fatal(err)
	}
	var z [1]float32
	if err := l.Predict(x, w, z[:]); err != nil {
		t.Fatal(err)
	}
	want, size := 0.0, 0.0
	for i := range x {
		want += float64(x[i]) * float64(w[i])
		size += math.Abs(float64(x[i]) * float64(w[i]))
	}
	if off := math.Abs(float64(z[0])-want) / size; off > 1e-8 {
		t.Errorf("%g of the products' sizes off", off)
	}
}
