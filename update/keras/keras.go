// Package keras has the rules of keras.optimizers under its names, with its defaults.
// The weight_decay of every one of them is WeightDecay, but for Lamb.
package keras

import "github.com/lockstep-go/lockstep/update"

// SGD is keras.optimizers.SGD without momentum: learning_rate .01.
func SGD() update.SGD { return update.SGD{Options: update.Options{LR: .01}} }

// Momentum is keras.optimizers.SGD with momentum: learning_rate .01, which is inside the
// buffer. Keras stores the buffer with the opposite sign.
func Momentum(momentum float64) update.Momentum {
	return update.Momentum{Options: update.Options{LR: .01}, Momentum: momentum, LRInside: true}
}

// Adagrad is keras.optimizers.Adagrad: learning_rate .001, initial_accumulator_value .1,
// epsilon 1e-7 inside the root.
func Adagrad() update.AdaGrad {
	return update.AdaGrad{Options: update.Options{LR: 1e-3}, InitialAccumulator: .1, Eps: 1e-7, EpsInside: true}
}

// Adam is keras.optimizers.Adam: learning_rate .001, betas .9 and .999, epsilon 1e-7
// before the bias is corrected.
func Adam() update.Adam {
	return update.Adam{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-7, EpsHat: true}
}

// AdamW is keras.optimizers.AdamW: Adam with a weight decay of .004.
func AdamW() update.Adam {
	r := Adam()
	r.WeightDecay = .004
	return r
}

// RMSprop is keras.optimizers.RMSprop: learning_rate .001, rho .9, epsilon 1e-7 inside
// the root, and the learning rate inside the buffer if there is a momentum.
func RMSprop() update.RMSprop {
	return update.RMSprop{Options: update.Options{LR: 1e-3}, Rho: .9, Eps: 1e-7, EpsInside: true, LRInside: true}
}

// Lion is keras.optimizers.Lion: learning_rate .001, betas .9 and .99.
func Lion() update.Lion {
	return update.Lion{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .99}
}

// Lamb is keras.optimizers.Lamb: learning_rate .001, betas .9 and .999, epsilon 1e-7. Its
// weight_decay, which Keras takes off before the step, is not there.
func Lamb() update.LAMB {
	return update.LAMB{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-7}
}
