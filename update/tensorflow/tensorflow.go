// Package tensorflow has the rules of TensorFlow's raw training operations under their
// names. They have no defaults: all numbers are arguments.
package tensorflow

import "github.com/lockstep-go/lockstep/update"

// GradientDescent is ApplyGradientDescent.
func GradientDescent(lr float64) update.SGD { return update.SGD{Options: update.Options{LR: lr}} }

// Momentum is ApplyMomentum: the learning rate is outside the buffer.
func Momentum(lr, momentum float64) update.Momentum {
	return update.Momentum{Options: update.Options{LR: lr}, Momentum: momentum}
}

// KerasMomentum is ApplyKerasMomentum: the learning rate is inside the buffer, which
// TensorFlow stores with the opposite sign.
func KerasMomentum(lr, momentum float64) update.Momentum {
	return update.Momentum{Options: update.Options{LR: lr}, Momentum: momentum, LRInside: true}
}

// AdagradV2 is ApplyAdagradV2, with eps outside the root.
func AdagradV2(lr, initial, eps float64) update.AdaGrad {
	return update.AdaGrad{Options: update.Options{LR: lr}, InitialAccumulator: initial, Eps: eps}
}

// ProximalAdagrad is ApplyProximalAdagrad, which has no eps and so wants an initial
// accumulator above 0.
func ProximalAdagrad(lr, initial, l1, l2 float64) update.AdaGrad {
	return update.AdaGrad{Options: update.Options{LR: lr, L1: l1, L2: l2, Proximal: true}, InitialAccumulator: initial}
}

// Adam is ApplyAdam, with epsilon before the bias is corrected.
func Adam(lr, beta1, beta2, epsilon float64) update.Adam {
	return update.Adam{Options: update.Options{LR: lr}, Beta1: beta1, Beta2: beta2, Eps: epsilon, EpsHat: true}
}

// RMSProp is ApplyRMSProp, with epsilon inside the root and the learning rate inside the
// buffer.
func RMSProp(lr, rho, momentum, epsilon float64) update.RMSprop {
	return update.RMSprop{Options: update.Options{LR: lr}, Rho: rho, Momentum: momentum, Eps: epsilon, EpsInside: true, LRInside: true}
}

// CenteredRMSProp is ApplyCenteredRMSProp.
func CenteredRMSProp(lr, rho, momentum, epsilon float64) update.RMSprop {
	r := RMSProp(lr, rho, momentum, epsilon)
	r.Centered = true
	return r
}

// AdaMax is ApplyAdaMax, with epsilon in the divisor.
func AdaMax(lr, beta1, beta2, epsilon float64) update.Adamax {
	return update.Adamax{Options: update.Options{LR: lr}, Beta1: beta1, Beta2: beta2, Eps: epsilon}
}

// NesterovAdam is ApplyAdam with use_nesterov, which corrects the bias of both parts of a
// step alike.
func NesterovAdam(lr, beta1, beta2, epsilon float64) update.NAdam {
	return update.NAdam{Options: update.Options{LR: lr}, Beta1: beta1, Beta2: beta2, Eps: epsilon, EpsHat: true, ConstantMomentum: true, SameCorrection: true}
}

// Adadelta is ApplyAdadelta.
func Adadelta(lr, rho, epsilon float64) update.Adadelta {
	return update.Adadelta{Options: update.Options{LR: lr}, Rho: rho, Eps: epsilon}
}

// ProximalGradientDescent is ApplyProximalGradientDescent.
func ProximalGradientDescent(lr, l1, l2 float64) update.SGD {
	return update.SGD{Options: update.Options{LR: lr, L1: l1, L2: l2, Proximal: true}}
}

// Ftrl is ApplyFtrl with an lr_power of -.5. L2 is twice its l2.
func Ftrl(lr, initial, l1, l2 float64) update.FTRL {
	return update.FTRL{Options: update.Options{LR: lr, L1: l1, L2: 2 * l2, Proximal: true}, InitialAccumulator: initial}
}

// FtrlV2 is ApplyFtrlV2, which is Ftrl with an l2_shrinkage, of which L2Shrinkage is twice.
func FtrlV2(lr, initial, l1, l2, l2Shrinkage float64) update.FTRL {
	r := Ftrl(lr, initial, l1, l2)
	r.L2Shrinkage = 2 * l2Shrinkage
	return r
}

// AdagradDA is ApplyAdagradDA, whose global_step is the number of the step, from 1.
func AdagradDA(lr, initial, l1, l2 float64) update.AdaGradDA {
	return update.AdaGradDA{Options: update.Options{LR: lr, L1: l1, L2: l2, Proximal: true}, InitialAccumulator: initial}
}

// AddSign is ApplyAddSign with a sign_decay that stays.
func AddSign(lr, alpha, signDecay, beta float64) update.AddSign {
	return update.AddSign{Options: update.Options{LR: lr}, Beta: beta, Alpha: alpha, SignDecay: signDecay}
}

// PowerSign is ApplyPowerSign with a sign_decay that stays.
func PowerSign(lr, logBase, signDecay, beta float64) update.PowerSign {
	return update.PowerSign{Options: update.Options{LR: lr}, Beta: beta, LogBase: logBase, SignDecay: signDecay}
}
