package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// ScheduleFreeRAdam is ScheduleFreeAdamW with the steps of RAdam, rectified, in place of a
// warm-up (the authors' RAdamScheduleFree). ρ∞, ρ and r are those of RAdam, c₂ = 1-β₂ᵗ.
//
//	y = (1-β₁)·z + β₁·x
//	v ← β₂·v + (1-β₂)·g²
//	u = g / (√(v/c₂) + Eps) + WeightDecay·y    γ = lr·r        where ρ > 4
//	u = g + WeightDecay·y                      γ = lr, or 0 with SilentSGDPhase, before
//	z ← z - γ·u
//	x ← (1-c)·x + c·z                          c = wₜ / (w₁ + ... + wₜ)
//	wₜ = t^WeightPower · (the greatest γ so far / lr)^WeightLRPower
//
// Weights are those of the authors' package with a rate that is constant: one that a
// schedule changes changes no weight here. c depends on t alone.
//
// Its state is "behind", y - z, and "v", which begin at 0.
type ScheduleFreeRAdam struct {
	Options
	Beta1 float64 // in (0, 1 - 3e-8)

	// Beta2 is in [0, 1 - 3e-8), as that of RAdam; with SilentSGDPhase above .6, up to which
	// ρ is at most 4 for ever, and at most .99999.
	Beta2 float64

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no gradient is
	// 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	// SilentSGDPhase leaves parameters as they are where ρ ≤ 4, in the first steps: 4 of
	// them for a Beta2 of .999.
	SilentSGDPhase bool

	WeightPower, WeightLRPower float64 // as those of ScheduleFreeSGD
}

// Name is "schedule-free radam".
func (ScheduleFreeRAdam) Name() string { return "schedule-free radam" }

func (r ScheduleFreeRAdam) check() error {
	return firstError(r.noProximal(), r.noCaution(), checkPosition("Beta1", r.Beta1),
		decayRate("Beta2", r.Beta2), r.checkSilent(),
		checkEps(r.Eps, leastRoot(r.Beta2, false), r.AllowZeroEps, "AllowZeroEps"),
		checkWeights(0, r.WeightPower, r.WeightLRPower))
}

// checkSilent refuses a phase without an end, and one after which weights rise for ever.
func (r ScheduleFreeRAdam) checkSilent() error {
	if r.SilentSGDPhase && !(2/(1-r.Beta2)-1 > 4 && r.Beta2 <= mostRising) {
		return &ArgError{"Beta2", r.Beta2, "above .6, with which parameters move, and at most .99999 with SilentSGDPhase"}
	}
	return nil
}

func (r ScheduleFreeRAdam) plan() engine.Plan {
	s := scheduleFreeRAdam{r, newMoments(r.Options, 0, r.Beta2, r.Eps, false),
		newRectifiedWeights(r.Beta2, r.WeightPower, r.WeightLRPower, r.SilentSGDPhase)}
	return engine.Plan{
		State:  []engine.Slot{{Name: "behind", Fades: 1}, {Name: "v", Fades: r.Beta2, Square: true, Flushes: s.flush}},
		Passes: engine.One(kernels.ScheduleFreeRAdam, s.scalars),
		Mean:   toMean(r.Beta1),
	}
}

// A scheduleFreeRAdam makes the scalars.
type scheduleFreeRAdam struct {
	ScheduleFreeRAdam
	moments
	weights rectifiedWeights
}

func (s *scheduleFreeRAdam) scalars(in *engine.StepInput) fallback.ScheduleFreeRAdamScalars {
	eps, adapts := float32(0), float32(0)
	lr := in.LR * s.weights.rate(in.T)
	step := float32(lr)
	if s.weights.rectifies(in.T) {
		eps, step = s.step(in.T, s.Eps, lr)
		adapts = 1
	}
	rest, direct, mix := s.weights.factors(in.T, s.Beta1)
	common := in.Common
	common.Decay = float32(lr * s.WeightDecay)
	return fallback.ScheduleFreeRAdamScalars{
		Common: common,
		Beta2:  float32(s.Beta2),
		Root2:  s.root2,
		Small:  s.small,
		Eps:    eps,
		Step:   step,
		Adapts: adapts,
		Rest:   float32(rest),
		Input:  float32(s.Beta1 * rest),
		Direct: float32(direct),
		Mix:    float32(mix),
	}
}

