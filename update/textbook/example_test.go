package textbook_test

import (
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

// Rules as their papers have them, that no framework does: cautious ones, and Sophia, whose
// estimate of the curvature comes from labels that are drawn from the model.
func Example() {
	for _, rule := range []update.Rule{textbook.CautiousAdamW(.1), textbook.CautiousLion(.1), textbook.SophiaG(.1, 32)} {
		optimizer, err := update.New(2, rule)
		if err != nil {
			log.Fatal(err)
		}
		params := []float32{1, 1}
		if _, ok := rule.(update.Sophia); ok {
			if err := optimizer.UpdateHessian([][]float32{{1, 100}}); err != nil {
				log.Fatal(err)
			}
		}
		for _, grads := range [][]float32{{1, 1}, {1, -.1}} {
			if err := optimizer.Step(params, grads); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Printf("%s %.4f\n", rule.Name(), params)
	}
	// Output:
	// adam [0.7000 0.9000]
	// lion [0.8000 1.0000]
	// sophia [0.7811 0.9750]
}
