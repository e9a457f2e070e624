package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// RowwiseAdaGrad is AdaGrad with one accumulator for each row of a matrix, of the mean of its
// gradient's squares: what large embedding tables are trained with, whose state would be as
// large as they are (FBGEMM's exact row-wise AdaGrad; Mudigere et al. 2022). It is for
// matrices, mostly in steps on some of their rows; a vector is one row.
//
//	a ← a + mean(g²) of the row
//	w ← w - lr · g / (√a + Eps)
//
// g is the gradient with L2's term, as where FBGEMM's weight decay is L2; WeightDecay is its
// decoupled one. Its state is "accumulator", a, a number for each row. The mean, the root and
// the quotient are float64, rounded once.
type RowwiseAdaGrad struct {
	Options
	InitialAccumulator float64 // where a begins

	// Eps keeps the divisor from 0. It may be 0 where InitialAccumulator is not.
	Eps float64
}

// Name is "rowwise adagrad".
func (RowwiseAdaGrad) Name() string { return "rowwise adagrad" }

func (r RowwiseAdaGrad) check() error {
	return firstError(r.noProximal(), r.noCaution(),
		notNegative("InitialAccumulator", r.InitialAccumulator),
		checkEps(r.Eps, 1, float32(r.InitialAccumulator) > 0, "an InitialAccumulator above 0"))
}

func (r RowwiseAdaGrad) checkOwnRate(arg string, lr float64) error {
	return checkStep(arg, lr, math.Sqrt(r.InitialAccumulator)+r.Eps, "the least divisor")
}

func (r RowwiseAdaGrad) plan() engine.Plan {
	return engine.Plan{
		State:  []engine.Slot{{Name: "accumulator", Extent: engine.PerRow, First: engine.Constant(r.InitialAccumulator), Fades: 1, Square: true}},
		Passes: []engine.Pass{engine.MeanByRow(kernels.SGD, 1, 1, r.shared, (*rowwiseStep).sgd)},
	}
}

// A rowwiseStep is what the rows of a step share.
type rowwiseStep struct {
	common      fallback.Common
	step, eps   float64
	beta, input float32 // of m: what it keeps, and what it takes of the gradient
}

func (r RowwiseAdaGrad) shared(in *engine.StepInput) rowwiseStep {
	return rowwiseStep{common: in.Common, step: in.LR, eps: r.Eps}
}

// rate is the learning rate of a row.
func (s *rowwiseStep) rate(square float64) float32 {
	return float32(s.step / (math.Sqrt(square) + float64(s.eps)))
}

func (s *rowwiseStep) sgd(a float64) fallback.SGDScalars {
	return fallback.SGDScalars{Common: s.common, Step: s.rate(a)}
}

func (s *rowwiseStep) momentum(v float64) fallback.MomentumScalars {
	return fallback.MomentumScalars{Common: s.common, Beta: s.beta, Input: s.input, Step: s.rate(v)}
}

func (s *rowwiseStep) trust(v float64) fallback.MuonScalars {
	return fallback.MuonScalars{Scale: 1, Weight1: s.input, Ahead: s.rate(v)}
}

// RowwiseAdam is Adam with one v for each row of a matrix, of the mean of its gradient's
// squares, while m has a number for each element (FBGEMM's partial row-wise Adam): its state is
// half as large. It is for matrices, mostly in steps on some of their rows, where c₁ = 1-β₁ᵗ
// and c₂ = 1-β₂ᵗ go by the steps of the matrix; a vector is one row.
//
//	m ← β₁·m + (1-β₁)·g
//	v ← β₂·v + (1-β₂)·mean(g²) of the row
//	w ← w - lr/c₁ · m / (√(v/c₂) + Eps)
//
// g is the gradient with L2's term; WeightDecay is decoupled, as in FBGEMM. Its state is "v", a
// number for each row, and "m", which begin at 0. The mean, the root and the quotient are
// float64, rounded once.
type RowwiseAdam struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)
	Eps          float64 // keeps the divisor from 0
}

// Name is "rowwise adam".
func (RowwiseAdam) Name() string { return "rowwise adam" }

func (r RowwiseAdam) check() error {
	return firstError(r.noProximal(), r.noCaution(), checkRates(r.Beta1, r.Beta2), checkEps(r.Eps, 1, false, "larger"))
}

