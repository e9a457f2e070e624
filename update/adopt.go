package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// ADOPT is Adam that divides each gradient by the root of those before it, and then takes
// the mean (Taniguchi et al. 2024): it converges with any β₂. The first step is there for
// v alone, and moves nothing.
//
//	u = clamp(g / max(√v, Eps), ±(t-1)^¼)        0 in the first step
//	m ← β₁·m + (1-β₁)·u
//	v ← β₂·v + (1-β₂)·g²                         g² in the first step
//	w ← w - lr·m
//
// Its state is "m" and "v", which begin at 0.
type ADOPT struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)

	// Eps is the least divisor. It may be 0 where AllowZeroEps says that no gradient is 0.
	Eps          float64
	AllowZeroEps bool

	// NoClipping leaves the quotient as it is, as the paper's first version did: Optax has
	// use_clipping for the opposite.
	NoClipping bool

	// Nesterov steps along β₁·m + (1-β₁)·u, as Optax' nesterov.
	Nesterov bool
}

// Name is "adopt".
func (ADOPT) Name() string { return "adopt" }

func (r ADOPT) check() error {
	return firstError(r.noProximal(), checkRates(r.Beta1, r.Beta2), checkEps(r.Eps, 1, r.AllowZeroEps, "AllowZeroEps"))
}

func (r ADOPT) plan() engine.Plan {
	_, flush := squareMasks(r.Options, r.Beta2, r.Eps)
	return engine.Plan{
		State:  []engine.Slot{{Name: "m", Fades: r.Beta1}, {Name: "v", Fades: r.Beta2, Square: true, Flushes: flush}},
		Passes: engine.One(kernels.ADOPT, r.scalars),
	}
}

func (r ADOPT) scalars(in *engine.StepInput) fallback.ADOPTScalars {
	small, _ := squareMasks(r.Options, r.Beta2, r.Eps)
	beta2, root := r.Beta2, math.Sqrt(1-r.Beta2)
	if in.T == 1 {
		beta2, root = 0, 1
	}
	direct, step := 0., in.LR
	if r.Nesterov {
		direct, step = in.LR*(1-r.Beta1), in.LR*r.Beta1
	}
	return fallback.ADOPTScalars{
		Common:  in.Common,
		Eps:     float32(r.Eps),
		Clip:    r.clip(in.T),
		Weight1: fallback.Weight(r.Beta1),
		Beta2:   float32(beta2),
		Root2:   float32(root),
		Small:   small,
		Direct:  float32(direct),
		Step:    float32(step),
	}
}

// clip is (t-1)^¼, or what clips no float32, but 0 in the first step.
func (r ADOPT) clip(t int64) float32 {
	if r.NoClipping && t > 1 {
		return math.MaxFloat32
	}
	return float32(math.Sqrt(math.Sqrt(float64(t - 1))))
}
