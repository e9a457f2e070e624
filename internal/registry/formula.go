package registry

import (
	"math"
	"reflect"

	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
)

// A Formula takes one step of all elements of a tensor.
type Formula func(s *Step, tensor []Element)

// An Element is a parameter with its gradient and what the rule remembers of it, in the
// order of Optimizer.Buffers.
type Element struct {
	P, G  bounded.Number
	State []bounded.Number

	ceased bool // the gradient may be taken for 0

	caution // of a cautious step
}

// A Step is what the elements of a tensor share.
type Step struct {
	Rule  update.Rule
	T     int64 // its number, from 1
	LR    float64
	Scale float64 // of gradients

	// Columns are those of a row-major matrix that the rule factors, 0 of a vector. Of what
	// is of a row or a column, all its elements have the same.
	Columns int

	Dialect

	update.Options
	scale, l1, l2, decay bounded.Number
}

// A Dialect is how a framework's arithmetic differs from one that takes each operation
// of a formula once. The zero Dialect is ours.
type Dialect struct {
	DecayFactor bool // decoupled decay is a factor 1 - lr·decay of float32
	ScalarsIn32 bool // what follows from others is float32: powers of β, norms
	Flushes     bool // subnormal results are 0
	RatesIn32   bool // the 1-β of NAdam and Schedule-Free are of β in float32
	ProductIn32 bool // the product of NAdam's momenta is multiplied in float32
	LateZ       bool // Schedule-Free's mean is that of parameters and a z which has taken the step
}

// Take takes a step of a rule.
func (e *Entry) Take(s Step, tensor []Element) {
	s.Options = Options(s.Rule)
	scale := s.Scale
	if s.Maximize {
		scale = -scale
	}
	s.scale, s.decay = bounded.Scalar(scale), bounded.Scalar(s.LR*s.WeightDecay)
	if s.Flushes {
		s.scale = s.scale.Flushing()
	}
	if !s.Proximal {
		s.l1, s.l2 = bounded.Scalar(s.L1), bounded.Scalar(s.L2)
	}
	e.Formula(&s, tensor)
	s.takeCautiously(tensor)
}

// gradient is what comes in: scaled, with the gradients of its penalties, and nothing
// where it is too small to count.
func (s *Step) gradient(e *Element) bounded.Number { return s.counted(s.whole(e, s.counted)) }

// whole is gradient before that; counted sees what is scaled.
func (s *Step) whole(e *Element, counted func(x bounded.Number) bounded.Number) bounded.Number {
	x := e.G.Mul(s.scale)
	e.ceased = x.Below(0x1p-127)
	e.x = s.penalized(e, x)
	return s.penalized(e, counted(x))
}

// penalized is a gradient with those of the penalties.
func (s *Step) penalized(e *Element, x bounded.Number) bounded.Number {
	if s.l2.Exact != 0 {
		x = x.Add(e.P.Mul(s.l2))
	}
	if s.l1.Exact != 0 {
		x = x.Add(e.P.Sign().Mul(s.l1))
	}
	return x
}

func (s *Step) counted(x bounded.Number) bounded.Number {
	if !s.KeepSubnormals && x.Below(0x1p-127) {
		return x.OrZero()
	}
	return x
}

// signed is gradient for rules that look at signs: nothing is too small.
func (s *Step) signed(e *Element) bounded.Number {
	return s.whole(e, func(x bounded.Number) bounded.Number { return x })
}

// move takes u off a parameter together with its decay, as in algorithm 2 of Loshchilov
// and Hutter, and takes a proximal step whose size is the learning rate.
func (s *Step) move(e *Element, u bounded.Number) {
	s.descend(e, u)
	if s.Proximal && s.L1+s.L2 != 0 {
		e.P = e.P.Soft(bounded.Scalar(s.LR * s.L1)).Div(bounded.Scalar(1 + s.LR*s.L2))
	}
}

// moveProximally is move with an element's own step size (Duchi, Singer 2009).
func (s *Step) moveProximally(e *Element, u, rate bounded.Number) {
	s.descend(e, u)
	if s.Proximal && s.L1+s.L2 != 0 {
		e.P = e.P.Soft(rate.Mul(bounded.Scalar(s.L1))).Div(rate.Mul(bounded.Scalar(s.L2)).Add(bounded.Float(1)))
	}
}

