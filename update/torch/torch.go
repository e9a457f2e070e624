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

// RMSprop is torch.optim.RMSprop: lr .01, alpha (Rho) .99, eps 1e-8. Its weight_decay is
// L2.
func RMSprop() update.RMSprop {
	return update.RMSprop{Options: update.Options{LR: 1e-2}, Rho: .99, Eps: 1e-8}
}
