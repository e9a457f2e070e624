package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// Adafactor is a mean of squares whose decay rate goes to 1, and which of a matrix keeps a
// number for each row r and each column c alone (Shazeer, Stern 2018). A matrix is a Tensor
// with Columns; a vector has the whole v. RMS is the root of the mean of squares.
//
//	α = t^-DecayRate
//	r ← r + α·(mean of g² + EpsSquare over the row - r)        of a matrix
//	c ← c + α·(mean of g² + EpsSquare over the column - c)
//	v = r·c / max(mean of r, EpsFloor)
//	v ← v + α·(g² + EpsSquare - v)                             of a vector
//	u = g / max(√v, EpsFloor)
//	ρ = lr, or with RelativeStep min(lr, 1/√t)
//	s = ρ·max(RMS(w), EpsParam) / max(1, RMS(u)/ClipThreshold)
//	w ← w - (s·u + (lr·WeightDecay + Decay)·w)
//
// Its state of a matrix is "row_var" and "col_var", 4 bytes for each row and each column, of
// a vector "variance", 4 bytes a parameter, and with Momentum "momentum" of both; all begin
// at 0. A step takes several passes, which read and write 24 bytes a parameter (28 of a
// vector, 8 more with Momentum), with sums over whole tensors between them, and so none by
// ranges (Apply). Optax' decay_offset is what SetSteps does.
type Adafactor struct {
	Options

	// DecayRate is minus PyTorch's beta2_decay: the larger, the sooner squares are forgotten.
	DecayRate float64

	// EpsSquare is added to each square, as Keras and Optax do. With EpsFloor a tensor's numbers
	// are divided by that at least, as in PyTorch.
	EpsSquare float64
	EpsFloor  float64

	// ClipThreshold is the largest RMS of u, 0 for any.
	ClipThreshold float64

	// EpsParam is the least that RMS(w) counts as, so that zeros can begin to move.
	// NoParamScale takes 1 for it, as Optax without multiply_by_parameter_scale.
	EpsParam     float64
	NoParamScale bool

	// DecayedScale takes for RMS(w) that of the parameters once they have decayed, as Keras
	// does.
	DecayedScale bool

	RelativeStep bool

	// MinDim is the least number of rows and columns of a matrix that is factored: others
	// are vectors to it. It is Optax' min_dim_size_to_factor.
	MinDim float64

	// Momentum in [0, 1 - 3e-8) is the decay rate of a running mean of the steps s·u, which
	// are taken in their place; 0 is for none.
	Momentum float64

	// Decay is a weight decay apart from the learning rate, as Optax' weight_decay_rate.
	Decay float64
}

// Name is "adafactor", with "momentum" after a comma if there is some.
func (r Adafactor) Name() string {
	if r.Momentum > 0 {
		return "adafactor, momentum"
	}
	return "adafactor"
}

func (r Adafactor) check() error {
	return firstError(r.noProximal(), r.noCaution(), r.noPenalties(),
		notNegative("DecayRate", r.DecayRate),
		notNegative("EpsSquare", r.EpsSquare),
		notNegative("EpsFloor", r.EpsFloor),
		notNegative("ClipThreshold", r.ClipThreshold),
		notNegative("EpsParam", r.EpsParam),
		notNegative("MinDim", r.MinDim),
		decayRate("Momentum", r.Momentum),
		notNegative("Decay", r.Decay))
}

// noPenalties refuses what no framework's Adafactor has.
func (r Adafactor) noPenalties() error {
	if r.L1 != 0 {
		return &ArgError{"L1", r.L1, "0: Adafactor has no L1"}
	}
	if r.L2 != 0 {
		return &ArgError{"L2", r.L2, "0: Adafactor has WeightDecay and Decay"}
	}
	return nil
}

// factors reports whether a matrix is factored.
func (r Adafactor) factors(rows, columns int) bool {
	return float64(rows) >= r.MinDim && float64(columns) >= r.MinDim
}

// plan is that of vectors.
func (r Adafactor) plan() engine.Plan {
	s := adafactor{r}
	plan := engine.Plan{
		State: []engine.Slot{{Name: "variance", Fades: .5, Square: true}}, // in the second step, and more later
		Passes: []engine.Pass{
			engine.Summing(engine.OverTensor, adafactorMoments, s.scalars, engine.ParamsName, engine.GradsName, "variance"),
			engine.Elements(kernels.AdafactorMove, s.move, engine.ParamsName, engine.GradsName, "variance"),
		},
	}
	if r.Momentum > 0 {
		plan.State = append(plan.State, engine.Slot{Name: "momentum", Fades: r.Momentum})
		plan.Passes = []engine.Pass{
			engine.Summing(engine.OverTensor, adafactorMoments, s.scalars, engine.ParamsName, engine.GradsName, "variance"),
			engine.Elements(kernels.AdafactorMomentum, s.momentumMove, engine.ParamsName, engine.GradsName, "momentum", "variance"),
		}
	}
	return plan
}

