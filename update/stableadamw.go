package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// StableAdamW is AdamW with the update clipping of Adafactor: the step of a tensor whose
// gradient has outgrown its mean of squares, in the root of the mean over elements, is
// shorter by as much (Wortsman et al. 2023). c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias.
//
//	m, v as in Adam
//	RMS = √(mean of g²/max(v/c₂, Eps²))
//	w ← w - lr/max(1, RMS) · (m/c₁ / (√(v/c₂) + Eps) + WeightDecay·w)
//
// The paper corrects the bias in β₁ and β₂, which is the same. Its state is "m" and "v",
// which begin at 0. A step takes two passes, the second by a mean over the whole tensor,
// and so none by ranges (Apply).
type StableAdamW struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8); as those of Adam

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no gradient is
	// 0 from the first step on.
	Eps          float64
	AllowZeroEps bool
}

// Name is "stable adamw".
func (StableAdamW) Name() string { return "stable adamw" }

func (r StableAdamW) check() error {
	return firstError(r.noProximal(), r.noCaution(), checkRates(r.Beta1, r.Beta2),
		checkEps(r.Eps, leastRoot(r.Beta2, false), r.AllowZeroEps, "AllowZeroEps"))
}

func (r StableAdamW) plan() engine.Plan {
	s := stableAdamW{r, newMoments(r.Options, r.Beta1, r.Beta2, r.Eps, false)}
	return engine.Plan{State: s.slots("v"), Passes: []engine.Pass{
		engine.Summing(engine.OverTensor, stableMoments, s.scalars),
		engine.Elements(kernels.LAMBMove, s.move, engine.ParamsName, "m", "v"),
	}}
}

// stableMoments is the first pass, whose sum is that of g²/v.
func stableMoments(t kernels.Table, list *kernels.List, c *fallback.StableAdamWScalars, sums *engine.Sums) {
	kernels.StableAdamW(t, list, c, &sums[0])
}

// A stableAdamW makes the scalars of both passes.
type stableAdamW struct {
	StableAdamW
	moments
}

func (s *stableAdamW) scalars(in *engine.StepInput) fallback.StableAdamWScalars {
	eps, _ := s.step(in.T, s.Eps, 1)
	return fallback.StableAdamWScalars{Common: in.Common, Weight1: s.weight1, Beta2: float32(s.Beta2), Root2: s.root2, Small: s.small, Eps: eps}
}

func (s *stableAdamW) move(in *engine.StepInput) fallback.LAMBMoveScalars {
	_, c2 := s.corrections(in.T)
	rms := math.Sqrt(c2 * in.Sums[0] / float64(in.Elements))
	eps, step := s.step(in.T, s.Eps, 1)
	common := in.Common
	common.Decay = float32(s.WeightDecay)
	return fallback.LAMBMoveScalars{Common: common, Eps: eps, Step: step, Rate: float32(in.LR / max(1, rms))}
}