func (s *Step) descend(e *Element, u bounded.Number) {
	switch {
	case s.cautious():
		e.u = u
		return
	case s.WeightDecay == 0:
	case s.DecayFactor:
		e.P = e.P.Mul(bounded.Scalar(1 - s.LR*s.WeightDecay))
	default:
		u = u.Add(e.P.Mul(s.decay))
	}
	e.P = e.P.Sub(u)
}

// mean is a running mean, moved towards x by a part 1-β of their distance, from the
// nearer end.
func mean(m, x bounded.Number, beta float64) bounded.Number {
	if beta < .5 {
		return x.Sub(x.Sub(m).Mul(bounded.Scalar(beta)))
	}
	return m.Add(x.Sub(m).Mul(bounded.Scalar(1 - beta)))
}

// Small numbers may be taken for 0 where it is invisible beside eps, that is where they
// are below a part of it.
const invisible = .02

// squares is the running mean of squares, βv + (1-β)x². Squares that would be subnormal
// may be missing where that is invisible.
func (s *Step) squares(v, x bounded.Number, beta, eps float64) bounded.Number {
	return v.Mul(bounded.Scalar(beta)).Add(s.square(x, 1-beta, eps))
}

func (s *Step) square(x bounded.Number, part, eps float64) bounded.Number {
	y := x.Square(part)
	if !s.KeepSubnormals && y.Below(0x1p-126) && x.Below(invisible*eps) {
		return y.OrZero()
	}
	return y
}

// every16th reports whether this is a step in which what is small may go: one in sixteen,
// or each if something keeps less than half of itself.
func (s *Step) every16th(keeps float64) bool {
	return !s.KeepSubnormals && (s.T%16 == 0 || keeps < .5)
}

// forget lets a small mean of squares go.
func (s *Step) forget(v *bounded.Number, beta, eps, keeps float64) {
	most := 16 * (1 - beta) * (invisible * eps) * (invisible * eps)
	if s.every16th(keeps) && v.Below(0x1p-95) && v.Below(most) {
		*v = v.OrZero()
	}
}

// fade lets go of what is small where the gradient has ceased: state that fades, and a
// parameter that decays.
func (s *Step) fade(e *Element, keeps float64, state ...*bounded.Number) {
	if !s.every16th(keeps) || !e.ceased {
		return
	}
	if s.WeightDecay+s.L2 != 0 || s.Proximal && s.L1 != 0 {
		if e.fades = s.cautious(); !e.fades {
			state = append(state, &e.P)
		}
	}
	for _, x := range state {
		if x.Below(0x1p-95) {
			*x = x.OrZero()
		}
	}
}

// meantBeta2 has for β₂ the float32 nearest to it, as documented, which 1-β₂ and c₂ are of
// where the bias is corrected: a Meant.
func meantBeta2(r update.Rule) update.Rule {
	v := reflect.New(reflect.TypeOf(r)).Elem()
	v.Set(reflect.ValueOf(r))
	if no := v.FieldByName("NoBiasCorrection"); !no.IsValid() || !no.Bool() {
		v.FieldByName("Beta2").SetFloat(single(v.FieldByName("Beta2").Float()))
	}
	return v.Interface().(update.Rule)
}

// A correction of bias is 1-βᵗ, and how far off it is relative to itself.
type correction struct{ value, off float64 }

// correction of a running mean that begins at 0. In float32 the error of β counts t
// times, a power is off by up to a unit, and the difference from 1 rounds once.
func (s *Step) correction(beta float64) correction {
	if beta == 0 {
		return correction{1, 0}
	}
	t := float64(s.T)
	c := correction{value: -math.Expm1(t * math.Log(beta))}
	if s.ScalarsIn32 {
		b := bounded.Scalar(beta)
		off := t*math.Pow(beta, t-1)*b.Bound + 2*bounded.Scalar(math.Pow(beta, t)).Bound + bounded.Scalar(c.value).Bound
		c.off = off / c.value
	}
	return c
}

// scalar is a number that follows from corrections, off by that much relative to itself.
// What follows in float32 rounds four times more.
func (s *Step) scalar(x, off float64) bounded.Number {
	y := bounded.Scalar(x)
	if s.ScalarsIn32 {
		y = y.Off(math.Abs(x) * (off + 4*0x1p-24))
	}
	return y
}