// adafactorMoments is the first pass, whose sums are the squares of u and of the parameters.
func adafactorMoments(t kernels.Table, list *kernels.List, c *fallback.AdafactorScalars, sums *engine.Sums) {
	kernels.Adafactor(t, list, c, &sums[0], &sums[1])
}

// An adafactor makes the scalars.
type adafactor struct{ Adafactor }

// weight is α.
func (s *adafactor) weight(t int64) float64 {
	if t == 1 {
		return 1
	}
	return exponential(s.DecayRate / inverseLog(1/float64(t)))
}

func (s *adafactor) scalars(in *engine.StepInput) fallback.AdafactorScalars {
	weight := s.weight(in.T)
	return fallback.AdafactorScalars{
		Common: in.Common,
		Beta2:  float32(1 - weight),
		Root2:  float32(math.Sqrt(weight)),
		Small:  s.small(weight),
		Added:  float32(weight * s.EpsSquare),
		Least:  float32(s.least()),
	}
}

// small is the mask of squares, times a factor, that do not count because they would be
// subnormal, which is invisible beside either eps.
func (s *adafactor) small(factor float64) fallback.Mask {
	const invisible = .015 * .015
	visible := invisible * max(float64(s.EpsFloor*s.EpsFloor), s.EpsSquare)
	if s.KeepSubnormals || !(0x1p-126 <= factor*visible) {
		return 0
	}
	return fallback.DropSquare
}

// least is the least divisor: above 0, so that 0 is divided by something.
func (s *adafactor) least() float64 { return max(s.EpsFloor, 0x1p-126) }

func (s *adafactor) move(in *engine.StepInput) fallback.AdafactorMoveScalars {
	return fallback.AdafactorMoveScalars{Common: s.decaying(in), Least: float32(s.least()), Step: s.step(in)}
}

func (s *adafactor) momentumMove(in *engine.StepInput) fallback.AdafactorMomentumScalars {
	return fallback.AdafactorMomentumScalars{Common: s.decaying(in), Least: float32(s.least()), Step: s.step(in), Weight1: fallback.Weight(s.Momentum)}
}

// decaying are the scalars that steps share, with both decays.
func (s *adafactor) decaying(in *engine.StepInput) fallback.Common {
	common := in.Common
	common.Decay = float32(float64(in.LR*s.WeightDecay) + s.Decay)
	return common
}

// step is what u is multiplied by.
func (s *adafactor) step(in *engine.StepInput) float32 {
	rate, n := in.LR, float64(in.Elements)
	if s.RelativeStep {
		rate = min(rate, 1/math.Sqrt(float64(in.T)))
	}
	if !s.NoParamScale {
		size := math.Sqrt(in.Sums[1] / n)
		if s.DecayedScale {
			size *= math.Abs(1 - float64(in.LR*s.WeightDecay))
		}
		rate *= max(size, s.EpsParam)
	}
	if s.ClipThreshold > 0 {
		rate /= max(1, math.Sqrt(in.Sums[0]/n)/s.ClipThreshold)
	}
	return float32(min(rate, math.MaxFloat32))
}

// factoredPlan is that of matrices: sums of squares by row and column, what follows from
// them, the length of u, and the step.
func (r Adafactor) factoredPlan() engine.Plan {
	s := adafactor{r}
	plan := engine.Plan{
		State: []engine.Slot{
			{Name: "row_var", Extent: engine.PerRow, Fades: .5, Square: true},
			{Name: "col_var", Extent: engine.PerColumn, Fades: .5, Square: true},
		},
		Passes: []engine.Pass{
			engine.ByRows(engine.ByColumn, adafactorSquares, s.squares),
			engine.Whole(engine.NoSums, adafactorFactors, s.factorScalars),
			engine.ByRows(engine.OverTensor, adafactorLength, s.length),
			engine.ByRows(engine.NoSums, adafactorMove, s.factoredMove),
		},
	}
	if r.Momentum > 0 {
		plan.State = append(plan.State, engine.Slot{Name: "momentum", Fades: r.Momentum})
		plan.Passes = []engine.Pass{
			engine.ByRows(engine.ByColumn, adafactorSquares, s.squares),
			engine.Whole(engine.NoSums, adafactorFactors, s.factorScalars),
			engine.ByRows(engine.OverTensor, adafactorLength, s.length),
			engine.ByRows(engine.NoSums, adafactorMomentum, s.factoredMomentum),
		}
	}
	plan.State = append(plan.State,
		engine.Slot{Name: "row", Extent: engine.PerRow, Scratch: true},
		engine.Slot{Name: "column", Extent: engine.PerColumn, Scratch: true})
	return plan
}

