package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/tensorflow"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "RMSprop",
	Samples: []Sample{
		{"rmsprop", update.RMSprop{Options: update.Options{LR: .01}, Rho: .9, Eps: 1e-8}, 0x2cdbf27c03ea7432},
		{"rmsprop centered", update.RMSprop{Options: update.Options{LR: .01, WeightDecay: .1}, Rho: .9, Eps: 1e-7, EpsInside: true, Centered: true, InitialScale: .1}, 0x76437ad2e9e6db00},
		{"rmsprop momentum", update.RMSprop{Options: update.Options{LR: .01, L1: .1}, Rho: .9, Eps: 1e-8, Momentum: .9}, 0x9df1e411cf85089d},
		{"rmsprop both", update.RMSprop{Options: update.Options{LR: .01}, Rho: .9, Eps: 1e-8, Momentum: .9, Centered: true, LRInside: true}, 0xe95a65960068accd},
	},
	Formula: rmspropFormula,
	Random: []Kind{
		{"RMSprop", func(d Draw) update.Rule { return d.rmsprop() }},
		{"RMSprop, centered", func(d Draw) update.Rule {
			r := d.rmsprop()
			r.Centered = true
			return r
		}},
	},
	Presets: []Preset{
		{"torch", "RMSprop", torch.RMSprop()},
		{"keras", "RMSprop", keras.RMSprop()},
		{"optax", "RMSprop", optax.RMSprop(0)},
		{"tensorflow", "RMSProp", tensorflow.RMSProp(0, single(.9), single(.9), single(1e-7))},
		{"tensorflow", "CenteredRMSProp", tensorflow.CenteredRMSProp(0, single(.9), single(.9), single(1e-7))},
	},
	Verified: []Sample{
		{Name: "torch RMSprop", Rule: torch.RMSprop()},
		{Name: "torch RMSprop, centered", Rule: update.RMSprop{Options: update.Options{LR: 1e-2}, Rho: .99, Eps: 1e-8, Centered: true}},
		{Name: "torch RMSprop, momentum", Rule: update.RMSprop{Options: update.Options{LR: 1e-2}, Rho: .99, Eps: 1e-8, Momentum: .9}},
		{Name: "keras RMSprop, centered, momentum", Rule: update.RMSprop{Options: update.Options{LR: 1e-3}, Rho: .9, Eps: 1e-7, EpsInside: true, LRInside: true, Centered: true, Momentum: .9}},
	},
	Timed: []Timed{
		timed("RMSprop", 3, kernels.RMSprop, fallback.RMSpropScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Eps: 1e-8, Step: 1e-8}),
		timed("RMSpropCentered", 4, kernels.RMSpropCentered, fallback.RMSpropCenteredScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Weight2: .001, Eps: 1e-2, Step: 1e-8}).inFull(),
		timed("RMSpropMomentum", 4, kernels.RMSpropMomentum, fallback.RMSpropMomentumScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Eps: 1e-8, Momentum: .9, Input: 1, Step: 1e-9}).inFull(),
		timed("RMSpropCenteredMomentum", 5, kernels.RMSpropCenteredMomentum, fallback.RMSpropCenteredMomentumScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Weight2: .001, Eps: 1e-2, Momentum: .9, Input: 1, Step: 1e-9}).inFull(),
	},
})

func (d Draw) rmsprop() update.RMSprop {
	return update.RMSprop{Options: d.options(), Rho: d.beta(), Eps: d.eps(), EpsInside: d.IntN(3) == 0, Momentum: float64(d.IntN(2)) * .9, LRInside: d.IntN(2) == 0}
}

// rmspropFormula is v ← ρv + (1-ρ)x², w ← w - lr·x/(√v + eps), by the variance v - a² if
// it is centered (Graves 2013), or with what is subtracted gathered in a buffer.
func rmspropFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.RMSprop)
	inside, outside := bounded.Float(1), bounded.Scalar(s.LR)
	if r.Momentum != 0 && r.LRInside {
		inside, outside = outside, inside
	}
	for i := range tensor {
		e := &tensor[i]
		x := s.gradient(e)
		root, fading, keeps := rmspropRoot(s, r, e, x)
		u := x.Mul(outside).Div(root)
		if r.Momentum != 0 {
			b := &e.State[len(e.State)-1]
			*b = b.Mul(bounded.Scalar(r.Momentum)).Add(x.Mul(inside).Div(root))
			u = b.Mul(outside)
			fading, keeps = append(fading, b), min(keeps, r.Momentum)
		}
		s.move(e, u)
		s.forget(&e.State[0], r.Rho, epsOutside(r.Eps, r.EpsInside), keeps)
		s.fade(e, keeps, fading...)
	}
}

// rmspropRoot updates the means and is what x is divided by; the mean fades.
func rmspropRoot(s *Step, r update.RMSprop, e *Element, x bounded.Number) (root bounded.Number, fading []*bounded.Number, keeps float64) {
	v := &e.State[0]
	*v = s.squares(*v, x, r.Rho, epsOutside(r.Eps, r.EpsInside))
	of := *v
	if r.Centered {
		a := &e.State[1]
		*a = mean(*a, x, r.Rho)
		of = of.Sub(a.Mul(*a)).Max(bounded.Float(0))
		fading = append(fading, a)
	}
	return rooted(of, r.Eps, r.EpsInside), fading, r.Rho
}
