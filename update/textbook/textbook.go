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
