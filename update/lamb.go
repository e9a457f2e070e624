package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// LAMB is Adam whose step is as long as the parameters of its tensor are large (You et
// al. 2020). c₁ = 1-β₁ᵗ and c₂ = 1-β₂ᵗ correct the bias; the trust ratio is 1 where a
// norm is 0.
//
//	m, v as in Adam
//	u = m/c₁ / (√(v/c₂) + Eps) + Decay·w
//	w ← w - lr·‖w‖/‖u‖·u
//
// Its state is "m" and "v", which begin at 0. A step takes two passes over each tensor,
// and so StepSet or Step, not Apply.
type LAMB struct {
	Options
	Beta1, Beta2 float64 // in [0, 1 - 3e-8)
	Eps          float64
	AllowZeroEps bool

	// Decay is the weight decay of the paper, inside of what the trust ratio scales.
	// WeightDecay, apart from it, must be 0.
	Decay float64

	NoBiasCorrection bool
}

// Name is "lamb".
func (LAMB) Name() string { return "lamb" }

func (r LAMB) check() error {
	if r.WeightDecay != 0 {
		return &ArgError{"WeightDecay", r.WeightDecay, "0: LAMB's is Decay"}
	}
	return firstError(r.Options.check(), r.noProximal(), r.noL1(),
		decayRate("Beta1", r.Beta1),
		decayRate("Beta2", r.Beta2),
		notNegative("Decay", r.Decay),
		checkEps(r.Eps, r.adam().leastRoot(), r.AllowZeroEps))
}

// noL1 refuses the stage that works block by block, between which no sums are taken.
func (r LAMB) noL1() error {
	if r.L1 != 0 {
		return &ArgError{"L1", r.L1, "0: LAMB has L2 alone"}
	}
	return nil
}

// adam has the moments of LAMB.
func (r LAMB) adam() Adam {
	return Adam{Options: r.Options, Beta1: r.Beta1, Beta2: r.Beta2, Eps: r.Eps, NoBiasCorrection: r.NoBiasCorrection}
}

func (r LAMB) plan() plan {
	of := r.adam()
	p := of.plan()
	s := newAdam(of)
	p.passes = []pass{&lambPass{r: r, s: s}, &lambMove{r: r, s: s}}
	return p
}

// A lambPass is the first pass, which measures.
type lambPass struct {
	r LAMB
	s *adam
	c fallback.LAMBScalars
}

func (p *lambPass) copy() pass { return &lambPass{r: p.r, s: p.s} }

func (p *lambPass) prepare(h *stepInput) {
	unit := *h
	unit.lr = 1
	c := p.s.scalars(&unit)
	c.Decay = float32(p.r.Decay)
	p.c = fallback.LAMBScalars{Common: c.Common, Weight1: c.Weight1, Beta2: c.Beta2, Root2: c.Root2, Small: c.Small, Eps: c.Eps, Step: c.Step}
}

func (p *lambPass) run(t kernels.Table, list *kernels.List, lanes *sums) {
	kernels.LAMB(t, list, &p.c, &lanes[0], &lanes[1])
}
func (*lambPass) measures() bool             { return true }
func (*lambPass) use(*stepInput, [2]float64) {}
func (*lambPass) takes() []int               { return nil }

// A lambMove is the second pass of one tensor, whose rate follows from what was measured.
type lambMove struct {
	r LAMB
	s *adam
	c fallback.LAMBMoveScalars
}

func (p *lambMove) copy() pass { return &lambMove{r: p.r, s: p.s} }

func (p *lambMove) prepare(h *stepInput) {
	first := lambPass{r: p.r, s: p.s}
	first.prepare(h)
	p.c = fallback.LAMBMoveScalars{Common: first.c.Common, Eps: first.c.Eps, Step: first.c.Step}
}

func (p *lambMove) use(h *stepInput, of [2]float64) {
	ratio := 1.0
	if params, updates := math.Sqrt(of[0]), math.Sqrt(of[1]); params > 0 && updates > 0 {
		ratio = params / updates
	}
	p.c.Rate = float32(h.lr * ratio)
}

func (p *lambMove) run(t kernels.Table, list *kernels.List, _ *sums) {
	kernels.LAMBMove(t, list, &p.c)
}
func (*lambMove) measures() bool { return false }
func (*lambMove) takes() []int   { return withoutGradient }

var withoutGradient = []int{0, 2, 3}
