// Package torch has the rules of torch.optim under its names, with its defaults. Change
// what differs: r := torch.AdamW(); r.LR = 3e-4. Where an option has another name here,
// the function says so.
package torch

import "github.com/lockstep-go/lockstep/update"

// SGD is torch.optim.SGD without momentum: lr .001. Its weight_decay is L2.
func SGD() update.SGD { return update.SGD{Options: update.Options{LR: 1e-3}} }

// Momentum is torch.optim.SGD with momentum: lr .001. Its weight_decay is L2.
func Momentum(momentum float64) update.Momentum {
	return update.Momentum{Options: update.Options{LR: 1e-3}, Momentum: momentum}
}

// Adagrad is torch.optim.Adagrad: lr .01, eps 1e-10. Its weight_decay is L2.
func Adagrad() update.AdaGrad {
	return update.AdaGrad{Options: update.Options{LR: 1e-2}, Eps: 1e-10}
}

// Adam is torch.optim.Adam: lr .001, betas .9 and .999, eps 1e-8. Its weight_decay is L2.
func Adam() update.Adam {
	return update.Adam{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}

// AdamW is torch.optim.AdamW: Adam with a weight decay of .01.
func AdamW() update.Adam {
	r := Adam()
	r.WeightDecay = 1e-2
	return r
}

// SparseAdam is torch.optim.SparseAdam: lr .001, betas .9 and .999, eps 1e-8 before the bias
// is corrected. It is for update.StepRows, which leaves rows without a gradient as they are.
func SparseAdam() update.Adam {
	r := Adam()
	r.EpsHat = true
	return r
}

// Muon is torch.optim.Muon: lr .001, weight_decay .1, momentum .95, nesterov, ns_coefficients
// (A, B, C), eps 1e-7 (EpsFloor), ns_steps 5 (Iterations). adjust_lr_fn is "original", which
// is Spectral; "match_rms_adamw" is RMS .2 in its place, "spectral_unclamped" Unclamped too.
// PyTorch computes in bfloat16 where we do in float32.
func Muon() update.Muon {
	return update.Muon{
		Options: update.Options{LR: 1e-3, WeightDecay: .1}, Momentum: .95, Nesterov: true,
		A: 3.4445, B: -4.775, C: 2.0315, Iterations: 5, EpsFloor: 1e-7, Spectral: true,
	}
}

// RMSprop is torch.optim.RMSprop: lr .01, alpha (Rho) .99, eps 1e-8. Its weight_decay is
// L2.
func RMSprop() update.RMSprop {
	return update.RMSprop{Options: update.Options{LR: 1e-2}, Rho: .99, Eps: 1e-8}
}

// Adamax is torch.optim.Adamax: lr .002, betas .9 and .999, eps 1e-8 inside the maximum.
// Its weight_decay is L2.
func Adamax() update.Adamax {
	return update.Adamax{Options: update.Options{LR: 2e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8, EpsInside: true}
}

// NAdam is torch.optim.NAdam: lr .002, betas .9 and .999, eps 1e-8, momentum_decay
// (MomentumDecay) .004. Its weight_decay is L2, or WeightDecay where it has
// decoupled_weight_decay.
func NAdam() update.NAdam {
	return update.NAdam{Options: update.Options{LR: 2e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8, MomentumDecay: 4e-3}
}

// RAdam is torch.optim.RAdam: lr .001, betas .9 and .999, eps 1e-8 before the bias is
// corrected. Its weight_decay is L2, or WeightDecay where it has decoupled_weight_decay.
func RAdam() update.RAdam {
	return update.RAdam{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: .999, Eps: 1e-8, EpsHat: true, Threshold: 5}
}

// Adadelta is torch.optim.Adadelta: lr 1, rho .9, eps 1e-6. Its weight_decay is L2.
func Adadelta() update.Adadelta {
	return update.Adadelta{Options: update.Options{LR: 1}, Rho: .9, Eps: 1e-6}
}

// Adafactor is torch.optim.Adafactor: lr .01 and with it 1/√t the most (RelativeStep),
// beta2_decay -.8 (minus DecayRate), eps 2⁻²³ and .001 (EpsFloor and EpsParam), d 1
// (ClipThreshold). Its weight_decay is WeightDecay.
func Adafactor() update.Adafactor {
	return update.Adafactor{Options: update.Options{LR: .01}, DecayRate: .8, EpsFloor: 0x1p-23, ClipThreshold: 1, EpsParam: 1e-3, RelativeStep: true}
}

// SGDScheduleFree is SGDScheduleFree of the package schedulefree by the authors of the
// method: lr 1, momentum .9, r (WeightPower) 0, weight_lr_power (WeightLRPower) 2. Its
// weight_decay is L2, its warmup_steps WarmupSteps.
func SGDScheduleFree() update.ScheduleFreeSGD {
	return update.ScheduleFreeSGD{Options: update.Options{LR: 1}, Momentum: .9, WeightLRPower: 2}
}

// AdamWScheduleFree is AdamWScheduleFree of the package schedulefree by the authors of the
// method: lr .0025, betas .9 and .999, eps 1e-8, weight_decay 0, r (WeightPower) 0,
// weight_lr_power (WeightLRPower) 2. Its warmup_steps are WarmupSteps.
func AdamWScheduleFree() update.ScheduleFreeAdamW {
	return update.ScheduleFreeAdamW{Options: update.Options{LR: .0025}, Beta1: .9, Beta2: .999, Eps: 1e-8, WeightLRPower: 2}
}

// RAdamScheduleFree is RAdamScheduleFree of the same package: lr .0025, betas .9 and .999
// (Beta1, Beta2), eps 1e-8 (Eps), weight_decay 0, r 0 (WeightPower), weight_lr_power 2,
// silent_sgd_phase True.
func RAdamScheduleFree() update.ScheduleFreeRAdam {
	return update.ScheduleFreeRAdam{Options: update.Options{LR: .0025}, Beta1: .9, Beta2: .999, Eps: 1e-8, SilentSGDPhase: true, WeightLRPower: 2}
}

// Rprop is torch.optim.Rprop: lr .01, where step sizes begin, etas .5 and 1.2, step_sizes
// (MinStep and MaxStep) 1e-6 and 50.
func Rprop() update.Rprop {
	return update.Rprop{Options: update.Options{LR: 1e-2}, EtaMinus: .5, EtaPlus: 1.2, MinStep: 1e-6, MaxStep: 50, ClampFirst: true}
}

// ASGD is torch.optim.ASGD: lr .01, lambd .0001, alpha .75, t0 1e6. Its weight_decay is L2.
func ASGD() update.ASGD {
	return update.ASGD{Options: update.Options{LR: 1e-2}, Lambda: 1e-4, Alpha: .75, T0: 1e6}
}

// Prodigy is Prodigy of the package prodigyopt by the authors of the method: lr 1, betas .9
// and .999, beta3 None (Beta3 0), eps 1e-8, d0 1e-6, d_coef 1, and weight_decay 0, which is
// decoupled (WeightDecay), growth_rate inf (GrowthRate 0), use_bias_correction False
// (NoBiasCorrection), safeguard_warmup False.
func Prodigy() update.Prodigy {
	return update.Prodigy{Options: update.Options{LR: 1}, Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-6, DCoef: 1, NoBiasCorrection: true}
}

// DAdaptAdam is DAdaptAdam of the package dadaptation by the authors of the method: lr 1, betas
// .9 and .999, eps 1e-8, d0 1e-6, growth_rate inf (GrowthRate 0), use_bias_correction False
// (NoBiasCorrection). Its weight_decay, 0, is L2, or with decouple WeightDecay; layer_scale of a
// group is LayerScale.
func DAdaptAdam() update.DAdaptAdamW {
	return update.DAdaptAdamW{Options: update.Options{LR: 1}, Beta1: .9, Beta2: .999, Eps: 1e-8, D0: 1e-6, NoBiasCorrection: true}
}