func (r RowwiseAdam) checkOwnRate(arg string, lr float64) error {
	return firstError(checkFirst(arg, lr, r.Beta1, false), checkStep(arg, lr/(1-r.Beta1), r.Eps, "Eps"))
}

func (r RowwiseAdam) plan() engine.Plan {
	s := rowwiseAdam{r, newPower(r.Beta1), newPower(r.Beta2)}
	return engine.Plan{
		State:  []engine.Slot{{Name: "v", Extent: engine.PerRow, Fades: r.Beta2, Square: true}, {Name: "m", Fades: r.Beta1}},
		Passes: []engine.Pass{engine.MeanByRow(kernels.Momentum, r.Beta2, 1-r.Beta2, s.shared, (*rowwiseStep).momentum)},
	}
}

// A rowwiseAdam makes what rows share.
type rowwiseAdam struct {
	RowwiseAdam
	power1, power2 power
}

func (s *rowwiseAdam) shared(in *engine.StepInput) rowwiseStep {
	eps, step := folded(s.power2.oneMinus(in.T), s.Eps, in.LR)
	return rowwiseStep{in.Common, step / s.power1.oneMinus(in.T), eps, float32(s.Beta1), float32(1 - s.Beta1)}
}

// RowwiseLAMB is LAMB of the rows of a matrix, each with a trust ratio and a v of its own
// (FBGEMM's partial row-wise LAMB): steps are as long as rows are. It is for matrices, mostly in
// steps on some of their rows, where c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ go by the steps of the matrix; a
// vector is one row.
//
//	m ← β₁·m + (1-β₁)·g
//	v ← β₂·v + (1-β₂)·mean(g²) of the row
//	u = m/c₁ / (√(v/c₂) + Eps) + Decay·w
//	w ← w - lr·‖w‖/‖u‖·u of the row
//
// The ratio is 1 where a norm is 0; in FBGEMM a row of zeros stays, and one without a direction
// becomes NaN. Where Decay is 0 it cancels v and Eps: steps are along m, and lr times the row's
// length. g is the gradient with L2's term. Its state is "v", a number for each row, and
// "m", which begin at 0. The mean, the root, the quotients and the norms are float64, rounded
// once. KeepSubnormals is always set, as in LAMB.
type RowwiseLAMB struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)
	Eps          float64 // keeps the divisor from 0

	// Decay is FBGEMM's weight decay, inside of what the trust ratio scales. WeightDecay, apart
	// from it, must be 0.
	Decay float64
}

// Name is "rowwise lamb".
func (RowwiseLAMB) Name() string { return "rowwise lamb" }

func (r RowwiseLAMB) check() error {
	if r.WeightDecay != 0 {
		return &ArgError{"WeightDecay", r.WeightDecay, "0: LAMB's is Decay"}
	}
	return firstError(r.noProximal(), r.noCaution(), checkRates(r.Beta1, r.Beta2), notNegative("Decay", r.Decay),
		checkEps(r.Eps, 1, false, "larger"), r.checkFactor())
}

// checkFactor refuses an Eps by which a mean of gradients is divided to more than a float32.
func (r RowwiseLAMB) checkFactor() error {
	if 1/(1-r.Beta1)/r.Eps > math.MaxFloat32 {
		return &ArgError{"Eps", r.Eps, "one that divides 1/(1 - Beta1) to a float32"}
	}
	return nil
}

func (r RowwiseLAMB) options() Options {
	o := r.Options
	o.KeepSubnormals = true
	return o
}

func (r RowwiseLAMB) plan() engine.Plan {
	s := rowwiseLAMB{r, newPower(r.Beta1), newPower(r.Beta2)}
	return engine.Plan{
		State:  []engine.Slot{{Name: "v", Extent: engine.PerRow, Fades: r.Beta2, Square: true}, {Name: "m", Fades: r.Beta1}},
		Passes: []engine.Pass{engine.TrustByRow(r.Beta2, 1-r.Beta2, r.Decay, s.shared, (*rowwiseStep).trust)},
	}
}

// A rowwiseLAMB makes what rows share.
type rowwiseLAMB struct {
	RowwiseLAMB
	power1, power2 power
}

func (s *rowwiseLAMB) shared(in *engine.StepInput) rowwiseStep {
	eps, step := folded(s.power2.oneMinus(in.T), s.Eps, 1)
	return rowwiseStep{common: in.Common, step: step / s.power1.oneMinus(in.T), eps: eps, input: fallback.Weight(s.Beta1)}
}
