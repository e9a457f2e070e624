package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// ScheduleFreeSGD is gradient descent whose parameters are averaged instead of its learning
// rate scheduled (Defazio et al. 2024). Point z takes the steps, x is the mean of all z, and
// gradients are of y between them, which is what the parameters are while they train. Eval
// of an optimizer makes them x.
//
//	y = (1-β)·z + β·x                      β = Momentum
//	z ← z - γ·g(y)                         γ = lr · min(1, t/WarmupSteps)
//	x ← (1-c)·x + c·z                      c = wₜ / (w₁ + ... + wₜ)
//	wₜ = t^WeightPower · min(1, t/WarmupSteps)^WeightLRPower
//
// Weights follow the warm-up as those of the authors' package follow the learning rate:
// they are the same as there with a rate that is constant or falls. A rate that a schedule
// lets rise changes no weight here: warm up with WarmupSteps. c depends on t alone, and so
// no sum of weights is state.
//
// Its state is "behind", y - z, which begins at 0: that is a momentum, (1-c)(behind + γ·β·g),
// with steps of γ(1-β)·g + c/(1-c)·behind. The authors' weight decay is L2. WeightDecay,
// apart from the gradient, must be 0.
type ScheduleFreeSGD struct {
	Options
	Momentum float64 // β, in (0, 1 - 3e-8)

	// WarmupSteps is the number of steps in which the rate rises in proportion to t.
	WarmupSteps float64

	// WarmupFromZero is Optax' warm-up: the rate of a step is that of the step before it,
	// beginning with 0, while weights are as they are.
	WarmupFromZero bool

	// WeightPower and WeightLRPower are the powers of t and of the warm-up in the weights,
	// at most 8: r and weight_lr_power of the authors' package. With 0 and 0 all weigh the same.
	WeightPower, WeightLRPower float64
}

// Name is "schedule-free sgd".
func (ScheduleFreeSGD) Name() string { return "schedule-free sgd" }

func (r ScheduleFreeSGD) check() error {
	if r.WeightDecay != 0 {
		return &ArgError{"WeightDecay", r.WeightDecay, "0: that of Schedule-Free SGD is L2"}
	}
	return firstError(r.noProximal(), r.noCaution(), checkPosition("Momentum", r.Momentum),
		checkWeights(r.WarmupSteps, r.WeightPower, r.WeightLRPower))
}

func (r ScheduleFreeSGD) plan() engine.Plan {
	s := scheduleFreeSGD{r, newWeighting(r.WarmupSteps, r.WarmupFromZero, r.WeightPower, r.WeightLRPower)}
	return engine.Plan{
		State:  []engine.Slot{{Name: "behind", Fades: 1}},
		Passes: engine.One(kernels.Nesterov, s.scalars),
		Mean:   toMean(r.Momentum),
	}
}

// A scheduleFreeSGD makes the scalars.
type scheduleFreeSGD struct {
	ScheduleFreeSGD
	weighting weighting
}

func (s *scheduleFreeSGD) scalars(in *engine.StepInput) fallback.NesterovScalars {
	lr := in.LR * s.weighting.warmup(in.T)
	rest, direct, mix := s.weighting.factors(in.T, s.Momentum)
	return fallback.NesterovScalars{
		Common: in.Common,
		Beta:   float32(rest),
		Input:  float32(lr * s.Momentum * rest),
		Direct: float32(lr * direct),
		Step:   float32(mix),
	}
}

