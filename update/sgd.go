package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// SGD is gradient descent, w ← w - lr·g. Batch, mini-batch and stochastic
// descent differ in what the gradient is a mean of, which is the caller's.
type SGD struct {
	Options
}

// Name is "sgd".
func (SGD) Name() string { return "sgd" }

func (r SGD) check() error { return r.noCautiousUpdate() }

func (r SGD) plan() engine.Plan {
	return engine.Plan{Passes: engine.One(kernels.SGD, r.scalars)}
}

func (SGD) scalars(in *engine.StepInput) fallback.SGDScalars {
	return fallback.SGDScalars{Common: in.Common, Step: float32(in.LR)}
}
