package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/tensorflow"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "AdaGrad",
	Samples: []Sample{
		{"adagrad", update.AdaGrad{Options: update.Options{LR: .1}, Eps: 1e-7, LRDecay: .1, InitialAccumulator: .1}, 0xc888e7fb98ad3b7b},
		{"adagrad l1", update.AdaGrad{Options: update.Options{LR: .1, L1: .01}, Eps: 1e-7, EpsInside: true}, 0xd7fa1bbb0bfeb74f},
		{"adagrad proximal", update.AdaGrad{Options: update.Options{LR: .1, L1: .01, Proximal: true}, Eps: 1e-7}, 0x2e02a317ea836df3},
	},
	Formula: adaGradFormula,
	Random: []Kind{{"AdaGrad", func(d Draw) update.Rule {
		return update.AdaGrad{Options: d.options(), Eps: d.eps(), LRDecay: float64(d.IntN(2)) * .1, EpsInside: d.IntN(3) == 0}
	}}},
	Presets: []Preset{
		{"torch", "Adagrad", torch.Adagrad()},
		{"keras", "Adagrad", keras.Adagrad()},
		{"optax", "Adagrad", optax.Adagrad(0)},
		{"tensorflow", "AdagradV2", tensorflow.AdagradV2(0, single(.1), single(1e-7))},
		{"tensorflow", "ProximalAdagrad", tensorflow.ProximalAdagrad(0, single(.1), single(.01), single(.02))},
		{Textbook, "AdaGrad", textbook.AdaGrad(0)},
	},
	Verified: []Sample{
		{Name: "torch Adagrad", Rule: torch.Adagrad()},
		{Name: "Adagrad, proximal elastic net", Rule: update.AdaGrad{Options: update.Options{LR: 1e-2, L1: 1e-3, L2: 1e-3, Proximal: true}, Eps: 1e-10}},
	},
	Timed: []Timed{
		timed("AdaGrad", 3, kernels.AdaGrad, fallback.AdaGradScalars{Common: usual, Small: fallback.DropSquare, Eps: 1e-8, Step: 1e-8}),
		timed("AdaGradProx", 3, kernels.AdaGradProx, fallback.AdaGradProxScalars{Common: usual, Small: fallback.DropSquare, Eps: 1e-8, Step: 1e-8, ProxL1: 1e-9, ProxL2: 1e-9}),
	},
})

// adaGradFormula is a ← a + x², w ← w - lr/(1 + (t-1)·decay)·x/(√a + eps), or with eps
// inside the root.
func adaGradFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.AdaGrad)
	lr := bounded.Scalar(s.LR / (1 + float64(s.T-1)*r.LRDecay))
	for i := range tensor {
		e := &tensor[i]
		x, a := s.gradient(e), &e.State[0]
		*a = a.Add(s.square(x, 1, max(epsOutside(r.Eps, r.EpsInside), math.Sqrt(r.InitialAccumulator))))
		root := rooted(*a, r.Eps, r.EpsInside)
		if rate := lr.Div(root); r.Proximal {
			s.moveProximally(e, x.Mul(rate), rate)
		} else {
			s.move(e, x.Mul(lr).Div(root))
		}
		s.fade(e, 1)
	}
}

// rooted is √v + eps, or √(v + eps).
func rooted(v bounded.Number, eps float64, inside bool) bounded.Number {
	if inside {
		return v.Add(bounded.Scalar(eps)).Sqrt()
	}
	return v.Sqrt().Add(bounded.Scalar(eps))
}

// epsOutside is the eps outside the root that is as large as one inside.
func epsOutside(eps float64, inside bool) float64 {
	if inside {
		return math.Sqrt(eps)
	}
	return eps
}
