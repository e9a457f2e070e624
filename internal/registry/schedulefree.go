package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "ScheduleFreeSGD",
	Samples: []Sample{
		{"schedule-free sgd", update.ScheduleFreeSGD{Options: update.Options{LR: .1, L2: .01}, Momentum: .9, WarmupSteps: 8, WeightLRPower: 2}, 0xe5f048316362f866},
		{"schedule-free sgd late", update.ScheduleFreeSGD{Options: update.Options{LR: .1, L1: .01}, Momentum: .8, WarmupSteps: 15, WarmupFromZero: true, WeightPower: .75, WeightLRPower: 1}, 0x22f611c996a9668f},
	},
	Refused: []Refused{
		{"WeightDecay", "0.1", update.ScheduleFreeSGD{Options: update.Options{WeightDecay: .1}, Momentum: .9}},
		{"Momentum", "0", update.ScheduleFreeSGD{}},
		{"WarmupSteps", "1e+16", update.ScheduleFreeSGD{Momentum: .9, WarmupSteps: 1e16}},
		{"WeightPower", "9", update.ScheduleFreeSGD{Momentum: .9, WeightPower: 9}},
		{"WeightLRPower", "8.1", update.ScheduleFreeSGD{Momentum: .9, WeightLRPower: 8.1}},
	},
	Formula: func(s *Step, tensor []Element) {
		r := s.Rule.(update.ScheduleFreeSGD)
		a := newAveraging(s, r.WarmupSteps, r.WarmupFromZero, r.WeightPower, r.WeightLRPower)
		for i := range tensor {
			e := &tensor[i]
			a.move(s, e, s.gradient(e).Mul(bounded.Scalar(a.lr)), r.Momentum)
			s.fade(e, 1)
		}
	},
	Random: []Kind{{"ScheduleFreeSGD", func(d Draw) update.Rule {
		r := update.ScheduleFreeSGD{Options: d.options(), Momentum: max(.1, d.beta())}
		r.WeightDecay = 0
		r.WarmupSteps, r.WarmupFromZero, r.WeightPower, r.WeightLRPower = d.averaging()
		return r
	}}},
	Presets: []Preset{
		{"torch", "SGDScheduleFree", torch.SGDScheduleFree()},
		{"optax", "ScheduleFreeSGD", optax.ScheduleFreeSGD()},
	},
	Verified: []Sample{{Name: "torch SGDScheduleFree", Rule: torch.SGDScheduleFree()}},
	Timed:    []Timed{timed("ScheduleFreeSGD", 3, kernels.Nesterov, fallback.NesterovScalars{Common: usual, Beta: .999, Input: 1e-9, Direct: 1e-9, Step: 1e-3})},
})

var _ = register(&Entry{
	Name: "ScheduleFreeAdamW",
	Samples: []Sample{
		{"schedule-free adamw", update.ScheduleFreeAdamW{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, WarmupSteps: 12, WeightLRPower: 2}, 0x1d5a7768b512e99f},
		{"schedule-free adamw late", update.ScheduleFreeAdamW{Options: update.Options{LR: .01, L2: .1}, Beta1: .7, Beta2: .4, Eps: 1e-8, WarmupSteps: 9, WarmupFromZero: true, WeightPower: 1, WeightLRPower: 1.5}, 0x5dd49ee1a2e77667},
	},
	Refused: []Refused{
		{"Beta1", "0", update.ScheduleFreeAdamW{Beta2: .999, Eps: 1e-8}},
		{"WarmupSteps", "1e+17", update.ScheduleFreeAdamW{Beta1: .9, Beta2: .999, Eps: 1e-8, WarmupSteps: 1e17}},
	},
	Formula: scheduleFreeAdamWFormula,
	Meant:   meantBeta2,
	Random: []Kind{{"ScheduleFreeAdamW", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		r := update.ScheduleFreeAdamW{Options: o, Beta1: max(.1, beta1), Beta2: beta2, Eps: eps}
		r.WarmupSteps, r.WarmupFromZero, r.WeightPower, r.WeightLRPower = d.averaging()
		return r
	}}},
	Presets: []Preset{
		{"torch", "AdamWScheduleFree", torch.AdamWScheduleFree()},
		{"keras", "ScheduleFreeAdamW", keras.ScheduleFreeAdamW()},
		{"optax", "ScheduleFreeAdamW", optax.ScheduleFreeAdamW()},
	},
	Verified: []Sample{{Name: "torch AdamWScheduleFree", Rule: torch.AdamWScheduleFree()}},
	Timed:    []Timed{timed("ScheduleFreeAdamW", 4, kernels.ScheduleFreeAdamW, fallback.ScheduleFreeAdamWScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Eps: 1e-8, Step: 1e-8, Rest: .999, Input: .9, Direct: .1, Mix: 1e-3})},
})

