package tensorflow_test

import (
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/tensorflow"
)

// The raw operations, a step of each with a gradient of 1 from a parameter of 1.
func Example() {
	for _, rule := range []update.Rule{
		tensorflow.GradientDescent(.1),
		tensorflow.ProximalGradientDescent(.1, .1, .1),
		tensorflow.Momentum(.1, .9),
		tensorflow.KerasMomentum(.1, .9),
		tensorflow.AdagradV2(.1, .1, 1e-7),
		tensorflow.ProximalAdagrad(.1, .1, .1, .1),
		tensorflow.AdagradDA(.1, .1, .1, .1),
		tensorflow.Adadelta(.1, .95, 1e-7),
		tensorflow.RMSProp(.1, .9, .9, 1e-7),
		tensorflow.CenteredRMSProp(.1, .9, .9, 1e-7),
		tensorflow.Adam(.1, .9, .999, 1e-7),
		tensorflow.NesterovAdam(.1, .9, .999, 1e-7),
		tensorflow.AdaMax(.1, .9, .999, 1e-7),
		tensorflow.Ftrl(.1, .1, .1, .1),
		tensorflow.FtrlV2(.1, .1, .1, .1, .1),
		tensorflow.AddSign(.1, 1, 1, .9),
		tensorflow.PowerSign(.1, 2, 1, .9),
	} {
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
	// sgd 0.9000
	// sgd 0.8812
	// momentum 0.9000
	// momentum, lr inside 0.9000
	// adagrad 0.9047
	// adagrad 0.8867
	// adagradda -0.0850
	// adadelta 0.9999
	// rmsprop, momentum, lr inside 0.6838
	// rmsprop, centered, momentum, lr inside 0.6667
	// adam 0.9000
	// nadam 0.8100
	// adamax 0.9000
	// ftrl 0.5825
	// ftrl 0.5638
	// addsign 0.8000
	// powersign 0.2611
}
