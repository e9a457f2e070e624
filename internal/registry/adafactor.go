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

var (
	adafactorRelative = update.Adafactor{Options: update.Options{LR: .6, WeightDecay: .1}, DecayRate: .8, EpsFloor: 1e-3, ClipThreshold: .5, EpsParam: 1e-3, RelativeStep: true}
	adafactorMomentum = update.Adafactor{Options: update.Options{LR: .01}, DecayRate: .7, EpsSquare: 1e-6, EpsParam: 1e-3, NoParamScale: true, Momentum: .9, Decay: .01}
	adafactorDecayed  = update.Adafactor{Options: update.Options{LR: .1, WeightDecay: .5}, DecayRate: .8, EpsSquare: 1e-3, EpsParam: .9, ClipThreshold: .9, DecayedScale: true, MinDim: 1}
)

var _ = register(&Entry{
	Name: "Adafactor",
	Samples: []Sample{
		{"adafactor", adafactorRelative, 0xbf1e94e9430ab6f0},
		{"adafactor momentum", adafactorMomentum, 0x2a8edfcbc41c1f03},
		{"adafactor decayed", adafactorDecayed, 0xa3100cb1c5a6508a},
	},
	Factored: []Sample{
		{"adafactor", adafactorRelative, 0xffa653ce5de67775},
		{"adafactor momentum", adafactorMomentum, 0x90cd8582ae46f4c8},
		{"adafactor decayed", adafactorDecayed, 0x6003b3f6d2d6f3c3},
	},
	Refused: []Refused{
		{"L1", "1", update.Adafactor{Options: update.Options{LR: 1, L1: 1}, DecayRate: .8, EpsSquare: 1e-30}},
		{"L2", "1", update.Adafactor{Options: update.Options{LR: 1, L2: 1}, DecayRate: .8, EpsSquare: 1e-30}},
	},
	Formula: adafactorFormula,
	Random: []Kind{{"Adafactor", func(d Draw) update.Rule {
		o := d.options()
		o.L2 = 0
		r := update.Adafactor{Options: o, DecayRate: .5 + d.Float64()/2, EpsParam: d.Power(-6, 0), NoParamScale: d.IntN(3) == 0, DecayedScale: d.IntN(3) == 0, RelativeStep: d.IntN(2) == 0}
		if d.IntN(2) == 0 {
			r.EpsFloor = d.eps()
		} else {
			r.EpsSquare = d.Power(-30, 0)
		}
		if d.IntN(3) > 0 {
			r.ClipThreshold = d.Power(-2, 2)
		}
		if d.IntN(3) == 0 {
			r.Momentum, r.Decay = d.beta(), d.Power(-9, -1)
		}
		return r
	}}},
	Presets: []Preset{
		{"torch", "Adafactor", torch.Adafactor()},
		{"keras", "Adafactor", keras.Adafactor()},
		{"optax", "Adafactor", optax.Adafactor(0)},
	},
	Verified: []Sample{{Name: "torch Adafactor", Rule: torch.Adafactor()}},
	Timed: []Timed{
		timedSums("Adafactor", 3, kernels.Adafactor, fallback.AdafactorScalars{Common: usual, Beta2: .999, Root2: .0316, Small: fallback.DropSquare, Added: 1e-33, Least: 1e-7}),
		timed("AdafactorMove", 3, kernels.AdafactorMove, fallback.AdafactorMoveScalars{Common: usual, Least: 1e-7, Step: 1e-9}),
		timed("AdafactorMomentum", 4, kernels.AdafactorMomentum, fallback.AdafactorMomentumScalars{Common: usual, Least: 1e-7, Step: 1e-9, Weight1: .1}).inFull(),
	},
})

// adafactorFormula is algorithms 4 and 5 of Shazeer and Stern 2018, with a step size
// relative to the parameters of section 8 and decay rates of section 7.2, and what each
// framework adds to squares or divisors.
func adafactorFormula(s *Step, tensor []Element) {
	r := s.Rule.(update.Adafactor)
	a := &adafactor{Step: s, r: r, weight: s.adafactorWeight(r)}
	var x []bounded.Number
	for i := range tensor {
		x = append(x, s.gradient(&tensor[i]))
	}
	var roots []bounded.Number
	if s.Columns > 0 {
		roots = a.matrix(tensor, x)
	} else {
		roots = a.vector(tensor, x)
	}
	var params []bounded.Number
	for i := range tensor {
		if x[i].Exact != 0 || x[i].Bound != 0 { // 0 may be divided by a product that is too small for float32
			x[i] = s.inFloat32(x[i].Div(roots[i]), 2)
		}
		params = append(params, tensor[i].P)
	}
	rate := a.rate(params, x)
	for i := range tensor {
		a.move(&tensor[i], x[i].Mul(rate))
	}
}

// An adafactor is a step of a tensor.
type adafactor struct {
	*Step
	r      update.Adafactor
	weight bounded.Number // α
}

// adafactorWeight is t^-DecayRate. Frameworks with scalars in float32 have it as the
// difference of 1 and β₂.
func (s *Step) adafactorWeight(r update.Adafactor) bounded.Number {
	weight := math.Pow(float64(s.T), -r.DecayRate)
	return s.scalar(weight, 4*0x1p-24/weight)
}

