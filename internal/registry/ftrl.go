package registry

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/tensorflow"
)

var _ = register(&Entry{
	Name: "FTRL",
	Samples: []Sample{
		{"ftrl", update.FTRL{Options: update.Options{LR: .1, L1: .3, L2: .2, Proximal: true}, InitialAccumulator: .1, Eps: 1e-2}, 0xa597563f218e5f09},
		{"ftrl shrinkage", update.FTRL{Options: update.Options{LR: .1, L1: .01, L2: .02}, InitialAccumulator: .1, Eps: 1e-1, L2Shrinkage: .3}, 0xa01e2bc0c771c1f1},
		{"ftrl multiplied", update.FTRL{Options: update.Options{LR: .1, L1: .3, L2: .2, Proximal: true}, InitialAccumulator: .01, Eps: 1e-2, L2Shrinkage: .03, MultiplyLinearByLR: true}, 0xffa30bdcc69efe2e},
	},
	Refused: []Refused{
		{"WeightDecay", "0.1", update.FTRL{Options: update.Options{LR: .1, WeightDecay: .1}, InitialAccumulator: .1}},
		{"LR", "0", update.FTRL{InitialAccumulator: .1}},
		{"LR", "1e-31", update.FTRL{Options: update.Options{LR: 1e-31}, InitialAccumulator: .1}},
	},
	Formula: ftrlFormula,
	Random: []Kind{{"FTRL", func(d Draw) update.Rule {
		o := d.options()
		o.WeightDecay = 0
		return update.FTRL{Options: o, InitialAccumulator: d.Power(-3, 0), Eps: float64(d.IntN(2)) * d.Power(-6, 0),
			L2Shrinkage: float64(d.IntN(2)) * d.Power(-6, 0), MultiplyLinearByLR: d.IntN(2) == 0}
	}}},
	Presets: []Preset{
		{"keras", "Ftrl", keras.Ftrl()},
		{"tensorflow", "Ftrl", tensorflow.Ftrl(0, single(.1), single(.01), single(.02))},
		{"tensorflow", "FtrlV2", tensorflow.FtrlV2(0, single(.1), single(.01), single(.02), single(.03))},
	},
	Verified: []Sample{{Name: "keras Ftrl", Rule: keras.Ftrl()}},
	Timed:    []Timed{timed("FTRL", 4, kernels.FTRL, fallback.FTRLScalars{Common: usual, Small: fallback.DropSquare, Input: 1, Inverse: 1e8})},
})

// ftrlFormula is algorithm 1 of McMahan and others, or with z times the learning rate.
func ftrlFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.FTRL)
	input, inverse := 1., 1/s.LR
	if r.MultiplyLinearByLR {
		input, inverse = s.LR, 1
	}
	l1, l2 := 0., inverse*r.Eps
	if r.Proximal {
		l1, l2 = input*r.L1, l2+input*r.L2
	}
	for i := range tensor {
		e := &tensor[i]
		x, a, z := s.gradient(e), &e.State[0], &e.State[1]
		before := a.Sqrt()
		*a = a.Add(s.square(x, 1, max(r.Eps, math.Sqrt(r.InitialAccumulator))))
		root := a.Sqrt()
		x = x.Mul(s.scalar(input, 0))
		if r.L2Shrinkage != 0 {
			x = x.Add(e.P.Mul(s.scalar(input*r.L2Shrinkage, 0)))
		}
		*z = z.Add(x.Sub(root.Sub(before).Mul(s.scalar(inverse, 0)).Mul(e.P)))
		e.P = z.Neg().Soft(s.scalar(l1, 0)).Div(root.Mul(s.scalar(inverse, 0)).Add(s.scalar(l2, 0)))
		if r.L2Shrinkage > 0 {
			s.fade(e, .5, z)
		} else {
			s.fade(e, 1)
		}
	}
}
