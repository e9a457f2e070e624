package main

import (
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

// methods are the optimizers for a problem. AdamW is not among them: its decay
// moves the minimum, and without it it is Adam.
func methods(p *problem) []method {
	switch p.model {
	case loss.Squared:
		return all(4000, 1e-7, rates{sgd: .2, momentum: .1, nesterov: .1, adaGrad: 30, adam: 10}, constant, decay(1e-3))
	case loss.Logistic:
		list := all(8000, 1e-6, rates{sgd: 2, momentum: .5, nesterov: .5, adaGrad: 1, adam: .1}, constant, decay(1e-4))
		return append(list,
			method{name: "SGD, mini-batch", rule: sgd(.3), batch: 32, epochs: 4000, schedule: decay(1e-3), tolerance: 1e-5},
			method{name: "SGD, stochastic", rule: sgd(.03), batch: 1, epochs: 1000, schedule: decay(1e-2), tolerance: 1e-5},
		)
	}
	return all(40000, 1e-4, rates{sgd: 1, momentum: .1, nesterov: .1, adaGrad: 1, adam: .02}, decay(1e-5), decay(1e-5))
}

type rates struct{ sgd, momentum, nesterov, adaGrad, adam float64 }

func sgd(lr float64) update.SGD {
	return textbook.SGD(lr)
}

// all is every optimizer with the whole data as its batch. Adam, whose steps do
// not shrink with the gradient, has a schedule of its own.
func all(epochs int, tolerance float64, lr rates, plain, adam schedule) []method {
	outside := torch.Momentum(.9)
	outside.LR = lr.momentum
	nesterov := torch.Momentum(.9)
	nesterov.LR, nesterov.Nesterov = lr.nesterov, true
	amsGrad := textbook.Adam(lr.adam)
	amsGrad.AMSGrad = true
	var list []method
	for _, m := range []struct {
		name string
		rule update.Rule
		schedule
	}{
		{"SGD", sgd(lr.sgd), plain},
		{"Momentum, lr outside", outside, plain},
		{"Momentum, lr inside", textbook.Momentum(lr.momentum, .9), plain},
		{"Nesterov", nesterov, plain},
		{"AdaGrad", textbook.AdaGrad(lr.adaGrad), plain},
		{"Adam", textbook.Adam(lr.adam), adam},
		{"AMSGrad", amsGrad, adam},
	} {
		list = append(list, method{name: m.name, rule: m.rule, epochs: epochs, schedule: m.schedule, tolerance: tolerance})
	}
	return list
}