// ScheduleFreeAdamW is ScheduleFreeSGD with the steps of Adam without a mean of gradients
// (Defazio et al. 2024). c₂ = 1-β₂ᵗ.
//
//	y = (1-β₁)·z + β₁·x
//	v ← β₂·v + (1-β₂)·g²
//	u = g / (√(v/c₂) + Eps) + WeightDecay·y
//	z ← z - γ·u                            γ = lr · min(1, t/WarmupSteps)
//	x ← (1-c)·x + c·z                      c as there
//
// Its state is "behind", y - z, and "v", which begin at 0.
type ScheduleFreeAdamW struct {
	Options
	Beta1 float64 // in (0, 1 - 3e-8)
	Beta2 float64 // in [0, 1 - 3e-8); as that of Adam

	// Eps keeps the divisor from 0. It may be 0 where AllowZeroEps says that no gradient is
	// 0 from the first step on.
	Eps          float64
	AllowZeroEps bool

	WarmupSteps                float64 // as those of ScheduleFreeSGD
	WarmupFromZero             bool
	WeightPower, WeightLRPower float64
}

// Name is "schedule-free adamw".
func (ScheduleFreeAdamW) Name() string { return "schedule-free adamw" }

func (r ScheduleFreeAdamW) check() error {
	return firstError(r.noProximal(), r.noCaution(), checkPosition("Beta1", r.Beta1),
		decayRate("Beta2", r.Beta2),
		checkEps(r.Eps, leastRoot(r.Beta2, false), r.AllowZeroEps, "AllowZeroEps"),
		checkWeights(r.WarmupSteps, r.WeightPower, r.WeightLRPower))
}

func (r ScheduleFreeAdamW) plan() engine.Plan {
	s := scheduleFreeAdamW{r, newMoments(r.Options, 0, r.Beta2, r.Eps, false),
		newWeighting(r.WarmupSteps, r.WarmupFromZero, r.WeightPower, r.WeightLRPower)}
	return engine.Plan{
		State:  []engine.Slot{{Name: "behind", Fades: 1}, {Name: "v", Fades: r.Beta2, Square: true, Flushes: s.flush}},
		Passes: engine.One(kernels.ScheduleFreeAdamW, s.scalars),
		Mean:   toMean(r.Beta1),
	}
}

// A scheduleFreeAdamW makes the scalars.
type scheduleFreeAdamW struct {
	ScheduleFreeAdamW
	moments
	weighting weighting
}

func (s *scheduleFreeAdamW) scalars(in *engine.StepInput) fallback.ScheduleFreeAdamWScalars {
	warmup := s.weighting.warmup(in.T)
	rest, direct, mix := s.weighting.factors(in.T, s.Beta1)
	eps, step := s.step(in.T, s.Eps, in.LR*warmup)
	common := in.Common
	common.Decay = float32(in.LR * warmup * s.WeightDecay)
	return fallback.ScheduleFreeAdamWScalars{
		Common: common,
		Beta2:  float32(s.Beta2),
		Root2:  s.root2,
		Small:  s.small,
		Eps:    eps,
		Step:   step,
		Rest:   float32(rest),
		Input:  float32(s.Beta1 * rest),
		Direct: float32(direct),
		Mix:    float32(mix),
	}
}

// checkPosition refuses parameters that are where the steps are taken, which say nothing of
// the mean.
func checkPosition(arg string, beta float64) error {
	if !(beta > 0 && float32(beta) < 1) {
		return &ArgError{arg, beta, "a number above 0 and below 1 - 3e-8, which float32 tells from 1"}
	}
	return nil
}

// checkWeights refuses what is no warm-up and no power.
func checkWeights(steps, power, lrPower float64) error {
	if !(steps >= 0 && steps < wholeNumbers) {
		return &ArgError{"WarmupSteps", steps, "a number from 0 to below 2⁵²"}
	}
	return firstError(checkWeightPower("WeightPower", power), checkWeightPower("WeightLRPower", lrPower))
}

func checkWeightPower(arg string, x float64) error {
	if !(x >= 0 && x <= 8) {
		return &ArgError{arg, x, "a number from 0 to 8"}
	}
	return nil
}

// toMean is the factor of y - z that y lacks to x, but for a billionth part, without which
// many a sum would be halfway between two numbers, from where it does not come back.
func toMean(beta float64) float64 { return (1 - beta) / beta * (1 - 0x1p-30) }

