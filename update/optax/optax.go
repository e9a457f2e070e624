// Package optax has the rules of optax under its names, with its defaults. Optax has no
// default learning rate: it is an argument.
package optax

import "github.com/lockstep-go/lockstep/update"

// SGD is optax.sgd without momentum.
func SGD(lr float64) update.SGD { return update.SGD{Options: update.Options{LR: lr}} }

// Momentum is optax.sgd with momentum: the learning rate is outside the buffer.
func Momentum(lr, momentum float64) update.Momentum {
	return update.Momentum{Options: update.Options{LR: lr}, Momentum: momentum}
}

// Adagrad is optax.adagrad: initial_accumulator_value .1, eps 1e-7 inside the root.
func Adagrad(lr float64) update.AdaGrad {
	return update.AdaGrad{Options: update.Options{LR: lr}, InitialAccumulator: .1, Eps: 1e-7, EpsInside: true}
}

// Adam is optax.adam: b1 .9, b2 .999, eps 1e-8, eps_root (EpsRoot) 0.
func Adam(lr float64) update.Adam {
	return update.Adam{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}

// AdamW is optax.adamw: Adam with a weight decay of .0001.
func AdamW(lr float64) update.Adam {
	r := Adam(lr)
	r.WeightDecay = 1e-4
	return r
}

// RMSprop is optax.rmsprop: decay (Rho) .9, eps 1e-8 inside the root.
func RMSprop(lr float64) update.RMSprop {
	return update.RMSprop{Options: update.Options{LR: lr}, Rho: .9, Eps: 1e-8, EpsInside: true, LRInside: true}
}

// Lion is optax.lion: b1 .9, b2 .99, weight decay .001.
func Lion(lr float64) update.Lion {
	return update.Lion{Options: update.Options{LR: lr, WeightDecay: 1e-3}, Beta1: .9, Beta2: .99}
}

// Lamb is optax.lamb: b1 .9, b2 .999, eps 1e-6, weight decay (Decay) 0.
func Lamb(lr float64) update.LAMB {
	return update.LAMB{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-6}
}

// AdaBelief is optax.adabelief: b1 .9, b2 .999, eps 1e-16, eps_root (EpsRoot) 1e-16.
func AdaBelief(lr float64) update.AdaBelief {
	return update.AdaBelief{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-16, EpsRoot: 1e-16}
}