// rectifiedWeights are the weights of a mean that follow r, or with the rate of a phase
// before, which is the greatest of all, do not. Until r is 1 those that do are added up in
// order from the first one, so that sums depend on t alone; from there on sums are those of
// a weighting without a warm-up, and what these lack.
type rectifiedWeights struct {
	rectification  rectification
	power, lrPower float64
	rises          bool // weights follow r
	silent         bool
	steady         powerSum

	stride int               // the power of 2 of whose multiples sums are kept
	sums   [keptSums]float64 // up to each of these
	known  int64             // how many of them are there, beside the first, which is 0
	at     int64             // the step up to which sum is
	sum    float64
	met    bool    // lacks is known
	lacks  float64 // what the sum has beyond a steady one when r is 1, over the weight there
}

// keptSums is how many sums are kept, from which tensors that have missed steps go on: the
// first weights are at most that part of them away.
const keptSums = 64

// rising is how many times 1/(1-β₂) steps it takes until β₂ᵗ is lost beside 1, and r is 1.
const rising = 38

// mostRising is the greatest Beta2 for which weights are added up: to some millions of steps.
const mostRising = .99999

func newRectifiedWeights(beta2, power, lrPower float64, silent bool) rectifiedWeights {
	w := rectifiedWeights{rectification: newRectification(beta2), power: power, lrPower: lrPower,
		rises: silent && lrPower > 0, silent: silent, steady: newPowerSum(power)}
	for float64(int64(keptSums)<<w.stride) < rising/(1-beta2) {
		w.stride++
	}
	return w
}

// rectifies reports whether step t is divided by the root.
func (w *rectifiedWeights) rectifies(t int64) bool { return w.rectification.length(t) > 4 }

// rate is the learning rate's factor at step t.
func (w *rectifiedWeights) rate(t int64) float64 {
	switch {
	case w.rectifies(t):
		return math.Sqrt(w.rectification.square(w.rectification.length(t)))
	case w.silent:
		return 0
	}
	return 1
}

// factors are those of a weighting. While nothing moves, nothing is behind.
func (w *rectifiedWeights) factors(t int64, beta float64) (rest, direct, mix float64) {
	if w.silent && !w.rectifies(t) {
		return 1, 0, 0
	}
	return meanFactors(w.before(t), beta)
}

// before is the sum of the weights before step t, over that of the step. Rates only rise,
// from 0 or from the 1 that is the greatest of all.
func (w *rectifiedWeights) before(t int64) float64 {
	x, last := float64(t), int64(keptSums)<<w.stride
	if !w.rises {
		return w.steady.of(x) - 1
	}
	if t < last {
		sum := w.upTo(t)
		return sum/w.weight(t) - 1
	}
	if !w.met { // r is 1, and with it the weight, but for its power
		sum := w.upTo(last)
		w.lacks = sum/w.weight(last) - w.steady.of(float64(last))
		w.met = true
	}
	return float64(w.lacks*ratioPower(float64(last)/x, w.power)) + w.steady.of(x) - 1
}

// upTo is the sum of the weights up to step t.
func (w *rectifiedWeights) upTo(t int64) float64 {
	kept := t >> w.stride
	if kept > w.known {
		kept = w.known
	}
	if w.at > t || w.at < kept<<w.stride {
		w.at = kept << w.stride
		w.sum = w.sums[kept]
	}
	for w.at < t {
		w.at++
		w.sum += w.weight(w.at)
		if k := w.known + 1; w.at == k<<w.stride && k < keptSums {
			w.known = k
			w.sums[k] = w.sum
		}
	}
	return w.sum
}

// weight is that of step t.
func (w *rectifiedWeights) weight(t int64) float64 {
	rho := w.rectification.length(t)
	if !(rho > 4) {
		return 0
	}
	x := w.rectification.square(rho)
	if w.lrPower != 2 {
		x = ratioPower(min(1, x), w.lrPower/2)
	}
	if w.power != 0 {
		x = float64(x * powerOf(float64(t), w.power))
	}
	return x
}
