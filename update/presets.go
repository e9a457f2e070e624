package update

// PyTorchSGD is torch.optim.SGD with its defaults.
func PyTorchSGD() SGD { return SGD{Options{LR: 1e-3}} }

// PyTorchMomentum is torch.optim.SGD with momentum: the learning rate is
// outside the buffer.
func PyTorchMomentum(momentum float64) Momentum {
	return Momentum{Options: Options{LR: 1e-3}, Momentum: momentum}
}

// PyTorchAdagrad is torch.optim.Adagrad with its defaults.
func PyTorchAdagrad() AdaGrad { return AdaGrad{Options: Options{LR: 1e-2}, Eps: 1e-10} }

// PyTorchAdam is torch.optim.Adam with its defaults. Its weight_decay is L2.
func PyTorchAdam() Adam {
	return Adam{Options: Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}

// PyTorchAdamW is torch.optim.AdamW with its defaults.
func PyTorchAdamW() Adam {
	r := PyTorchAdam()
	r.WeightDecay = 1e-2
	return r
}

// KerasSGD is keras.optimizers.SGD with its defaults. The weight_decay of every
// Keras optimizer is WeightDecay.
func KerasSGD() SGD { return SGD{Options{LR: .01}} }

// KerasMomentum is keras.optimizers.SGD with momentum, and TensorFlow's
// ApplyKerasMomentum: the learning rate is inside the buffer. Keras stores the
// buffer with the opposite sign.
func KerasMomentum(momentum float64) Momentum {
	return Momentum{Options: Options{LR: .01}, Momentum: momentum, LRInside: true}
}

// KerasAdagrad is keras.optimizers.Adagrad with its defaults.
func KerasAdagrad() AdaGrad {
	return AdaGrad{Options: Options{LR: 1e-3}, InitialAccumulator: .1, Eps: 1e-7, EpsInside: true}
}

// KerasAdam is keras.optimizers.Adam with its defaults, and TensorFlow's
// ApplyAdam.
func KerasAdam() Adam {
	return Adam{Options: Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-7, EpsHat: true}
}

// KerasAdamW is keras.optimizers.AdamW with its defaults.
func KerasAdamW() Adam {
	r := KerasAdam()
	r.WeightDecay = .004
	return r
}

// TensorFlowMomentum is TensorFlow's ApplyMomentum: the learning rate is
// outside the buffer.
func TensorFlowMomentum(lr, momentum float64) Momentum {
	return Momentum{Options: Options{LR: lr}, Momentum: momentum}
}

// TensorFlowAdagrad is TensorFlow's ApplyAdagradV2, with eps outside the root.
func TensorFlowAdagrad(lr, initial, eps float64) AdaGrad {
	return AdaGrad{Options: Options{LR: lr}, InitialAccumulator: initial, Eps: eps}
}

// TensorFlowProximalAdagrad is TensorFlow's ApplyProximalAdagrad, which has no
// eps and so wants an initial accumulator above 0.
func TensorFlowProximalAdagrad(lr, initial, l1, l2 float64) AdaGrad {
	return AdaGrad{Options: Options{LR: lr, L1: l1, L2: l2, Proximal: true}, InitialAccumulator: initial}
}

// TextMomentum is the textbook's momentum, with the learning rate inside the
// buffer: v ← γ·v + η·g, w ← w - v.
func TextMomentum(lr, gamma float64) Momentum {
	return Momentum{Options: Options{LR: lr}, Momentum: gamma, LRInside: true}
}

// TextAdaGrad is AdaGrad with an eps of 1e-8 outside the root.
func TextAdaGrad(lr float64) AdaGrad { return AdaGrad{Options: Options{LR: lr}, Eps: 1e-8} }

// TextAdam is Adam with the paper's defaults.
func TextAdam(lr float64) Adam {
	r := PyTorchAdam()
	r.LR = lr
	return r
}