// A weighting is the weights of a mean, wₜ, of which those in the warm-up are powers of t
// too, but for a factor.
type weighting struct {
	steps  float64 // of the warm-up
	last   float64 // whole number of these
	late   float64 // 1 if rates are those of the step before
	rising powerSum
	steady powerSum
	lacks  float64 // what is added to weights of the warm-up as if they were later ones, over the last of these
}

func newWeighting(steps float64, fromZero bool, power, lrPower float64) weighting {
	a := weighting{steps: steps, last: wholePart(steps), rising: newPowerSum(power + lrPower), steady: newPowerSum(power)}
	if fromZero {
		a.late = 1
	}
	if a.last > 0 {
		a.lacks = float64(a.rising.of(a.last)*ratioPower(a.last/steps, lrPower)) - a.steady.of(a.last)
	}
	return a
}

// wholeNumbers is where float64 begins to have whole numbers alone.
const wholeNumbers = 1 << 52

// wholePart is x ≥ 0 without its fraction.
func wholePart(x float64) float64 {
	nearest := (x + wholeNumbers) - wholeNumbers
	if nearest > x {
		return nearest - 1
	}
	return nearest
}

// warmup is the learning rate's factor at step t.
func (a *weighting) warmup(t int64) float64 {
	if x := float64(t) - a.late; x < a.steps {
		return x / a.steps
	}
	return 1
}

// before is the sum of the weights before step t, over that of the step.
func (a *weighting) before(t int64) float64 {
	x := float64(t)
	if x <= a.steps {
		return a.rising.of(x) - 1
	}
	return float64(a.lacks*ratioPower(a.last/x, a.steady.power)) + a.steady.of(x) - 1
}

// factors are those of a mean at step t.
func (a *weighting) factors(t int64, beta float64) (rest, direct, mix float64) {
	return meanFactors(a.before(t), beta)
}

// meanFactors are 1-c; the step's factor beside what behind has of it, 1-β; and behind's,
// c/(1-c), of the weights before a step over the step's own. Where c is 1 nothing is left
// behind, and the step is whole.
func meanFactors(before, beta float64) (rest, direct, mix float64) {
	if before == 0 {
		return 0, 1, 0
	}
	return before / (before + 1), 1 - beta, 1 / before
}

// A powerSum is sums of the first powers of numbers, (1/x)^p + (2/x)^p + ... + 1, each by
// itself: of the first ones term by term, and of others by the formula of Euler and
// Maclaurin from there.
type powerSum struct{ power, rest float64 }

const summedTerms = 64

func newPowerSum(power float64) powerSum {
	s := powerSum{power: power}
	s.rest = s.terms(summedTerms) - s.tail(summedTerms)
	return s
}

// of is the sum up to a whole number x.
func (s *powerSum) of(x float64) float64 {
	switch {
	case s.power == 0:
		return x
	case x <= summedTerms:
		return s.terms(x)
	}
	return float64(s.rest*ratioPower(summedTerms/x, s.power)) + s.tail(x)
}

func (s *powerSum) terms(x float64) float64 {
	sum, at := 0., 0.
	for at < x {
		at++
		sum += ratioPower(at/x, s.power)
	}
	return sum
}

// tail is the formula's but for a constant over x^p.
func (s *powerSum) tail(x float64) float64 {
	p := s.power
	third := float64(p*(p-1)*(p-2)) / float64(x*x)
	fifth := float64(third*(p-3)*(p-4)) / float64(x*x)
	return x/(p+1) + .5 + (float64(p/12)-float64(third/720)+float64(fifth/30240))/x
}

// ratioPower is x^p for x in [0, 1] and p ≥ 0, of operations alone that have the same bits
// everywhere.
func ratioPower(x, p float64) float64 {
	switch {
	case p == 0 || x == 1:
		return 1
	case x == 0:
		return 0
	}
	return exponential(p / inverseLog(x))
}
