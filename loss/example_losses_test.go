package loss_test

import (
	"fmt"

	"github.com/lockstep-go/lockstep/loss"
)

// Errors of -1, 0 and 4 as losses of regression have them, and their gradients.
func ExampleHuber() {
	pred, target, grad, each := []float32{0, 1, 5}, []float32{1, 1, 1}, make([]float32, 3), make([]float32, 3)
	for _, l := range []loss.Loss{
		loss.MAE{Reduction: loss.None},
		loss.Huber{Reduction: loss.None, Delta: 2},
		loss.SmoothL1{Reduction: loss.None, Beta: 2},
		loss.Quantile{Reduction: loss.None, Level: .9},
		loss.LogCosh{Reduction: loss.None},
	} {
		_, err := l.Eval(pred, target, grad, each)
		check(err)
		fmt.Printf("%T %.3f %.3f\n", l, each, grad)
	}
	// Output:
	// loss.MAE [1.000 0.000 4.000] [-1.000 0.000 1.000]
	// loss.Huber [0.500 0.000 6.000] [-1.000 0.000 2.000]
	// loss.SmoothL1 [0.250 0.000 3.000] [-0.500 0.000 1.000]
	// loss.Quantile [0.900 0.000 0.400] [-0.900 0.000 0.100]
	// loss.LogCosh [0.434 0.000 3.307] [-0.762 0.000 0.999]
}

// Counts: pred is the logarithm of the rate, or the rate itself.
func ExamplePoissonNLL() {
	target, grad := []float32{0, 3}, make([]float32, 2)
	value, err := loss.PoissonNLL{Full: true}.Eval([]float32{0, 1}, target, grad, nil)
	check(err)
	fmt.Printf("%.4f %.4f\n", value, grad)
	value, err = loss.PoissonNLL{Rates: true, Eps: 1e-8}.Eval([]float32{1, 3}, target, grad, nil)
	check(err)
	fmt.Printf("%.4f %.4f\n", value, grad)
	// Output:
	// 1.2412 [0.5000 -0.1409]
	// 0.3521 [0.5000 0.0000]
}

// A model that says how sure it is: the gradient by the variance grows it where the error is
// large.
func ExampleGaussianNLL() {
	pred, target, variance := []float32{1, 1}, []float32{1, 3}, []float32{.5, .5}
	grad, by := make([]float32, 2), make([]float32, 2)
	value, err := loss.GaussianNLL{Eps: 1e-6}.Eval(pred, target, variance, grad, by, nil)
	check(err)
	fmt.Printf("%.4f %.2f %.2f\n", value, grad, by)
	// Output: 1.6534 [0.00 -2.00] [0.50 -3.50]
}

// Two rows of probabilities beside a model's logarithms of them. The mean that is a divergence
// is over rows.
func ExampleKLDivergence() {
	target := []float32{.5, .5, 1, 0}
	pred := []float32{-.6931, -.6931, -.1054, -2.3026} // of .5, .5, .9, .1
	for _, r := range []loss.Reduction{loss.Mean, loss.BatchMean} {
		value, err := loss.KLDivergence{Reduction: r, Scaling: loss.Scaling{Rows: 2}}.Eval(pred, target, nil, nil)
		check(err)
		fmt.Printf("%.3f\n", value)
	}
	// Output:
	// 0.026
	// 0.053
}

// Examples that are right by far count little, so that the few that are wrong are heard.
func ExampleFocal() {
	logits, target, each := []float32{-4, -4, -4, 1}, []float32{0, 0, 0, 0}, make([]float32, 4)
	_, err := loss.BCEWithLogits{Reduction: loss.None}.Eval(logits, target, nil, each)
	check(err)
	fmt.Printf("%.4f\n", each)
	_, err = loss.Focal{Reduction: loss.None, Gamma: 2, Alpha: loss.Weight(.25)}.Eval(logits, target, nil, each)
	check(err)
	fmt.Printf("%.4f\n", each)
	_, err = loss.SoftMargin{Reduction: loss.None}.Eval(logits, []float32{-1, -1, -1, -1}, nil, each)
	check(err)
	fmt.Printf("%.4f\n", each)
	// Output:
	// [0.0181 0.0181 0.0181 1.3133]
	// [0.0000 0.0000 0.0000 0.5264]
	// [0.0181 0.0181 0.0181 1.3133]
}

