package update

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// AdaGrad divides by the root of the sum of all squared gradients (Duchi,
// Hazan, Singer 2011).
//
//	a ← a + g²
//	w ← w - lr/(1 + (t-1)·LRDecay) · g / (√a + Eps)
//
// Its state is "accumulator", a.
type AdaGrad struct {
	Options
	LRDecay            float64
	InitialAccumulator float64 // where a begins

	// Eps keeps the divisor from 0. With 0 and an accumulator of 0 a gradient of 0, or
	// that is taken for 0, gives NaN, as in the frameworks.
	Eps float64

	// EpsInside adds Eps inside the root, √(a + Eps), as Keras does.
	EpsInside bool
}

// Name is "adagrad".
func (AdaGrad) Name() string { return "adagrad" }

func (r AdaGrad) check() error {
	return firstError(r.Options.check(),
		notNegative("LRDecay", r.LRDecay),
		notNegative("InitialAccumulator", r.InitialAccumulator),
		notNegative("Eps", r.Eps))
}

func (r AdaGrad) slots() []slot { return []slot{{"accumulator", r.InitialAccumulator}} }
func (r AdaGrad) takes() bool   { return r.Proximal }
func (AdaGrad) kept() float64   { return 1 }

func (r AdaGrad) stepper() stepper {
	if r.Proximal && r.penalties() {
		return &adaGradProx{r: r}
	}
	return &adaGrad{r: r}
}

// rate is the learning rate of a step.
func (r AdaGrad) rate(h hyper) float64 { return h.lr / (1 + float64(float64(h.t-1)*r.LRDecay)) }

// eps is Eps inside the root and outside.
func (r AdaGrad) eps() (inside, outside float32) {
	if r.EpsInside {
		return float32(r.Eps), 0
	}
	return 0, float32(r.Eps)
}

type adaGrad struct {
	r AdaGrad
	c fallback.AdaGradScalars
}

func (s *adaGrad) prepare(h hyper) {
	inside, outside := s.r.eps()
	decay := float32(h.decay)
	s.c = fallback.AdaGradScalars{
		Scale:  float32(h.scale),
		EpsIn:  inside,
		Eps:    outside,
		Decay:  decay,
		Step:   float32(s.r.rate(h)),
		Lasts:  h.lasts(decay),
		Counts: h.squares,
	}
}

func (s *adaGrad) run(k *kernels.Table, p, g []float32, a state) { k.AdaGrad(p, g, a[0], &s.c) }

type adaGradProx struct {
	r AdaGrad
	c fallback.AdaGradProxScalars
}

func (s *adaGradProx) prepare(h hyper) {
	inside, outside := s.r.eps()
	decay := float32(h.decay)
	s.c = fallback.AdaGradProxScalars{
		Scale:  float32(h.scale),
		EpsIn:  inside,
		Eps:    outside,
		Decay:  decay,
		Step:   float32(s.r.rate(h)),
		Lasts:  h.lasts(decay),
		Counts: h.squares,
		L1:     float32(h.l1),
		L2:     float32(h.l2),
	}
}

func (s *adaGradProx) run(k *kernels.Table, p, g []float32, a state) {
	k.AdaGradProx(p, g, a[0], &s.c)
}

func (s *adaGrad) many(k *kernels.Table, list *kernels.List) { k.AdaGradMany(list, &s.c) }

func (s *adaGradProx) many(k *kernels.Table, list *kernels.List) { k.AdaGradProxMany(list, &s.c) }
