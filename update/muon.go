package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Muon takes the mean of a matrix' gradients to the orthogonal matrix next to it, or near
// it, and a step in its direction (Jordan et al. 2024). μ is Momentum, ‖·‖ the root of the
// sum of squares.
//
//	m ← μ·m + (1-μ)·g
//	u = m, or with Nesterov μ·m + (1-μ)·g
//	X = u / max(‖u‖ + Eps, EpsFloor)
//	X ← A·X + (B·XXᵀ + C·(XXᵀ)²)·X                Iterations times
//	w ← w - lr·(ρ·X + WeightDecay·w)
//
// ρ is 1, or with Spectral √max(1, rows/columns), or RMS·√max(rows, columns).
//
// It is for matrices, tensors with Columns, of hidden layers: other tensors of a set, and
// embeddings, have a rule of their own, such as AdamW, as Keras and Optax give them one.
//
// Its state is "momentum", m, which begins at 0: 4 bytes a parameter, and 4 more that nobody
// keeps; the products take room for some matrices of the size of the largest. A step is
// three passes, and so none by ranges (Apply): the first and the last read and write 24
// bytes a parameter, and the products between are what takes time. They are float32, each
// sum in one order (see fallback.MatMul), so that the bits are the same on every CPU and for
// any number of workers; PyTorch multiplies in bfloat16, whose steps are off by some
// hundredths.
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

	// Eps is added to the norm, EpsFloor is the least that it counts as: one is above 0.
	Eps, EpsFloor float64

	// Spectral lengthens the steps of high matrices (of weights output × input), or with
	// Unclamped shortens those of wide ones too. With Transposed, of weights input × output,
	// it is columns/rows instead.
	Spectral, Unclamped, Transposed bool

	// RMS makes steps as long as those of AdamW where it is .2 (Liu et al. 2025); 0 is for
	// none, and other than 0 it goes without Spectral.
	RMS float64
}

// Name is "muon".
func (Muon) Name() string { return "muon" }

func (r Muon) check() error {
	if err := r.checkNumbers(); err != nil {
		return err
	}
	switch {
	case r.Iterations < 1 || r.Iterations > 99:
		return &ArgError{"Iterations", r.Iterations, "from 1 to 99"}
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
		notNegative("Eps", r.Eps), notNegative("EpsFloor", r.EpsFloor), notNegative("RMS", r.RMS))
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
	return engine.Plan{
		State: []engine.Slot{{Name: "momentum", Fades: r.Momentum}, {Name: "direction", Fades: 1, Scratch: true}},
		Passes: []engine.Pass{
			engine.Summing(engine.OverTensor, muonDirection, s.scalars, engine.GradsName, "momentum", "direction"),
			engine.Together(orthogonalize, s.newtonSchulz, newtonSchulzRoom),
			engine.Elements(kernels.SGD, s.move, engine.ParamsName, "direction"),
		}}
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

// A newtonSchulz is the scalars of the iteration.
type newtonSchulz struct {
	factor     float64 // of the direction, to be of norm 1
	a, b, c    float32
	iterations int
}

func (s *muon) newtonSchulz(in *engine.StepInput) newtonSchulz {
	norm := max(math.Sqrt(in.Sums[0])+s.Eps, s.EpsFloor)
	return newtonSchulz{1 / norm, float32(s.A), float32(s.B), float32(s.C), s.Iterations}
}

// newtonSchulzRoom is the room for another X, XXᵀ, the polynomial of it and what products
// take.
func newtonSchulzRoom(t kernels.Table, rows, columns int) int {
	return rows*columns + 2*min(rows, columns)*min(rows, columns) + productRoom(t, rows, columns)
}

// productRoom is the room of the largest product.
func productRoom(t kernels.Table, rows, columns int) int {
	short, long := min(rows, columns), max(rows, columns)
	return max(kernels.MatMulRoom(t, short, short, long), kernels.MatMulRoom(t, rows, columns, short))
}

// orthogonalize is the second pass. X is multiplied on its shorter side, of which a matrix
// and its transposed have the same:
//
//	S = XXᵀ, P = B·S + C·S², X ← A·X + P·X        of XᵀX on the right if columns are fewer
func orthogonalize(t kernels.Table, m *engine.Matrix, c *newtonSchulz) {
	n := min(m.Rows, m.Columns)
	size := m.Rows * m.Columns
	room := m.Room
	take := func(rows, columns int) fallback.Matrix {
		taken := room[: rows*columns : rows*columns]
		room = room[rows*columns:]
		return fallback.RowMajor(rows, columns, taken)
	}
	x, y := fallback.RowMajor(m.Rows, m.Columns, m.State[1]), take(m.Rows, m.Columns)
	s, p := take(n, n), take(n, n)
	if c.iterations%2 > 0 {
		x, y = y, x // so that the last one ends in the state
	}
	m.Team.Scale(x.Data[:size], m.State[1], c.factor)
	for range c.iterations {
		left, right := x, x.T()
		if m.Columns < m.Rows {
			left, right = right, left
		}
		m.Team.Multiply(t, kernels.MatMul{C: s, A: left, B: right, MatMulScalars: fallback.MatMulScalars{Alpha: 1}, Symmetric: true}, room)
		m.Team.Multiply(t, kernels.MatMul{C: p, D: s, A: s, B: s, MatMulScalars: fallback.MatMulScalars{Alpha: c.c, Beta: c.b}, Symmetric: true}, room)
		left, right = p, x
		if m.Columns < m.Rows {
			left, right = right, left
		}
		m.Team.Multiply(t, kernels.MatMul{C: y, D: x, A: left, B: right, MatMulScalars: fallback.MatMulScalars{Alpha: 1, Beta: c.a}}, room)
		x, y = y, x
	}
}
