package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// SOAP is Adam among the eigenvectors of Shampoo's preconditioners (Vyas et al. 2024). The
// gradient G of a matrix is turned into the basis of the eigenvectors of L and R, where Adam
// makes a step that is turned back. c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias, of t steps
// without the first, which only makes L, R and their eigenvectors.
//
//	X = QLᵀ·G·QR
//	m ← m + (1-β₁)(X - m)
//	v ← β₂·v + (1-β₂)·X²
//	D = QL·(m / (√v + Eps))·QRᵀ
//	D ← D / (10⁻³⁰ + root of the mean of D²)        with NormalizeGrads
//	w ← (1 - lr·WeightDecay)·(w - lr·√c₂/c₁ · D)
//	L ← ShampooBeta·L + (1-ShampooBeta)·G·Gᵀ
//	R ← ShampooBeta·R + (1-ShampooBeta)·Gᵀ·G
//
// QL and QR are the eigenvectors of L and R after the first step, from the largest eigenvalue
// to the smallest. Every PreconditionFrequency steps of t an iteration follows L and R: QL
// becomes the Q of a QR decomposition of L·QL, whose columns are put in the descending order
// of the diagonal of QLᵀ·L·QL; v's rows are put in this order too, and m is turned to the new
// basis. R and columns are likewise.
//
// A matrix is a Tensor with Columns. A vector takes the same steps without L and R, which are
// Adam's. Its state is "m" and "v", 4 bytes a parameter each, and of a matrix of r rows and c
// columns "left" and "left_basis", L and QL, 4·r² bytes each, "right" and "right_basis", R and
// QR, 4·c² each; all begin at 0. A basis that is 0 is made anew by the next step, which is a
// first one then. 4 bytes a parameter more nobody keeps, and all matrices share room of some
// 8 bytes a parameter and 12·n² for the longest side n that has a preconditioner.
//
// A step multiplies 2.5·r·c·(r+c) times, of float32s, each sum in one order (see
// fallback.MatMul); one that changes the bases 2·r·c·(r+c) + r³ + c³ times more, and takes
// 8/3·(r³+c³) operations in float64 without SIMD for QR; the first one takes some 9·(r³+c³).
// Of sides of some thousands these are seconds, and the first step's are minutes. The bits are
// the same on every CPU and for any number of workers. A step is three passes, and so none by
// ranges (Apply). A gradient that is not finite, or whose squares are not, leaves NaN in L, R,
// the bases and from then on in all parameters of its matrix: see SetPolicy.
type SOAP struct {
	Options

	// Beta1 and Beta2 are in [0, 1 - 3e-8), as Adam's.
	Beta1, Beta2 float64

	// ShampooBeta in [0, 1 - 3e-8) is how long L and R remember. In its authors' program it is
	// Beta2 unless it is given.
	ShampooBeta float64

	// Eps is added to the root of v before its bias is corrected, as Adam's with EpsHat.
	Eps float64

	// PreconditionFrequency is how many steps apart the bases follow L and R, at least 1.
	PreconditionFrequency int

	// MaxPrecondDim is the longest side of a matrix that has a preconditioner, from 0 to 32768.
	// Longer ones, such as those of embeddings, are left as they are: the unit matrix is their
	// basis, and their two buffers are empty. It is one of an optimizer for good.
	MaxPrecondDim int

	// NormalizeGrads makes the root mean square of each tensor's D 1. Its authors found that it
	// helps where PreconditionFrequency is some 100.
	NormalizeGrads bool

	// NoBiasCorrection sets c₁ and c₂ to 1.
	NoBiasCorrection bool
}

// Name is "soap".
func (SOAP) Name() string { return "soap" }

func (r SOAP) check() error {
	return firstError(r.noProximal(), r.noCaution(), r.noPenalties(),
		checkRates(r.Beta1, r.Beta2), decayRate("ShampooBeta", r.ShampooBeta),
		checkEps(r.Eps, 1, false, "one that is not below 1e-45"), r.checkBases())
}