// A factoredState is a matrix' state, and the factors of its rows and columns, which are
// sums of squares first.
type factoredState struct{ rowVar, colVar, row, column []float32 }

func stateOf(m *engine.Matrix) factoredState {
	n := len(m.State)
	return factoredState{m.State[0], m.State[1], m.State[n-2], m.State[n-1]}
}

// root is a factor of gradients that keeps sums of tune.FactorPiece of their squares finite
// as long as each is. It would lose the smallest that KeepSubnormals keeps.
func (s *adafactor) root() float64 {
	if s.KeepSubnormals {
		return 1
	}
	return 0x1p-7
}

func (s *adafactor) squares(in *engine.StepInput) fallback.AdafactorSquaresScalars {
	root := s.root()
	return fallback.AdafactorSquaresScalars{Scale: in.Scale, Root: float32(root), Small: s.small(float64(root * root))}
}

// adafactorSquares leaves sums of squares, by row in place of its factor.
func adafactorSquares(t kernels.Table, m *engine.Matrix, c *fallback.AdafactorSquaresScalars) {
	row := stateOf(m).row
	if m.Columns <= tune.FactorPiece {
		kernels.AdafactorSquares(t, row, m.Grads, m.Room, c)
		return
	}
	for i := range m.Rows {
		longSquares(t, row[i:i+1], m.Grads[i*m.Columns:][:m.Columns], m.Room, c)
	}
}

// longSquares is for a row that is added up in pieces: its sum is what one of
// tune.FactorPiece columns with the same mean would have.
func longSquares(t kernels.Table, row, g, column []float32, c *fallback.AdafactorSquaresScalars) {
	sum := 0.
	for at := 0; at < len(g); at += tune.FactorPiece {
		end := min(at+tune.FactorPiece, len(g))
		kernels.AdafactorSquares(t, row, g[at:end], column[at:end], c)
		sum += float64(row[0])
	}
	row[0] = float32(float64(sum*tune.FactorPiece) / float64(len(g)))
}

func (s *adafactor) factorScalars(in *engine.StepInput) fallback.AdafactorFactorsScalars {
	root := s.root()
	return fallback.AdafactorFactorsScalars{Weight: s.weight(in.T), EpsSquare: s.EpsSquare, EpsFloor: s.EpsFloor, Squares: float64(root * root)}
}

func adafactorFactors(_ kernels.Table, m *engine.Matrix, c *fallback.AdafactorFactorsScalars) {
	s := stateOf(m)
	fallback.AdafactorFactors(s.rowVar, s.colVar, s.row, s.column, m.ColumnSums, min(m.Columns, tune.FactorPiece), c)
}

func (s *adafactor) length(in *engine.StepInput) fallback.AdafactorFactoredScalars {
	return fallback.AdafactorFactoredScalars{Scale: in.Scale, Drop: in.Drop, Most: float32(1 / s.least())}
}

// adafactorLength adds up the squares of u and of the parameters.
func adafactorLength(t kernels.Table, m *engine.Matrix, c *fallback.AdafactorFactoredScalars) {
	s := stateOf(m)
	kernels.AdafactorFactored(t, m.Params, m.Grads, s.row, s.column, c, &m.Sums[0], &m.Sums[1])
}

func (s *adafactor) factoredMove(in *engine.StepInput) fallback.AdafactorFactoredMoveScalars {
	return fallback.AdafactorFactoredMoveScalars{Scale: in.Scale, Drop: in.Drop, Most: float32(1 / s.least()), Decay: s.decaying(in).Decay, Step: s.step(in)}
}

func adafactorMove(t kernels.Table, m *engine.Matrix, c *fallback.AdafactorFactoredMoveScalars) {
	s := stateOf(m)
	kernels.AdafactorFactoredMove(t, m.Params, m.Grads, s.row, s.column, c)
}

func (s *adafactor) factoredMomentum(in *engine.StepInput) fallback.AdafactorFactoredMomentumScalars {
	c := s.factoredMove(in)
	return fallback.AdafactorFactoredMomentumScalars{Scale: c.Scale, Drop: c.Drop, Most: c.Most, Decay: c.Decay, Step: c.Step, Weight1: fallback.Weight(s.Momentum)}
}

func adafactorMomentum(t kernels.Table, m *engine.Matrix, c *fallback.AdafactorFactoredMomentumScalars) {
	s := stateOf(m)
	kernels.AdafactorFactoredMomentum(t, m.Params, m.Grads, m.State[2], s.row, s.column, c)
}