// Three rows of a classifier of three classes, of which the last is padding. The gradient goes
// where the logits are.
func ExampleCrossEntropy() {
	ce, err := loss.NewCrossEntropy(3, loss.CrossEntropyOptions{Ignore: loss.Label(loss.TorchIgnore), Smoothing: .1})
	check(err)
	check(ce.SetWorkers(2))
	logits := []float32{2, 1, 0, 0, 3, 0, 7, 7, 7}
	value, err := ce.Eval(loss.Rows{Logits: logits, Labels: []int64{0, 1, loss.TorchIgnore}, Grad: logits})
	check(err)
	fmt.Printf("%.4f %.3f\n", value, logits)

	empty, err := loss.NewCrossEntropy(3, loss.CrossEntropyOptions{Ignore: loss.Label(0), EmptyMean: loss.EmptyZero})
	check(err)
	value, err = empty.Eval(loss.Rows{Logits: []float32{1, 2, 3}, Labels: []int64{0}})
	fmt.Println(value, err)
	var mean loss.EmptyMean
	fmt.Println(mean == loss.EmptyNaN, "by default")
	// Output:
	// 0.4013 [-0.134 0.106 0.028 0.006 -0.012 0.006 0.000 0.000 0.000]
	// 0 <nil>
	// true by default
}

// Rows of probabilities, whatever the size of the logits.
func ExampleSoftmax() {
	x, y := []float32{0, 0, 1000, 1001}, make([]float32, 4)
	check(loss.Softmax(y, x, 2, 0))
	fmt.Printf("%.3f\n", y)
	check(loss.LogSumExp(y[:2], x, 2, 0))
	fmt.Printf("%.3f\n", y[:2])
	// Output:
	// [0.500 0.500 0.269 0.731]
	// [0.693 1001.313]
}

// Softmax regression: three classes of points of the plane, by steps along the gradients.
func ExampleSoftmaxLinear() {
	x := []float32{ // two rows for each class
		2, 0, 3, 1,
		-2, 1, -3, 0,
		0, -3, 1, -2,
	}
	model, err := loss.NewSoftmaxLinear(2, 3, loss.CrossEntropyOptions{})
	check(err)
	check(model.SetWorkers(1))
	rows := loss.LinearRows{
		X: x, Labels: []int64{0, 0, 1, 1, 2, 2},
		W: make([]float32, 6), B: make([]float32, 3),
		GradW: make([]float32, 6), GradB: make([]float32, 3),
	}
	for range 3 {
		value, err := model.Eval(rows)
		check(err)
		fmt.Printf("%.4f\n", value)
		for i, g := range rows.GradW {
			rows.W[i] -= g
		}
		for i, g := range rows.GradB {
			rows.B[i] -= g
		}
	}
	logits := make([]float32, 3)
	check(model.Predict([]float32{2, 1}, rows.W, rows.B, logits))
	fmt.Printf("%.2f\n", logits)
	// Output:
	// 1.0986
	// 0.1369
	// 0.1006
	// [2.35 -1.61 -0.74]
}

// Counts, one of them far from the prediction. Poisson regression predicts the logarithm of the
// rate; to the others the largest error is one as any other.
func ExampleLinear_SetDelta() {
	x, y, w := []float32{0, 1, 2}, []float32{1, 3, 17}, []float32{1, .5}
	for _, m := range []loss.Model{loss.PoissonLoss, loss.HuberLoss, loss.AbsoluteLoss, loss.QuantileLoss, loss.LogCoshLoss} {
		l, err := loss.NewLinear(m, 1, true)
		check(err)
		switch m {
		case loss.HuberLoss:
			check(l.SetDelta(2))
		case loss.QuantileLoss:
			check(l.SetLevel(.9))
		}
		grad := make([]float32, 2)
		value, err := l.Gradient(x, y, w, grad)
		check(err)
		fmt.Printf("%.3f %.3f\n", value, grad)
	}
	// Output:
	// -9.729 [-2.718 -0.896]
	// 9.417 [-1.833 -1.333]
	// 5.500 [-1.000 -1.000]
	// 4.950 [-0.900 -0.900]
	// 4.927 [-0.968 -0.789]
}

