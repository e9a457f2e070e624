package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// SGD is gradient descent, w ← w - lr·g. Batch, mini-batch and stochastic
// descent differ in what the gradient is a mean of, which is the caller's.
type SGD struct {
	Options
}

// Name is "sgd".
func (SGD) Name() string { return "sgd" }

func (r SGD) check() error     { return r.Options.check() }
func (SGD) slots() []slot      { return nil }
func (SGD) kept() float64      { return 1 }
func (r SGD) takes() bool      { return !r.Proximal && r.L1 == 0 }
func (r SGD) stepper() stepper { return new(sgd) }

type sgd struct{ c fallback.SGDScalars }

func (s *sgd) prepare(h hyper) {
	decay := float32(h.decay - float64(h.lr*h.l2))
	s.c = fallback.SGDScalars{
		Decay:  decay,
		Step:   float32(h.lr * h.scale),
		Lasts:  h.lasts(decay),
		Counts: h.small,
	}
}

func (s *sgd) run(k *kernels.Table, p, g []float32, _ state) { k.SGD(p, g, &s.c) }

func (s *sgd) many(k *kernels.Table, list *kernels.List) { k.SGDMany(list, &s.c) }
