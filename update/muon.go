package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Muon takes the mean of a matrix' gradients to the orthogonal matrix next to it, or near
// it, and a step in its direction (Jordan et al. 2024). μ is Momentum, ‖·‖ the root of the
// sum of squares, or what SchattenNorm, SpectralNorm or AOL say.
//
//	m ← μ·m + (1-μ)·g
//	u = m, or with Nesterov μ·m + (1-μ)·g
//	X = u / max(‖u‖ + Eps, EpsFloor)
//	X ← A·X + (B·XXᵀ + C·(XXᵀ)²)·X                Iterations times
//	X ← (sum of u·X, element by element)·X        with Adaptive
//	w ← w - lr·(ρ·X + WeightDecay·w)
//
// ρ is 1, or with Spectral √max(1, rows/columns), or RMS·√max(rows, columns).
//
// With Beta2 it is NorMuon (Li et al. 2025), in which all rows get about the same share of a
// step. Before the step, of each row with its v,
//
//	v ← Beta2·v + (1-Beta2)·(mean of X² over the row)
//	Y = X / (√v + EpsRow)
//	X ← Y·‖X‖/(‖Y‖ + EpsRow), norms of the matrix
//
// It is for matrices, tensors with Columns, of hidden layers: other tensors of a set, and
// embeddings, have a rule of their own, such as AdamW, as Keras and Optax give them one.
//
// Its state is "momentum", m, which begins at 0: 4 bytes a parameter, and 4 more that nobody
// keeps; with Beta2 "row_var", v, 4 bytes a row, which begins at 0 too. The products take room
// for some matrices of the size of the largest. A step is three passes, and so none by ranges
// (Apply): the first and the last read and write 24 bytes a parameter, and the products
// between are what takes time. They are float32, each sum in one order (see fallback.MatMul),
// so that the bits are the same on every CPU and for any number of workers; PyTorch multiplies
// in bfloat16, whose steps are off by some hundredths.
type Muon struct {
	Options
	Momentum float64 // in [0, 1)
	Nesterov bool

	// BiasCorrection divides m by 1 - μᵗ, and with Nesterov by 1 - μᵗ⁺¹ and the gradient by
	// 1 - μᵗ, as Optax does. What is orthogonal is the same without Nesterov.
	BiasCorrection bool

	// A, B and C are the coefficients of the iteration, in the literature 3.4445, -4.775 and
	// 2.0315, and Iterations, from 1 to 99, how often it is made.
	A, B, C    float64
	Iterations int

	// Dion has coefficients for each of 5 iterations, those that Optax calls "dion" (Ahn et al.
	// 2025): A, B and C are 0 then, and Iterations is 5.
	Dion bool

	// Eps is added to the norm, EpsFloor is the least that it counts as: one is above 0.
	Eps, EpsFloor float64

	// SchattenNorm is for the root of ‖uuᵀ‖ as the norm (Grishina et al. 2025), which leaves
	// singular values nearer to 1 for the iteration to begin with, and costs nothing.
	// SpectralNorm is for the largest singular value, from uuᵀ squared up to 24 times, of which
	// each takes a product. AOL divides each row by a norm of its own, the root of the sum of
	// its products with all rows without their signs (Boissin et al. 2025), or each column if
	// these are fewer. One of them at most, as one of Optax' preconditionings.
	SchattenNorm, SpectralNorm, AOL bool

	// Adaptive makes steps longer where gradients are larger, by the dual norm of u (Bernstein
	// and Newhouse 2024).
	Adaptive bool

	// Spectral lengthens the steps of high matrices (of weights output × input), or with
	// Unclamped shortens those of wide ones too. With Transposed, of weights input × output,
	// it is columns/rows instead.
	Spectral, Unclamped, Transposed bool

	// RMS makes steps as long as those of AdamW where it is .2 (Liu et al. 2025); 0 is for
	// none, and other than 0 it goes without Spectral.
	RMS float64

	// Beta2, in [0, 1), is how long NorMuon remembers the size of rows, .95 in its authors'
	// program; 0 is for Muon. EpsRow, a normal float32, is 1e-10 there, and 0 without Beta2.
	Beta2, EpsRow float64

	// ExactRMS, with Beta2 and RMS, makes the root mean square of ρ·X just RMS, as NorMuon's
	// paper does; its authors' program leaves X as long as it was.
	ExactRMS bool
}

// Name is "muon", with Beta2 "normuon".
func (r Muon) Name() string {
	if r.Beta2 > 0 {
		return "normuon"
	}
	return "muon"
}

func (r Muon) check() error {
	if err := r.checkNumbers(); err != nil {
		return err
	}
	switch {
	case max(r.Eps, r.EpsFloor) < 0x1p-126:
		return &ArgError{"Eps", r.Eps, "a normal float32 above 0, unless EpsFloor is one"}
	case r.RMS != 0 && r.Spectral, r.RMS == 0 && !r.Spectral && (r.Unclamped || r.Transposed):
		return &ArgError{"Spectral", r.Spectral, "false with RMS, and true with Unclamped or Transposed"}
	}
	return nil
}

