package keras_test

import (
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
)

// Nesterov's Adam, with a decay beside it as every rule of Keras has it.
func Example() {
	rule := keras.Nadam()
	rule.LR, rule.WeightDecay = .1, .01
	optimizer, err := update.New(1, rule)
	if err != nil {
		log.Fatal(err)
	}
	params := []float32{1}
	for range 3 {
		if err := optimizer.Step(params, []float32{1}); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.4f ", params[0])
	}
	// Output: 0.8927 0.8145 0.7425
}