// inFloat32 is x where frameworks round so many times more.
func (s *Step) inFloat32(x bounded.Number, times float64) bounded.Number {
	if s.Dialect == (Dialect{}) {
		return x
	}
	return x.Off(math.Abs(x.Exact) * times * 0x1p-24)
}

// mean moves a mean towards a square, of which y is the share.
func (a *adafactor) mean(v, y bounded.Number) bounded.Number {
	rest := bounded.Scalar(1 - a.weight.Exact).Off(a.weight.Bound)
	return v.Mul(rest).Add(y)
}

// vector updates v, and is its roots.
func (a *adafactor) vector(tensor []Element, x []bounded.Number) []bounded.Number {
	var roots []bounded.Number
	for i := range tensor {
		v := &tensor[i].State[0]
		*v = a.mean(*v, a.square(x[i], a.weight))
		roots = append(roots, a.root(*v))
	}
	return roots
}

// square is a part of x² + EpsSquare. Squares that would be subnormal may be missing where
// that is invisible.
func (a *adafactor) square(x, part bounded.Number) bounded.Number {
	y := x.Square(part.Exact)
	y = y.Off(x.Exact * x.Exact * part.Bound)
	const most = 0x1p-126 * 0x1p14 // squares of a matrix are made smaller
	if seen := max(a.r.EpsFloor*a.r.EpsFloor, a.r.EpsSquare); !a.KeepSubnormals && y.Below(most) && most <= invisible*invisible*seen*0x1p14 {
		y = y.OrZero()
	}
	if a.r.EpsSquare > 0 {
		y = y.Add(bounded.Scalar(a.r.EpsSquare).Mul(part))
	}
	return y
}

func (a *adafactor) root(v bounded.Number) bounded.Number {
	return v.Sqrt().Max(bounded.Scalar(max(a.r.EpsFloor, 0x1p-126)))
}

// matrix updates r and c, and is the roots of what they say of v.
func (a *adafactor) matrix(tensor []Element, x []bounded.Number) []bounded.Number {
	columns := a.Columns
	rows := len(tensor) / columns
	ofRow, ofColumn := make([][]bounded.Number, rows), make([][]bounded.Number, columns)
	for i := range tensor {
		y := a.square(x[i], bounded.Float(1))
		ofRow[i/columns], ofColumn[i%columns] = append(ofRow[i/columns], y), append(ofColumn[i%columns], y)
	}
	share := func(squares []bounded.Number) bounded.Number {
		mean := bounded.Sum(squares).Div(bounded.Scalar(float64(len(squares))))
		return a.inFloat32(mean, 4).Mul(a.weight)
	}
	r, c := make([]bounded.Number, rows), make([]bounded.Number, columns)
	for i := range r {
		r[i] = a.mean(tensor[i*columns].State[0], share(ofRow[i]))
	}
	for j := range c {
		c[j] = a.mean(tensor[j].State[1], share(ofColumn[j]))
	}
	mean := bounded.Sum(r).Div(bounded.Scalar(float64(rows)))
	if a.r.EpsFloor > 0 {
		mean = mean.Max(bounded.Scalar(a.r.EpsFloor))
	}
	var roots []bounded.Number
	for i := range tensor {
		row, column := r[i/columns], c[i%columns]
		tensor[i].State[0], tensor[i].State[1] = row, column
		v := bounded.Float(0)
		if row.Exact != 0 || row.Bound != 0 {
			v = row.Div(mean).Mul(column)
		}
		roots = append(roots, a.root(v))
	}
	return roots
}

// rate is what u is multiplied by.
func (a *adafactor) rate(params, u []bounded.Number) bounded.Number {
	rho := a.LR
	if a.r.RelativeStep {
		rho = min(rho, 1/math.Sqrt(float64(a.T)))
	}
	rate := a.scalar(rho, 0)
	if !a.r.NoParamScale {
		size := a.rms(params)
		if a.r.DecayedScale {
			size = size.Mul(bounded.Scalar(math.Abs(1 - a.LR*a.WeightDecay)))
		}
		rate = rate.Mul(size.Max(bounded.Scalar(a.r.EpsParam)))
	}
	if a.r.ClipThreshold > 0 {
		rate = rate.Div(a.rms(u).Div(bounded.Scalar(a.r.ClipThreshold)).Max(bounded.Float(1)))
	}
	return rate
}

// rms is a root of a mean of squares, in an order that is not known if frameworks add up.
func (a *adafactor) rms(list []bounded.Number) bounded.Number {
	return a.inFloat32(bounded.RMS(list), float64(len(list)+6)/2)
}

func (a *adafactor) move(e *Element, u bounded.Number) {
	keeps := 1.
	var state []*bounded.Number
	if a.r.Momentum > 0 {
		m := &e.State[len(e.State)-1]
		*m = mean(*m, u, a.r.Momentum)
		u, keeps, state = *m, a.r.Momentum, append(state, m)
	}
	if a.r.Decay > 0 {
		u = u.Add(e.P.Mul(bounded.Scalar(a.r.Decay)))
	}
	a.Step.move(e, u)
	a.fade(e, keeps, state...)
}