var _ = register(&Entry{
	Name: "ScheduleFreeRAdam",
	Samples: []Sample{
		{"schedule-free radam", update.ScheduleFreeRAdam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, SilentSGDPhase: true, WeightLRPower: 2}, 0x5f5efc2bc8863484},
		{"schedule-free radam loud", update.ScheduleFreeRAdam{Options: update.Options{LR: .01, L2: .1}, Beta1: .7, Beta2: .9, Eps: 1e-8, WeightPower: 1}, 0x1a7a472cb3a888fd},
		{"schedule-free radam powers", update.ScheduleFreeRAdam{Options: update.Options{LR: .01, L1: .1}, Beta1: .8, Beta2: .8, Eps: 1e-8, SilentSGDPhase: true, WeightPower: .5, WeightLRPower: 1.5}, 0xd09ecdd6a7c69540},
	},
	Refused: []Refused{
		{"Beta1", "0", update.ScheduleFreeRAdam{Beta2: .999, Eps: 1e-8}},
		{"Beta2", "0.6", update.ScheduleFreeRAdam{Beta1: .9, Beta2: .6, Eps: 1e-8, SilentSGDPhase: true}},
		{"Beta2", "0.999999", update.ScheduleFreeRAdam{Beta1: .9, Beta2: .999999, Eps: 1e-8, SilentSGDPhase: true}},
		{"WeightPower", "9", update.ScheduleFreeRAdam{Beta1: .9, Beta2: .999, Eps: 1e-8, WeightPower: 9}},
		{"WeightLRPower", "-1", update.ScheduleFreeRAdam{Beta1: .9, Beta2: .999, Eps: 1e-8, WeightLRPower: -1}},
	},
	Formula: scheduleFreeRAdamFormula,
	Random: []Kind{{"ScheduleFreeRAdam", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		r := update.ScheduleFreeRAdam{Options: o, Beta1: max(.1, beta1), Beta2: beta2, Eps: eps, SilentSGDPhase: d.IntN(3) > 0}
		if r.SilentSGDPhase {
			r.Beta2 = min(max(.61, beta2), .99999)
		}
		_, _, r.WeightPower, r.WeightLRPower = d.averaging()
		return r
	}}},
	Presets:  []Preset{{"torch", "RAdamScheduleFree", torch.RAdamScheduleFree()}},
	Verified: []Sample{{Name: "torch RAdamScheduleFree", Rule: torch.RAdamScheduleFree()}},
	Timed:    []Timed{timed("ScheduleFreeRAdam", 4, kernels.ScheduleFreeRAdam, fallback.ScheduleFreeRAdamScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Eps: 1e-8, Step: 1e-8, Adapts: 1, Rest: .999, Input: .9, Direct: .1, Mix: 1e-3})},
})

// averaging draws the options of a mean's weights.
func (d Draw) averaging() (steps float64, fromZero bool, power, lrPower float64) {
	return float64(d.IntN(2)) * 150 * d.Float64(), d.IntN(3) == 0, float64(d.IntN(2)) * 2 * d.Float64(), float64(d.IntN(3))
}

// An averaging is the learning rate of a step after its warm-up, and the weight that its z
// has in the mean, beside all so far.
type averaging struct {
	lr, c float64
	off   float64 // of 1-c and of c/(1-c), relative to themselves
}

// newAveraging adds the weights up, one by one.
func newAveraging(s *Step, steps float64, fromZero bool, power, lrPower float64) averaging {
	warm := func(t float64) float64 { return min(1, t/max(steps, 1e-9)) }
	sum, weight := 0., 0.
	for t := 1.; t <= float64(s.T); t++ {
		weight = math.Pow(t, power) * math.Pow(warm(t), lrPower)
		sum += weight
	}
	t := float64(s.T)
	if fromZero {
		t--
	}
	if steps == 0 {
		t = 1
	}
	return averaging{lr: s.LR * warm(t), c: weight / sum}
}

