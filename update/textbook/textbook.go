// Package textbook has rules as textbooks write them.
package textbook

import "github.com/lockstep-go/lockstep/update"

// SGD is gradient descent: w ← w - η·g.
func SGD(lr float64) update.SGD { return update.SGD{Options: update.Options{LR: lr}} }

// Momentum is a heavy ball with the learning rate inside the buffer: v ← γ·v + η·g,
// w ← w - v.
func Momentum(lr, gamma float64) update.Momentum {
	return update.Momentum{Options: update.Options{LR: lr}, Momentum: gamma, LRInside: true}
}

// AdaGrad has an eps of 1e-8 outside the root.
func AdaGrad(lr float64) update.AdaGrad {
	return update.AdaGrad{Options: update.Options{LR: lr}, Eps: 1e-8}
}

// Adam is Adam with the paper's defaults: betas .9 and .999, eps 1e-8.
func Adam(lr float64) update.Adam {
	return update.Adam{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}

// Adan is Adan with its authors' defaults: betas .98, .92 and .99, eps 1e-8.
func Adan(lr float64) update.Adan {
	return update.Adan{Options: update.Options{LR: lr}, Beta1: .98, Beta2: .92, Beta3: .99, Eps: 1e-8}
}

// LARS is LARS with the paper's trust coefficient of .001 and momentum of .9, the learning
// rate inside the buffer and a weight decay β, .0005 in its experiments.
func LARS(lr, beta float64) update.LARS {
	return update.LARS{Options: update.Options{LR: lr, L2: beta}, Momentum: .9, LRInside: true, Trust: 1e-3, SeparateNorms: true}
}

// StableAdamW is StableAdamW with its authors' defaults: betas .9 and .99, eps 1e-8, weight
// decay .2.
func StableAdamW(lr float64) update.StableAdamW {
	return update.StableAdamW{Options: update.Options{LR: lr, WeightDecay: .2}, Beta1: .9, Beta2: .99, Eps: 1e-8}
}

// LaProp is LaProp with its authors' defaults: betas .9 and .999, eps 1e-15.
func LaProp(lr float64) update.LaProp {
	return update.LaProp{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-15}
}

// CautiousAdamW is C-AdamW of Liang et al. 2024: AdamW that moves nothing where the mean of
// gradients has not the sign of the gradient, beta1 .9, beta2 .999, eps 1e-6, and no weight
// decay, as in their program; KeepSubnormals has the smallest numbers counted. For cautious weight
// decay (Chen et al. 2025) set CautiousDecay.
func CautiousAdamW(lr float64) update.Adam {
	return update.Adam{Options: update.Options{LR: lr, CautiousUpdate: true, KeepSubnormals: true}, Beta1: .9, Beta2: .999, Eps: 1e-6}
}

// CautiousLion is C-Lion of Liang et al. 2024: Lion that moves nothing where its direction
// has not the sign of the gradient, beta1 .9, beta2 .99.
func CautiousLion(lr float64) update.Lion {
	return update.Lion{Options: update.Options{LR: lr, CautiousUpdate: true}, Beta1: .9, Beta2: .99}
}

// NovoGrad is NovoGrad with the paper's defaults: betas .95 and .98, eps 1e-8.
func NovoGrad(lr float64) update.NovoGrad {
	return update.NovoGrad{Options: update.Options{LR: lr}, Beta1: .95, Beta2: .98, Eps: 1e-8}
}

// SophiaG is Sophia as its authors' program is for estimates that are squares of gradients:
// betas .965 and .99, rho .04, weight decay .1, and an eps of 1e-15,
// which they add where here it is the least divisor. batch is the number of examples, or
// tokens, of which a gradient is the mean.
func SophiaG(lr, batch float64) update.Sophia {
	return update.Sophia{Options: update.Options{LR: lr, WeightDecay: .1}, Beta1: .965, Beta2: .99, Gamma: .04 * batch, Eps: 1e-15, Clip: 1}
}

// NorMuon is NorMuon as its authors' program has it (Li et al. 2025): Muon of matrices of
// weights output × input, beta (Momentum) .95, Nesterov, ns_steps 5 (Iterations), beta2 .95,
// and no weight decay; the Eps of its norm is 1e-7, EpsRow 1e-10. In the paper ρ·X has the root
// mean square .2 instead: that is RMS .2 with ExactRMS, without Spectral. Other tensors are
// AdamW's, with a rule of their own.
func NorMuon(lr float64) update.Muon {
	return update.Muon{
		Options: update.Options{LR: lr}, Momentum: .95, Nesterov: true, A: 3.4445, B: -4.775, C: 2.0315, Iterations: 5,
		Eps: 1e-7, Spectral: true, Beta2: .95, EpsRow: 1e-10,
	}
}

// SOAP is SOAP with the defaults of its authors' program (Vyas et al. 2024): lr .003, betas .95
// and .95, shampoo_beta -1, which is the second of these, eps 1e-8, weight_decay .01,
// precondition_frequency 10, max_precond_dim 10000. Tensors of more than two dimensions are the
// caller's to make matrices of, as its merge_dims does; its precondition_1d is a vector as a
// matrix of one column.
func SOAP() update.SOAP {
	return update.SOAP{
		Options: update.Options{LR: .003, WeightDecay: .01}, Beta1: .95, Beta2: .95, ShampooBeta: .95, Eps: 1e-8,
		PreconditionFrequency: 10, MaxPrecondDim: 10000,
	}
}

// RowwiseAdaGrad is FBGEMM's exact row-wise AdaGrad with its default eps of 1e-8.
func RowwiseAdaGrad(lr float64) update.RowwiseAdaGrad {
	return update.RowwiseAdaGrad{Options: update.Options{LR: lr}, Eps: 1e-8}
}

// RowwiseAdam is FBGEMM's partial row-wise Adam with its defaults: betas .9 and .999, eps 1e-8.
func RowwiseAdam(lr float64) update.RowwiseAdam {
	return update.RowwiseAdam{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}

// RowwiseLAMB is FBGEMM's partial row-wise LAMB with its defaults: betas .9 and .999, eps 1e-8,
// no weight decay (Decay).
func RowwiseLAMB(lr float64) update.RowwiseLAMB {
	return update.RowwiseLAMB{Options: update.Options{LR: lr}, Beta1: .9, Beta2: .999, Eps: 1e-8}
}
