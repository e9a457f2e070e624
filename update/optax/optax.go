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

// Lars is optax.lars: weight_decay (L2) 0, trust_coefficient (Trust) .001, eps (TrustEps)
// 0, momentum .9.
func Lars(lr float64) update.LARS {
	return update.LARS{Options: update.Options{LR: lr}, Momentum: .9, LRInside: true, Trust: 1e-3}
}

// Novograd is optax.novograd: b1 .9, b2 .25, eps 1e-6, eps_root (EpsRoot) 0, and a
// weight_decay (Decay) of 0.
func Novograd(lr float64) update.NovoGrad {
	return update.NovoGrad{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .25, Eps: 1e-6}
}

// AdaBelief is optax.adabelief: b1 .9, b2 .999, eps 1e-16, eps_root (EpsRoot) 1e-16.
func AdaBelief(lr float64) update.AdaBelief {
	return update.AdaBelief{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-16, EpsRoot: 1e-16}
}

// Adamax is optax.adamax: b1 .9, b2 .999, eps 1e-8 inside the maximum.
func Adamax(lr float64) update.Adamax {
	return update.Adamax{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8, EpsInside: true}
}

// AdamaxW is optax.adamaxw: Adamax with a weight decay of .0001.
func AdamaxW(lr float64) update.Adamax {
	r := Adamax(lr)
	r.WeightDecay = 1e-4
	return r
}

// NAdam is optax.nadam, which is adam with nesterov: b1 .9, b2 .999, eps 1e-8, eps_root
// (EpsRoot) 0, and b1 for the momentum of all steps.
func NAdam(lr float64) update.NAdam {
	return update.NAdam{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8, ConstantMomentum: true}
}

// NAdamW is optax.nadamw: NAdam with a weight decay of .0001.
func NAdamW(lr float64) update.NAdam {
	r := NAdam(lr)
	r.WeightDecay = 1e-4
	return r
}

// RAdam is optax.radam: b1 .9, b2 .999, eps 1e-8, eps_root (EpsRoot) 0, threshold 5.
func RAdam(lr float64) update.RAdam {
	return update.RAdam{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8, Threshold: 5}
}

// Adadelta is optax.adadelta: rho .9, eps 1e-6, and a weight_decay of 0.
func Adadelta(lr float64) update.Adadelta {
	return update.Adadelta{Options: update.Options{LR: lr}, Rho: .9, Eps: 1e-6}
}

// Yogi is optax.yogi: b1 .9, b2 .999, eps .001, with m and v that begin at 1e-6
// (InitialAccumulator).
func Yogi(lr float64) update.Yogi {
	return update.Yogi{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-3, InitialAccumulator: 1e-6}
}

// AMSGrad is optax.amsgrad: b1 .9, b2 .999, eps 1e-8, and the largest of the corrected v.
func AMSGrad(lr float64) update.Adam {
	r := Adam(lr)
	r.AMSGrad, r.CorrectedMax = true, true
	return r
}

// ADOPT is optax.contrib.adopt: b1 .9, b2 .9999, eps 1e-6, with clipping.
func ADOPT(lr float64) update.ADOPT {
	return update.ADOPT{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .9999, Eps: 1e-6}
}

// AdEMAMix is optax.contrib.ademamix: b1 .9, b2 .999, b3 .9999, alpha 5, eps 1e-8. Where
// b3 and alpha are schedules there, here are WarmupBeta3 and WarmupAlpha.
func AdEMAMix(lr float64) update.AdEMAMix {
	return update.AdEMAMix{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Beta3: .9999, Alpha: 5, Eps: 1e-8}
}

// SimplifiedAdEMAMix is optax.contrib.simplified_ademamix: b1 .99, b2 .95, alpha 0, eps
// 1e-8.
func SimplifiedAdEMAMix(lr float64) update.SimplifiedAdEMAMix {
	return update.SimplifiedAdEMAMix{Options: update.Options{LR: lr}, Beta1: .99, Beta2: .95, Eps: 1e-8}
}

// Adan is optax.adan: b1 .98, b2 .92, b3 .99, eps 1e-8, eps_root (EpsRoot) 1e-8.
func Adan(lr float64) update.Adan {
	return update.Adan{Options: update.Options{LR: lr}, Beta1: .98, Beta2: .92, Beta3: .99, OptaxAhead: true, Eps: 1e-8, EpsRoot: 1e-8}
}

// Adafactor is optax.adafactor: min_dim_size_to_factor 128 (MinDim), decay_rate .8,
// multiply_by_parameter_scale with its 1e-3 (EpsParam), clipping_threshold 1, eps 1e-30
// (EpsSquare). Its weight_decay_rate is Decay, and without a learning_rate there it is 1.
// Optax takes the longer dimension of a matrix for the columns.
func Adafactor(lr float64) update.Adafactor {
	return update.Adafactor{Options: update.Options{LR: lr}, DecayRate: .8, EpsSquare: 1e-30, ClipThreshold: 1, EpsParam: 1e-3, MinDim: 128}
}