// newRectified adds the weights up whose rates are those of RAdam, or with a first phase of
// its own that of it, and gives the rate's error relative to itself.
func newRectified(s *Step, r update.ScheduleFreeRAdam) (a averaging, adapts bool, off float64) {
	sum, weight, most := 0., 0., 0.
	for t := int64(1); t <= s.T; t++ {
		at := *s
		at.T = t
		rate := 0.
		rate, off = rectified(&at, update.RAdam{Beta2: r.Beta2, Threshold: 4}, at.correction(r.Beta2))
		if adapts = rate > 0; !adapts && !r.SilentSGDPhase {
			rate = 1
		}
		a.lr, most = s.LR*rate, max(most, rate)
		if weight = math.Pow(float64(t), r.WeightPower) * math.Pow(most, r.WeightLRPower); weight > 0 {
			a.off = max(a.off, r.WeightLRPower*off)
		}
		sum += weight
	}
	if sum > 0 {
		a.c = weight / sum
	}
	if a.c < 1 {
		a.off /= 1 - a.c
	}
	return a, adapts, off
}

// move takes a step of u at z, and the mean of Defazio et al. with it, for a parameter y
// = (1-β)z + βx and state y - z. What is to be added to y is
//
//	(1-β)(z - u) + β((1-c)x + c(z - u)) - y = c(z - y) - u(1 - β(1-c))
//
// and y - z becomes (1-c)(y - z) + βu(1-c), with which that is -(1-β)u - c/(1-c) of it.
func (a averaging) move(s *Step, e *Element, u bounded.Number, beta float64) {
	behind, scalar := &e.State[0], func(x float64) bounded.Number { return bounded.Scalar(x).Off(x * a.off) }
	*behind = behind.Mul(scalar(1 - a.c)).Add(u.Mul(scalar(beta * (1 - a.c))))
	if a.c == 1 {
		e.P = e.P.Sub(u)
	} else {
		e.P = e.P.Sub(u.Mul(bounded.Scalar(1 - beta)).Add(behind.Mul(scalar(a.c / (1 - a.c)))))
	}
	if s.LateZ { // x is (y - (1-β)(z - u))/β, and so is more by (1-β)/β·u
		late := u.Mul(bounded.Scalar((1 - a.c) * (1 - beta)))
		e.P, *behind = e.P.Add(late), behind.Add(late)
	}
	if s.Dialect != (Dialect{}) { // frameworks keep z, with roundings of its own, and some make x of it
		e.P = e.P.Off(8 * 0x1p-24 / beta * (math.Abs(e.P.Exact) + math.Abs(behind.Exact)))
	}
}

func scheduleFreeAdamWFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.ScheduleFreeAdamW)
	a := newAveraging(s, r.WarmupSteps, r.WarmupFromZero, r.WeightPower, r.WeightLRPower)
	if s.RatesIn32 { // Keras subtracts a float32 from 1
		r.Beta1, r.Beta2 = single(r.Beta1), single(r.Beta2)
	}
	c2 := s.correction(r.Beta2)
	warmed := *s
	warmed.LR = a.lr
	for i := range tensor {
		e := &tensor[i]
		x, v := s.gradient(e), &e.State[1]
		*v = s.squares(*v, x, r.Beta2, r.Eps)
		root, lr, off := warmed.corrected(update.Adam{Eps: r.Eps}, *v, c2)
		u := x.Mul(s.scalar(lr, off)).Div(root)
		if r.WeightDecay != 0 {
			u = u.Add(e.P.Mul(bounded.Scalar(a.lr * r.WeightDecay)))
		}
		a.move(s, e, u, r.Beta1)
		s.forget(v, r.Beta2, r.Eps, r.Beta2)
		s.fade(e, r.Beta2)
	}
}

func scheduleFreeRAdamFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.ScheduleFreeRAdam)
	a, adapts, off := newRectified(s, r)
	if s.Dialect == (Dialect{}) { // but for ρ, ours is the float32 nearest to it
		r.Beta2 = single(r.Beta2)
	}
	c2 := s.correction(r.Beta2)
	rated := *s
	rated.LR = a.lr
	for i := range tensor {
		e := &tensor[i]
		x, v := s.gradient(e), &e.State[1]
		*v = s.squares(*v, x, r.Beta2, r.Eps)
		root, lr := bounded.Float(1), a.lr
		if adapts {
			root, lr, _ = rated.corrected(update.Adam{Eps: r.Eps}, *v, c2)
		}
		u := x.Mul(bounded.Scalar(lr).Off(lr * off)).Div(root)
		if r.WeightDecay != 0 {
			u = u.Add(e.P.Mul(bounded.Scalar(a.lr * r.WeightDecay).Off(a.lr * r.WeightDecay * off)))
		}
		if a.lr > 0 { // in a silent phase nothing moves, and nothing is behind
			a.move(s, e, u, r.Beta1)
		}
		s.forget(v, r.Beta2, r.Eps, r.Beta2)
		s.fade(e, r.Beta2)
	}
}
