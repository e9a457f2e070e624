package loss_test

import (
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleMSE() {
	pred := []float32{1, 2, 4}
	target := []float32{1, 1, 1}
	grad := make([]float32, len(pred))
	value, err := loss.MSE{Reduction: loss.Sum}.Eval(pred, target, grad, nil)
	check(err)
	fmt.Println(value, grad)
	// Output: 10 [0 2 6]
}

// None keeps the losses of the elements, which need a buffer; a nil gradient is
// left out.
func ExampleReduction() {
	pred, target := []float32{1, 2, 4}, []float32{1, 1, 1}
	each := make([]float32, len(pred))
	sum, err := loss.MSE{Reduction: loss.None}.Eval(pred, target, nil, each)
	check(err)
	mean, err := loss.MSE{}.Eval(pred, target, nil, nil)
	check(err)
	fmt.Printf("each %g, sum %g, mean %.3f\n", each, sum, mean)
	// Output: each [0 1 9], sum 10, mean 3.333
}

// A wrong prediction that is certain: PyTorch's clamp still has a gradient,
// Keras's has none.
func ExampleBCE() {
	pred := []float32{0.9, 0.5, 0}
	target := []float32{1, 0, 1}
	grad := make([]float32, len(pred))
	for _, clamp := range []loss.Clamp{loss.ClampLog, loss.ClampProbability} {
		value, err := loss.BCE{Reduction: loss.Sum, Clamp: clamp}.Eval(pred, target, grad, nil)
		check(err)
		fmt.Printf("%.3f %.3g\n", value, grad)
	}
	// Output:
	// 100.799 [-1.11 2 -1e+12]
	// 16.917 [-1.11 2 0]
}

// A logit of -100 is as wrong as a probability of 0, and neither its loss nor its
// gradient needs a clamp.
func ExampleBCEWithLogits() {
	logits := []float32{2, 0, -100}
	target := []float32{1, 0, 1}
	grad := make([]float32, len(logits))
	value, err := loss.BCEWithLogits{Reduction: loss.Sum}.Eval(logits, target, grad, nil)
	check(err)
	fmt.Printf("%.3f %.3f\n", value, grad)

	// Positive targets count three times, where there are few.
	value, err = loss.BCEWithLogits{Reduction: loss.Sum, PosWeight: loss.Weight(3)}.Eval(logits, target, grad, nil)
	check(err)
	fmt.Printf("%.3f %.3f\n", value, grad)
	// Output:
	// 100.820 [-0.119 0.500 -1.000]
	// 301.074 [-0.358 0.500 -3.000]
}

// The same two classes, written ±1 and 0 and 1.
func ExampleHinge() {
	pred := []float32{2, 0.5, 0.5}
	grad := make([]float32, len(pred))
	value, err := loss.Hinge{Reduction: loss.Sum}.Eval(pred, []float32{1, 1, -1}, grad, nil)
	check(err)
	fmt.Println(value, grad)
	value, err = loss.Hinge{Reduction: loss.Sum, Labels: loss.ZeroOne}.Eval(pred, []float32{1, 1, 0}, grad, nil)
	check(err)
	fmt.Println(value, grad)
	// Output:
	// 2 [0 -1 1]
	// 2 [0 -1 1]
}

func ExampleSquaredHinge() {
	pred, target := []float32{0, 0.5, 0.5}, []float32{1, 1, -1}
	grad := make([]float32, len(pred))
	value, err := loss.SquaredHinge{Reduction: loss.Sum}.Eval(pred, target, grad, nil)
	check(err)
	fmt.Println(value, grad)
	// Output: 3.5 [-2 -1 3]
}

// A penalty adds its gradient to that of the loss.
func ExamplePenalty() {
	w := []float32{1, -2, 0}
	grad := []float32{10, 10, 10}
	value, err := loss.Penalty{L1: 0.5, L2: 1}.Eval(w, grad)
	check(err)
	fmt.Println(value, grad)
	// Output: 4 [11.5 7.5 10]
}

// Keras has no factor ½: its l2 is half of ours.
func ExampleKerasL1L2() {
	w := []float32{1, -2, 0}
	grad := []float32{10, 10, 10}
	value, err := loss.KerasL1L2(0.5, 0.5).Eval(w, grad)
	check(err)
	fmt.Println(value, grad)
	// Output: 4 [11.5 7.5 10]
}

// Every model with an intercept, the last element of w and of the gradient, at
// weights that are 0: there is no prediction yet, and each pulls its own way.
func ExampleModel() {
	x := []float32{ // one row for each label
		1, 2,
		2, 1,
		-1, -2,
		-4, -1,
	}
	for _, m := range []struct {
		name  string
		model loss.Model
		y     []float32
	}{
		{"squared", loss.Squared, []float32{3, 3, -2, -4}},
		{"logistic", loss.Logistic, []float32{1, 1, 0, 0}},
		{"hinge", loss.HingeLoss, []float32{1, 1, -1, -1}},
		{"squared hinge", loss.SquaredHingeLoss, []float32{1, 1, -1, -1}},
	} {
		l, err := loss.NewLinear(m.model, 2, true)
		check(err)
		w, grad := make([]float32, l.Len()), make([]float32, l.Len())
		value, err := l.Gradient(x, m.y, w, grad)
		check(err)
		fmt.Printf("%s: %.3f, gradient %.2f\n", m.name, value, grad)
	}
	// Output:
	// squared: 9.500, gradient [-13.50 -8.50 0.00]
	// logistic: 0.693, gradient [-1.00 -0.75 0.00]
	// hinge: 1.000, gradient [-2.00 -1.50 0.00]
	// squared hinge: 1.000, gradient [-4.00 -3.00 0.00]
}

// Labels that a model is not made for are an error, and a hinge model can be made
// for other ones.
func ExampleLinear_SetLabels() {
	x, y := []float32{1, 2, -3}, []float32{1, 1, 0}
	l, err := loss.NewLinear(loss.HingeLoss, 1, false)
	check(err)
	w, grad := []float32{0}, []float32{0}
	_, err = l.Gradient(x, y, w, grad)
	fmt.Println(err)

	check(l.SetLabels(loss.ZeroOne))
	value, err := l.Gradient(x, y, w, grad)
	check(err)
	fmt.Println(value, grad)
	// Output:
	// loss: y[2] is 0, want 1 or -1, or as SetLabels says
	// 1 [-2]
}

// However many workers share the rows, the bits are the same.
func ExampleLinear_SetWorkers() {
	const rows, columns = 50_000, 32
	x, y := make([]float32, rows*columns), make([]float32, rows)
	for i := range x {
		x[i] = float32(i%7) / 7
	}
	for i := range y {
		y[i] = float32(i%5) / 5
	}
	l, err := loss.NewLinear(loss.Squared, columns, true)
	check(err)
	w := make([]float32, l.Len())
	one, four := make([]float32, l.Len()), make([]float32, l.Len())
	check(l.SetWorkers(1))
	valueOne, err := l.Gradient(x, y, w, one)
	check(err)
	check(l.SetWorkers(4))
	valueFour, err := l.Gradient(x, y, w, four)
	check(err)
	fmt.Println(valueOne == valueFour, slices.Equal(one, four))
	// Output: true true
}

// Logistic regression: the gradient of all rows, and a step of gradient descent.
func ExampleLinear() {
	x := []float32{ // one row for each label
		1, 2,
		2, 1,
		-1, -2,
		-2, -1,
	}
	y := []float32{1, 1, 0, 0}

	model, err := loss.NewLinear(loss.Logistic, 2, true)
	check(err)
	w, grad := make([]float32, model.Len()), make([]float32, model.Len())
	optimizer, err := update.New(len(w), update.SGD{Options: update.Options{LR: 0.5}})
	check(err)
	for range 3 {
		value, err := model.Gradient(x, y, w, grad)
		check(err)
		fmt.Printf("%.4f\n", value)
		check(optimizer.Step(w, grad))
	}
	z := make([]float32, len(y))
	check(model.Predict(x, w, z))
	fmt.Printf("%.2f\n", z)
	// Output:
	// 0.6931
	// 0.2812
	// 0.1715
	// [2.03 2.03 -2.03 -2.03]
}

// Any loss behind one interface, and an error that names the argument.
func ExampleLoss() {
	pred, target := []float32{.9, .2}, []float32{1, 0}
	for _, l := range []loss.Loss{loss.MSE{Reduction: loss.Mean}, loss.BCE{}, loss.Hinge{Labels: loss.PlusMinus}} {
		value, err := l.Eval(pred, target, nil, nil)
		check(err)
		fmt.Printf("%T %.3f\n", l, value)
	}
	_, err := loss.MSE{}.Eval(pred, target[:1], nil, nil)
	var bad *loss.ArgError
	fmt.Println(errors.As(err, &bad), bad.Arg, bad.Value)
	// Output:
	// loss.MSE 0.025
	// loss.BCE 0.164
	// loss.Hinge 0.550
	// true len(target) 1
}

// The second row is padding, and the value is that of the others: its weight is 0.
func ExampleScaling() {
	pred, target := []float32{1, 2, 7, 7, 4, 4}, []float32{1, 1, 0, 0, 1, 2}
	grad := make([]float32, len(pred))
	l := loss.MSE{Reduction: loss.WeightedMean, Scaling: loss.Scaling{Weight: []float32{1, 0, 1}, Rows: 3}}
	value, err := l.Eval(pred, target, grad, nil)
	check(err)
	fmt.Println(value, grad)
	// Output: 3.5 [0 0.5 0 0 1.5 1]
}
