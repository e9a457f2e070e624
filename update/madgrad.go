package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// MADGRAD is dual averaging with a momentum, which divides sums of gradients by the cube root
// of that of squares (Defazio, Jelassi 2021). w₀ are the parameters before the first step.
//
//	λ = (lr + Eps)·√t
//	s ← s + λ·g
//	a ← a + λ·g²
//	w ← Momentum·w + (1-Momentum)·(w₀ - s/(∛a + Eps))
//
// Its state is "s", "grad_sum_sq", which begin at 0, and "x0", which begins as the parameters.
// A learning rate that falls is that of the gradients of the time: old ones keep theirs.
// WeightDecay is taken off once a step, and as w is drawn to where the sums put it, that is
// what remains.
type MADGRAD struct {
	Options
	Momentum float64 // in [0, 1 - 3e-8)

	// Eps is added to the root, and to the learning rate, as the authors do. It may be 0
	// where AllowZeroEps says that no gradient is 0 in the first step.
	Eps          float64
	AllowZeroEps bool
}

// Name is "madgrad".
func (MADGRAD) Name() string { return "madgrad" }

func (r MADGRAD) check() error {
	return firstError(r.noProximal(), r.noCaution(), decayRate("Momentum", r.Momentum), checkEps(r.Eps, 1, r.AllowZeroEps, "AllowZeroEps"))
}

// checkOwnRate refuses a λ that is no float32 in the last step that can be counted.
func (r MADGRAD) checkOwnRate(arg string, lr float64) error {
	return checkProduct(arg, lr+r.Eps, "√t for the largest t", 1<<32)
}

func (r MADGRAD) plan() engine.Plan {
	return engine.Plan{
		State:  []engine.Slot{{Name: "s", Fades: 1}, {Name: "grad_sum_sq", Fades: 1, Square: true}, {Name: "x0", First: engine.Params, Fades: 1}},
		Passes: engine.One(kernels.MADGRAD, r.scalars),
	}
}

func (r MADGRAD) scalars(in *engine.StepInput) fallback.MADGRADScalars {
	lambda := (in.LR + r.Eps) * math.Sqrt(float64(in.T))
	return fallback.MADGRADScalars{Common: in.Common, Root: float32(math.Sqrt(lambda)), Small: r.small(), Lambda: float32(lambda),
		Eps: float32(r.Eps), Weight: float32(1 - r.Momentum)}
}

// small are the gradients, times √λ, whose squares do not count: the cube root of all that
// they could add up to is nothing beside Eps.
func (r MADGRAD) small() fallback.Mask {
	if r.KeepSubnormals || r.Eps < 1e-8 {
		return 0
	}
	return fallback.DropSquare
}