func (r Muon) checkNumbers() error {
	return firstError(r.noProximal(), r.noCaution(), r.noPenalties(), decayRate("Momentum", r.Momentum),
		finite("A", r.A), finite("B", r.B), finite("C", r.C),
		notNegative("Eps", r.Eps), notNegative("EpsFloor", r.EpsFloor), notNegative("RMS", r.RMS),
		decayRate("Beta2", r.Beta2), notNegative("EpsRow", r.EpsRow), r.checkIteration(), r.checkRows())
}

func (r Muon) checkIteration() error {
	switch {
	case r.Iterations < 1 || r.Iterations > 99:
		return &ArgError{"Iterations", r.Iterations, "from 1 to 99"}
	case r.Dion && (r.Iterations != 5 || r.A != 0 || r.B != 0 || r.C != 0):
		return &ArgError{"Dion", r.Dion, "false, unless Iterations is 5 and A, B and C are 0"}
	case r.SchattenNorm && r.SpectralNorm, r.SchattenNorm && r.AOL:
		return &ArgError{"SchattenNorm", r.SchattenNorm, "false with SpectralNorm or AOL"}
	case r.SpectralNorm && r.AOL:
		return &ArgError{"SpectralNorm", r.SpectralNorm, "false with AOL"}
	}
	return nil
}

func (r Muon) checkRows() error {
	switch {
	case r.Beta2 > 0 && r.EpsRow < 0x1p-126:
		return &ArgError{"EpsRow", r.EpsRow, "a normal float32 above 0"}
	case r.Beta2 == 0 && r.EpsRow > 0:
		return &ArgError{"EpsRow", r.EpsRow, "0 without Beta2"}
	case r.ExactRMS && (r.Beta2 == 0 || r.RMS == 0):
		return &ArgError{"ExactRMS", r.ExactRMS, "false without Beta2 and RMS"}
	}
	return nil
}

// noPenalties refuses what no framework's Muon has.
func (r Muon) noPenalties() error {
	if r.L1 != 0 {
		return &ArgError{"L1", r.L1, "0: Muon has WeightDecay alone"}
	}
	if r.L2 != 0 {
		return &ArgError{"L2", r.L2, "0: Muon has WeightDecay alone"}
	}
	return nil
}

func finite(arg string, x float64) error {
	if !(math.Abs(x) <= math.MaxFloat32) {
		return &ArgError{arg, x, "a finite float32"}
	}
	return nil
}

// options keep small numbers where the least norm does not hide them.
func (r Muon) options() Options {
	o := r.Options
	o.KeepSubnormals = o.KeepSubnormals || max(r.Eps, r.EpsFloor) < 0x1p-64
	return o
}

// takesMatrices says that there is no plan for vectors.
func (Muon) takesMatrices() {}

func (r Muon) factors(int, int) bool { return true }

func (r Muon) factoredPlan() engine.Plan { return r.plan() }

func (r Muon) plan() engine.Plan {
	s := muon{r, newPower(r.Momentum)}
	plan := engine.Plan{State: []engine.Slot{{Name: "momentum", Fades: r.Momentum}}}
	if r.Beta2 > 0 {
		plan.State = append(plan.State, engine.Slot{Name: "row_var", Extent: engine.PerRow, Fades: r.Beta2, Square: true})
	}
	plan.State = append(plan.State, engine.Slot{Name: "direction", Fades: 1, Scratch: true})
	plan.Passes = []engine.Pass{
		engine.Summing(engine.OverTensor, muonDirection, s.scalars, engine.GradsName, "momentum", "direction"),
		engine.Together(orthogonalize, s.newtonSchulz, newtonSchulzRoom),
		engine.Elements(kernels.SGD, s.move, engine.ParamsName, "direction"),
	}
	return plan
}

// muonDirection is the first pass, whose sum is the squares of u.
func muonDirection(t kernels.Table, list *kernels.List, c *fallback.MuonScalars, sums *engine.Sums) {
	kernels.Muon(t, list, c, &sums[0])
}

// A muon makes the scalars.
type muon struct {
	Muon
	powers power // of μ
}

func (s *muon) scalars(in *engine.StepInput) fallback.MuonScalars {
	ahead, direct := 1.0, 0.0
	if s.Nesterov {
		ahead, direct = s.Momentum, 1-s.Momentum
	}
	if s.BiasCorrection {
		now := s.powers.oneMinus(in.T)
		direct /= now
		if s.Nesterov {
			now = s.powers.oneMinus(in.T + 1)
		}
		ahead /= now
	}
	return fallback.MuonScalars{
		Scale: in.Scale, Drop: in.Drop, Weight1: fallback.Weight(s.Momentum), Ahead: float32(ahead), Direct: float32(direct),
	}
}

func (s *muon) move(in *engine.StepInput) fallback.SGDScalars {
	common := fallback.Common{Scale: 1, Decay: in.Decay}
	return fallback.SGDScalars{Common: common, Step: float32(min(in.LR*s.length(in.Rows, in.Columns), math.MaxFloat32))}
}

// length is ρ.
func (r Muon) length(rows, columns int) float64 {
	if r.ExactRMS {
		return r.RMS
	}
	if r.RMS != 0 {
		return r.RMS * math.Sqrt(max(float64(rows), float64(columns)))
	}
	if !r.Spectral {
		return 1
	}
	ratio := float64(rows) / float64(columns)
	if r.Transposed {
		ratio = float64(columns) / float64(rows)
	}
	if !r.Unclamped {
		ratio = max(1, ratio)
	}
	return math.Sqrt(ratio)
}