// Two rows of scores as losses of rows and labels have them, and their gradients.
func ExampleRowLoss() {
	scores, grad, each := []float32{3, 1, 2.5, 0, 2, 2}, make([]float32, 6), make([]float32, 2)
	for _, o := range []loss.RowLossOptions{
		{Model: loss.MultiMargin},
		{Model: loss.MultiMargin, Squared: true, Margin: loss.Weight(2)},
		{Model: loss.CrammerSinger},
		{Model: loss.CategoricalHinge, Weights: []float32{1, 1, 2}},
		{Model: loss.SoftmaxFocal, Gamma: 2},
		{Model: loss.SoftmaxFocal, Gamma: 2, Probabilities: true, Smoothing: .1},
	} {
		o.Reduction = loss.None
		l, err := loss.NewRowLoss(3, o)
		check(err)
		check(l.SetWorkers(1))
		_, err = l.Eval(loss.Rows{Logits: scores, Labels: []int64{0, 2}, Grad: grad, Each: each})
		check(err)
		fmt.Printf("%.3f %.3f\n", each, grad)
	}
	var model loss.RowModel = loss.CrammerSinger
	fmt.Println(model > loss.NLL)
	// Output:
	// [0.167 0.333] [-0.333 0.000 0.333 0.000 0.333 -0.333]
	// [0.750 1.333] [-1.000 0.000 1.000 0.000 1.333 -1.333]
	// [0.500 1.000] [-1.000 0.000 1.000 0.000 1.000 -1.000]
	// [0.500 2.000] [-1.000 0.000 1.000 0.000 2.000 -2.000]
	// [0.101 0.214] [-0.193 0.035 0.158 0.042 0.309 -0.351]
	// [0.266 0.705] [-0.103 0.067 0.096 0.144 0.134 -0.134]
	// true
}

// Cross-entropy in two parts, and back through both.
func ExampleLogSoftmax() {
	logits, grad := []float32{2, 1, 0, 0, 3, 0}, make([]float32, 6)
	check(loss.LogSoftmax(logits, logits, 2, 0))
	nll, err := loss.NewRowLoss(3, loss.RowLossOptions{Model: loss.NLL})
	check(err)
	value, err := nll.Eval(loss.Rows{Logits: logits, Labels: []int64{0, 1}, Grad: grad})
	check(err)
	check(loss.LogSoftmaxGrad(grad, logits, 2, 0))
	fmt.Printf("%.4f %.3f\n", value, grad)
	// Output: 0.2513 [-0.167 0.122 0.045 0.023 -0.045 0.023]
}

// Two pairs, of which the first should point the same way and the second apart.
func ExampleCosineEmbedding() {
	pairs := loss.Pairs{X: []float32{1, 0, 3, 4}, Y: []float32{1, 1, 4, 3}, Labels: []float32{1, -1}, GradX: make([]float32, 4), Each: make([]float32, 2)}
	value, err := loss.CosineEmbedding{Margin: .5, Eps: 1e-12}.Eval(2, pairs)
	check(err)
	fmt.Printf("%.3f %.3f %.3f\n", value, pairs.Each, pairs.GradX)
	// Output: 0.376 [0.293 0.460] [0.000 -0.354 0.022 -0.017]
}

// A large batch is shared by as many goroutines as there are processors, or by so many. The bits
// are the same.
func ExampleWorkers() {
	pred, target, grad := make([]float32, 1<<20), make([]float32, 1<<20), make([]float32, 1<<20)
	for i := range pred {
		pred[i] = float32(i) / 1e6
	}
	shared, err := loss.MSE{}.Eval(pred, target, grad, nil)
	check(err)
	alone, err := loss.MSE{Workers: 1}.Eval(pred, target, grad, nil)
	check(err)
	fmt.Printf("%.4f %v\n", shared, shared == alone)
	// Output: 0.3665 true
}
