package loss_test

import (
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

func ExampleMSE() {
	pred := []float32{1, 2, 4}
	target := []float32{1, 1, 1}
	grad := make([]float32, len(pred))
	value, err := loss.MSE{Reduction: loss.Sum}.Eval(pred, target, grad, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(value, grad)
	// Output: 10 [0 2 6]
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
	if err != nil {
		log.Fatal(err)
	}
	w, grad := make([]float32, model.Len()), make([]float32, model.Len())
	optimizer, err := update.New(len(w), update.SGD{Options: update.Options{LR: 0.5}})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		value, err := model.Gradient(x, y, w, grad)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.4f\n", value)
		if err := optimizer.Step(w, grad); err != nil {
			log.Fatal(err)
		}
	}
	z := make([]float32, len(y))
	if err := model.Predict(x, w, z); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f\n", z)
	// Output:
	// 0.6931
	// 0.2812
	// 0.1715
	// [2.03 2.03 -2.03 -2.03]
}