func (r SOAP) checkBases() error {
	if r.PreconditionFrequency < 1 {
		return &ArgError{"PreconditionFrequency", r.PreconditionFrequency, "at least 1"}
	}
	if r.MaxPrecondDim < 0 || r.MaxPrecondDim > 32768 {
		return &ArgError{"MaxPrecondDim", r.MaxPrecondDim, "from 0 to 32768"}
	}
	return nil
}

// noPenalties refuses what its authors' program has not.
func (r SOAP) noPenalties() error {
	if r.L1 != 0 {
		return &ArgError{"L1", r.L1, "0: SOAP has WeightDecay alone"}
	}
	if r.L2 != 0 {
		return &ArgError{"L2", r.L2, "0: SOAP has WeightDecay alone"}
	}
	return nil
}

func (r SOAP) checkOwnRate(arg string, lr float64) error {
	return checkFirst(arg, lr, r.Beta1, r.NoBiasCorrection)
}

func (r SOAP) factors(int, int) bool { return true }

// plan is that of vectors, which have no bases. What fades of m is seen where the gradient in
// the bases is, which is another place than the engine's.
func (r SOAP) plan() engine.Plan {
	s := soap{r, newMoments(r.Options, r.Beta1, r.Beta2, r.Eps, r.NoBiasCorrection)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "m", Fades: 1},
			{Name: "v", Fades: s.beta2, Square: true, Flushes: s.flush},
			{Name: "direction", Fades: 1, Scratch: true},
		},
		Passes: []engine.Pass{
			engine.Elements(kernels.Clip, s.gradient, "direction", engine.GradsName),
			engine.Together(soapDirection, s.basesStep, soapRoom),
			engine.Elements(kernels.SGD, s.move, engine.ParamsName, "direction"),
		},
	}
}

// factoredPlan is that of matrices.
func (r SOAP) factoredPlan() engine.Plan {
	s := soap{r, newMoments(r.Options, r.Beta1, r.Beta2, r.Eps, r.NoBiasCorrection)}
	return engine.Plan{
		State: []engine.Slot{
			{Name: "m", Fades: 1},
			{Name: "v", Fades: s.beta2, Square: true, Flushes: s.flush},
			{Name: "left", Extent: engine.PerRowPair, Most: r.MaxPrecondDim, Fades: r.ShampooBeta},
			{Name: "right", Extent: engine.PerColumnPair, Most: r.MaxPrecondDim, Fades: r.ShampooBeta},
			{Name: "left_basis", Extent: engine.PerRowPair, Most: r.MaxPrecondDim, Fades: 1},
			{Name: "right_basis", Extent: engine.PerColumnPair, Most: r.MaxPrecondDim, Fades: 1},
			{Name: "direction", Fades: 1, Scratch: true},
		},
		Passes: []engine.Pass{
			engine.Elements(kernels.Clip, s.gradient, "direction", engine.GradsName),
			engine.Together(soapDirection, s.basesStep, soapRoom),
			engine.Elements(kernels.SGD, s.move, engine.ParamsName, "direction"),
		},
	}
}

// A soap makes the scalars.
type soap struct {
	SOAP
	moments
}

// length is what D is multiplied by.
func (s *soap) length(in *engine.StepInput) float32 {
	t := in.T - 1
	if t == 0 {
		t = 1 // whose parameters do not move
	}
	c1, c2 := s.corrections(t)
	rest := 1 - float64(in.LR*s.WeightDecay)
	return float32(min(in.LR*rest*math.Sqrt(c2)/c1, math.MaxFloat32))
}

// gradient are the scalars of the first pass, which scales the gradient and limits nothing.
func (s *soap) gradient(in *engine.StepInput) fallback.ClipScalars {
	most := float32(math.MaxFloat32)
	return fallback.ClipScalars{Part: 1, Scale: in.Scale, Limit: most + most}
}

func (s *soap) move(in *engine.StepInput) fallback.SGDScalars {
	common, step := fallback.Common{Scale: 1, Decay: in.Decay}, s.length(in)
	if in.T == 1 {
		common.Decay, step = 0, 0
	}
	return fallback.SGDScalars{Common: common, Step: step}
}
