package optax_test

import (
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
)

// Rules of optax under its names, a step of each with a gradient of 1 from a parameter of 1.
func Example() {
	for _, rule := range []update.Rule{optax.AdamaxW(.1), optax.NAdamW(.1), optax.Signum(.1), optax.Novograd(.1), optax.Lars(.1)} {
		optimizer, err := update.New(1, rule)
		if err != nil {
			log.Fatal(err)
		}
		params := []float32{1}
		if err := optimizer.Step(params, []float32{1}); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %.4f\n", rule.Name(), params[0])
	}
	// Output:
	// adamax 0.9000
	// nadam 0.8526
	// signum 0.9000
	// novograd 0.9000
	// lars, lr inside 0.9999
}
