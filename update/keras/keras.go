// Package keras has the rules of keras.optimizers under its names, with its defaults.
// The weight_decay of every one of them is WeightDecay, but for Lamb and
// ScheduleFreeAdamW.
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

// Adamax is keras.optimizers.Adamax: learning_rate .001, betas .9 and .999, epsilon 1e-7
// in the divisor.
func Adamax() update.Adamax {
	return update.Adamax{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-7}
}

// Nadam is keras.optimizers.Nadam: learning_rate .001, betas .9 and .999, epsilon 1e-7,
// and 1 for what PyTorch calls momentum_decay.
func Nadam() update.NAdam {
	return update.NAdam{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-7, MomentumDecay: 1}
}

// Adadelta is keras.optimizers.Adadelta: learning_rate .001, rho .95, epsilon 1e-7.
func Adadelta() update.Adadelta {
	return update.Adadelta{Options: update.Options{LR: 1e-3}, Rho: .95, Eps: 1e-7}
}

// Adafactor is keras.optimizers.Adafactor: learning_rate .001 and with it 1/√t the most,
// whatever its relative_step says, beta_2_decay -.8 (minus DecayRate), epsilon_1 1e-30
// (EpsSquare), epsilon_2 .001 (EpsParam), clip_threshold 1. Keras also keeps the whole v of
// a matrix, which follows from its rows and columns.
func Adafactor() update.Adafactor {
	return update.Adafactor{Options: update.Options{LR: 1e-3}, DecayRate: .8, EpsSquare: 1e-30, ClipThreshold: 1, EpsParam: 1e-3, DecayedScale: true, RelativeStep: true}
}

// ScheduleFreeAdamW is keras.optimizers.ScheduleFreeAdamW: learning_rate .0025, betas .9 and
// .999, epsilon 1e-8, warmup_steps 0, and a mean of which all steps have equal parts. Its
// weight_decay, which Keras takes off the parameters alone, is not there.
func ScheduleFreeAdamW() update.ScheduleFreeAdamW {
	return update.ScheduleFreeAdamW{Options: update.Options{LR: .0025}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}

// Ftrl is keras.optimizers.Ftrl: learning_rate .001, initial_accumulator_value .1, and 0 for
// beta (Eps), l1_regularization_strength (L1), l2_regularization_strength (half of L2) and
// l2_shrinkage_regularization_strength (half of L2Shrinkage). learning_rate_power is -.5,
// its default; a weight_decay, which Keras takes off before the step, is not there.
func Ftrl() update.FTRL {
	return update.FTRL{Options: update.Options{LR: 1e-3, Proximal: true}, InitialAccumulator: .1}
}

// Muon is keras.optimizers.Muon, of the variables that take its step: learning_rate .001,
// weight_decay .004, momentum .95, nesterov, muon_a, muon_b and muon_c (A, B, C), ns_steps 5
// (Iterations), rms_rate .2 (RMS). The others are AdamW's, with a rule of their own. Keras
// has the sum of gradients for their mean, 1/(1-momentum) times as large, and adds 1e-7 to
// its norm: Eps is 1e-7·(1-momentum).
func Muon() update.Muon {
	return update.Muon{
		Options: update.Options{LR: 1e-3, WeightDecay: .004}, Momentum: .95, Nesterov: true,
		A: 3.4445, B: -4.775, C: 2.0315, Iterations: 5, Eps: 5e-9, RMS: .2,
	}
}