// ScheduleFreeSGD is optax.contrib.schedule_free_sgd: learning_rate 1, b1 (Momentum) .9,
// weight_lr_power 2. Its weight_decay is L2, its warmup_steps WarmupSteps.
func ScheduleFreeSGD() update.ScheduleFreeSGD {
	return update.ScheduleFreeSGD{Options: update.Options{LR: 1}, Momentum: .9, WarmupFromZero: true, WeightLRPower: 2}
}

// ScheduleFreeAdamW is optax.contrib.schedule_free_adamw: learning_rate .0025, b1 .9, b2
// .999, eps 1e-8, weight_decay 0, weight_lr_power 2. Its warmup_steps are WarmupSteps.
func ScheduleFreeAdamW() update.ScheduleFreeAdamW {
	return update.ScheduleFreeAdamW{Options: update.Options{LR: .0025}, Beta1: .9, Beta2: .999, Eps: 1e-8, WarmupFromZero: true, WeightLRPower: 2}
}

// Rprop is optax.rprop: eta_minus .5, eta_plus 1.2, min_step_size 1e-6, max_step_size 50.
// The learning rate is where step sizes begin, and each step what the gradient before said.
func Rprop(lr float64) update.Rprop {
	return update.Rprop{Options: update.Options{LR: lr}, EtaMinus: .5, EtaPlus: 1.2, MinStep: 1e-6, MaxStep: 50, OptaxLate: true}
}

// SignSGD is optax.sign_sgd.
func SignSGD(lr float64) update.SignSGD {
	return update.SignSGD{Options: update.Options{LR: lr}}
}

// Signum is optax.signum: beta (Momentum) .9.
func Signum(lr float64) update.SignSGD {
	return update.SignSGD{Options: update.Options{LR: lr}, Momentum: .9}
}

// Muon is optax.contrib.muon, of the parameters that are matrices: ns_coeffs (A, B, C),
// ns_steps 5 (Iterations), beta .95 (Momentum), nesterov, eps 1e-8. The others are Adam's,
// with a rule of their own. Steps are as long as Spectral and Transposed say; consistent_rms
// is RMS in their place. adaptive is Adaptive, and ns_coeffs "dion" is Dion; no other list of
// coefficients by iteration is there. preconditioning "spectral" is SpectralNorm, "schatten"
// and "aol" are SchattenNorm and AOL with an EpsFloor of 1e-4 and an Eps of 0, since Optax has
// its eps aside there and takes 1e-8 for the least square of a norm. Tensors of more dimensions
// are the caller's to reshape, as muon_weight_dimension_numbers says.
func Muon(lr float64) update.Muon {
	return update.Muon{
		Options: update.Options{LR: lr}, Momentum: .95, Nesterov: true, BiasCorrection: true,
		A: 3.4445, B: -4.775, C: 2.0315, Iterations: 5, Eps: 1e-8, Spectral: true, Transposed: true,
	}
}

// Prodigy is optax.contrib.prodigy: learning_rate 1, betas .9 and .999, beta3 None (Beta3 0),
// eps 1e-8, estim_lr0 (D0) 1e-6, estim_lr_coef (DCoef) 1, weight_decay 0, safeguard_warmup
// False.
func Prodigy() update.Prodigy {
	return update.Prodigy{Options: update.Options{LR: 1}, Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-6, DCoef: 1}
}

// DAdaptAdamW is optax.contrib.dadapt_adamw: learning_rate 1, betas .9 and .999, eps 1e-8,
// estim_lr0 (D0) 1e-6, weight_decay 0.
func DAdaptAdamW() update.DAdaptAdamW {
	return update.DAdaptAdamW{Options: update.Options{LR: 1}, Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-6}
}

// Sophia is optax.contrib.sophia: b1 .965, b2 .99, eps 1e-8, weight decay .0001, gamma
// .01, clip_threshold (Clip) 1. It updates its Hessian every ten steps: see
// update.Optimizer.UpdateHessian.
func Sophia(lr float64) update.Sophia {
	return update.Sophia{Options: update.Options{LR: lr, WeightDecay: 1e-4}, Beta1: .965, Beta2: .99, Gamma: .01, Eps: 1e-8, Clip: 1, BiasCorrected: true}
}

// MADGRAD is optax.contrib.madgrad: momentum .9, eps 1e-6, and a weight_decay of 0, which is
// L2.
func MADGRAD(lr float64) update.MADGRAD {
	return update.MADGRAD{Options: update.Options{LR: lr}, Momentum: .9, Eps: 1e-6}
}
