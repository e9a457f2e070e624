package update

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// choices are the values that TestOracle gives an option, zero first where it
// turns the option off. An option without some is an error there.
var choices = map[string][]any{
	"LR":             {.05},
	"WeightDecay":    {0., .3, 3.}, // with the last no half of a parameter is left
	"L2":             {0., .2},
	"L1":             {0., .1},
	"Proximal":       {false, true},
	"Maximize":       {false, true},
	"KeepSubnormals": {false, true},

	"Momentum":  {0., .4, .9},
	"Dampening": {0., .25},
	"Nesterov":  {false, true},
	"LRInside":  {false, true},

	"LRDecay":            {0., .1},
	"InitialAccumulator": {0., .1},
	"Eps":                {1e-8},
	"EpsInside":          {false, true},

	"Beta1":            {.9, .4},
	"Beta2":            {.99, .4},
	"EpsRoot":          {0., 1e-6},
	"EpsHat":           {false, true},
	"AMSGrad":          {false, true},
	"NoBiasCorrection": {false, true},
}

// eachChoice visits a rule with every combination of the choices. On the way it
// sets the options of one rule after the other.
func eachChoice(t *testing.T, rule Rule, visit func(r Rule)) {
	v := reflect.New(reflect.TypeOf(rule)).Elem()
	var set func(fields []reflect.Value, names []string)
	set = func(fields []reflect.Value, names []string) {
		if len(fields) == 0 {
			visit(v.Interface().(Rule))
			return
		}
		for _, x := range choices[names[0]] {
			fields[0].Set(reflect.ValueOf(x))
			set(fields[1:], names[1:])
		}
	}
	var fields []reflect.Value
	var names []string
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Anonymous {
			continue
		}
		if len(choices[f.Name]) == 0 {
			t.Fatalf("%T: there are no choices for the option %s", rule, f.Name)
		}
		fields, names = append(fields, v.FieldByIndex(f.Index)), append(names, f.Name)
	}
	set(fields, names)
}

// A moment is what a step depends on beside the rule and the buffers.
type moment struct{ t, lr, scale float64 }

// An amount is a number of the oracle's with the sum of the magnitudes that it
// was added up from: rounding errors are in proportion to those, whatever
// cancels.
type amount struct{ value, size float64 }

func (x amount) plus(k float64, y amount) amount {
	return amount{x.value + k*y.value, x.size + math.Abs(k)*y.size}
}

func exactly(x float64) amount { return amount{x, math.Abs(x)} }

// lossGradient is what the rules call g: with the scale, its sign, and the
// penalties' gradients. Rules take it for 0 below a bound, and if there is no
// penalty that they do not apply themselves they do so before it is scaled.
func lossGradient(r Rule, at moment, p, g float64) amount {
	o := r.options()
	_, isSGD := r.(SGD)
	scale := at.scale
	if o.Maximize {
		scale = -scale
	}
	x := exactly(g * scale)
	if o.Proximal || o.L1 == 0 && (o.L2 == 0 || isSGD) {
		least := counts(r)
		scaled := math.Inf(1)
		if _, isMomentum := r.(Momentum); !isMomentum && !isSGD { // the others square it
			scaled = math.Abs(float64(float32(x.value)))
		}
		if min(math.Abs(g), scaled) < least {
			x = amount{}
		}
		if o.Proximal {
			return x
		}
		return x.plus(o.L2, exactly(lasting(r, at, p)))
	}
	sign := 0.
	switch {
	case p > 0:
		sign = 1
	case p < 0:
		sign = -1
	}
	x = x.plus(o.L2, exactly(p)).plus(o.L1, exactly(sign))
	if math.Abs(x.value) < counts(r) {
		return amount{}
	}
	return x
}

// counts is the least gradient that counts: for rules that square it that of the
// least square that is not subnormal, else that of state.
func counts(r Rule) float64 {
	if r.options().KeepSubnormals {
		return 0
	}
	switch r.(type) {
	case AdaGrad, Adam:
		return 0x1p-63
	}
	return flushed
}

// flushes reports whether a step takes small state for 0.
func flushes(r Rule, at moment) bool {
	fades := false
	switch r := r.(type) {
	case Momentum:
		fades = r.Momentum < .5
	case Adam:
		fades = min(r.Beta1, r.Beta2) < .5
	case AdaGrad: // whose state never shrinks
		return false
	}
	return !r.options().KeepSubnormals && (math.Mod(at.t, 16) == 0 || fades)
}

// input is the factor of the gradient in the buffer of Momentum.
func input(r Momentum, at moment) float64 {
	if r.LRInside {
		return at.lr
	} else if at.t > 1 {
		return 1 - r.Dampening
	}
	return 1
}

// lasting is a parameter, or 0 if it decays and is as small as state that is 0.
func lasting(r Rule, at moment, p float64) float64 {
	o := r.options()
	decay := o.WeightDecay
	if _, ok := r.(SGD); ok && !o.Proximal && o.L1 == 0 {
		decay += o.L2
	}
	if tiny(r, at, p, 1-at.lr*decay) {
		return 0
	}
	return p
}

// nextState is the state after a step from the parameter, the gradient and the
// state before. The largest v is that of those stored.
func nextState(r Rule, at moment, p, g float64, s, stored [maxSlots]float64) (next [maxSlots]amount) {
	x := lossGradient(r, at, p, g)
	square := amount{x.value * x.value, x.size * x.size}
	switch r := r.(type) {
	case Momentum:
		next[0] = amount{}.plus(r.Momentum, exactly(s[0])).plus(input(r, at), x)
	case AdaGrad:
		next[0] = exactly(s[0]).plus(1, square)
	case Adam:
		m, v := exactly(s[0]), exactly(s[1])
		next[0] = m.plus(1-r.Beta1, x.plus(-1, m))
		next[1] = amount{}.plus(r.Beta2, v).plus(1-r.Beta2, square)
		next[2] = amount{max(s[2], stored[1]), 0}
	}
	return next
}

// nextParam is the parameter after a step, from the state after it, and how far
// off it may be because numbers on the way were subnormal.
func nextParam(t *testing.T, r Rule, at moment, p, g float64, s [maxSlots]float64) (next amount, slack float64) {
	o := r.options()
	x := lossGradient(r, at, p, g)
	// The factor of what the step subtracts, the root in it, and a factor that both
	// sides of the quotient may have.
	rate, divisor, folded := at.lr, 1., 1.
	switch r := r.(type) {
	case SGD:
	case Momentum:
		if r.LRInside {
			x.value, x.size = at.lr*x.value, at.lr*x.size
			rate = 1
		}
		if r.Nesterov {
			x = x.plus(r.Momentum, exactly(s[0]))
		} else {
			x = exactly(s[0])
		}
	case AdaGrad:
		divisor = math.Sqrt(s[0]) + r.Eps
		if r.EpsInside {
			divisor = math.Sqrt(s[0] + r.Eps)
		}
		rate = at.lr / (1 + (at.t-1)*r.LRDecay) / divisor
	case Adam:
		c1, c2 := 1-math.Pow(r.Beta1, at.t), 1-math.Pow(r.Beta2, at.t)
		if r.NoBiasCorrection {
			c1, c2 = 1, 1
		}
		v := s[1]
		if r.AMSGrad {
			v = s[2]
		}
		lr := at.lr / c1
		if r.EpsHat {
			lr *= math.Sqrt(c2)
		} else if v /= c2; r.EpsRoot != 0 && v > math.MaxFloat32 {
			v = math.Inf(1) // as in float32, and in Optax
		}
		divisor = math.Sqrt(v+r.EpsRoot) + r.Eps
		rate = lr / divisor
		folded = math.Sqrt(c2)
		x = exactly(s[0])
	default:
		t.Fatalf("the oracle does not know %T", r)
	}
	p = lasting(r, at, p)
	next = exactly(p).plus(-at.lr*o.WeightDecay, exactly(p)).plus(-rate, x)
	slack = underflow * (1 + rate + 1/(divisor*folded))
	if !o.Proximal {
		return next, slack
	}
	// FOBOS: the next parameter is the u that makes ½(u-next)² + rate·(L1·|u| + ½L2·u²)
	// least. The momentum of a proximal step does not change its size.
	size := rate
	if _, ok := r.(Momentum); ok {
		size = at.lr
	}
	next.size += size * o.L1
	next.value = math.Copysign(max(0, math.Abs(next.value)-size*o.L1), next.value)
	shrink := 1 / (1 + size*o.L2)
	switch r.(type) {
	case SGD, Momentum:
		if tiny(r, at, next.value, shrink) {
			next = amount{}
		}
	}
	return amount{}.plus(shrink, next), slack
}

// tiny reports whether a parameter that is multiplied by a factor is taken for 0
// before.
func tiny(r Rule, at moment, p, factor float64) bool {
	flushes := math.Mod(at.t, 16) == 0 || factor < .5
	return flushes && float32(factor) != 1 && math.Abs(p) < flushed && !r.options().KeepSubnormals
}

const oracleSteps = 6

// oracleParams meet, each of them, every kind of gradient: from those whose
// squares vanish in float32 to those whose squares overflow.
var oracleParams, oracleGrads = func() (params []float32, grads [oracleSteps][]float32) {
	rng := rand.New(rand.NewPCG(7, 0))
	about := func(size float64) float64 { return size * (rng.Float64() + .5) * float64(1-2*rng.IntN(2)) }
	for _, p := range []float64{0, math.Copysign(0, -1), 1, -.3, 1e3, -1e-6, 1e-20, 1e-30, -1e-40} {
		for _, gradient := range []func(step int) float64{
			func(int) float64 { return 0 },
			func(int) float64 { return about(1) },
			func(int) float64 { return about(math.Pow(10, 6*rng.Float64()-4)) },
			func(step int) float64 { return about(1 - float64(step/(oracleSteps/2))) }, // later 0
			func(int) float64 { return about(1e-14) },                                  // whose square is about 2⁻⁹⁵
			func(int) float64 { return about(0x1p-63) },
			func(int) float64 { return about(1e-20) },
			func(int) float64 { return about(1e-28) },
			func(int) float64 { return about(1e-38) },
			func(int) float64 { return about(1e20) },
		} {
			params = append(params, float32(p))
			for step := range grads {
				grads[step] = append(grads[step], float32(gradient(step)))
			}
		}
	}
	return params, grads
}()

// TestOracle compares each step of every rule, with every combination of
// options, with the formulas in float64.
func TestOracle(t *testing.T) {
	kinds := map[string]Rule{}
	for _, r := range rules {
		kinds[reflect.TypeOf(r).Name()] = r
	}
	for name, rule := range kinds {
		t.Run(name, func(t *testing.T) {
			var c comparison
			eachChoice(t, rule, func(r Rule) {
				for _, after := range []int64{0, 16 - oracleSteps/2} { // and so that the 16th is among them
					o, err := New(len(oracleParams), r)
					if arg := refused(r); arg != "" {
						wantArg(t, err, arg, "")
						return
					}
					must(t, err)
					must(t, o.SetSteps(after))
					c.follow(t, o, r)
				}
			})
			t.Logf("%d combinations; at most %.2f units off in the state and %.2f in parameters", c.combinations, c.state, c.param)
			if _, grows := rule.(AdaGrad); len(rule.slots()) > 0 && (c.kept == 0 || c.flushed == 0 && !grows) {
				t.Errorf("%d numbers below 2⁻⁹⁵ were kept and %d flushed", c.kept, c.flushed)
			}
		})
	}
}

// refused is an option of the choices that others rule out.
func refused(r Rule) string {
	switch r := r.(type) {
	case Momentum:
		switch {
		case r.Dampening != 0 && (r.Nesterov || r.LRInside):
			return "Dampening"
		case r.Momentum == 0 && r.Nesterov:
			return "Momentum"
		}
	case Adam:
		if r.EpsRoot != 0 && r.EpsHat {
			return "EpsRoot"
		}
	}
	return ""
}

// A comparison has one step of the oracle begin where the last float32 step
// ended, and makes its parameter from the float32 state: so errors do not add
// up, and the tolerance is that of one number of the formula.
//
// Every scalar and every operation rounds once, by at most a unit of 2⁻²⁴, which
// is half a unit in the last place or less. No number takes more than twelve, and
// as they go either way, seven of them is more than remains. Where numbers are
// subnormal an operation is off by up to half of the smallest one instead, and
// what follows may multiply that.
type comparison struct {
	combinations  int
	kept, flushed int     // numbers below 2⁻⁹⁵
	state, param  float64 // units off at most
}

const (
	roundoff  = 0x1p-24
	tolerance = 7 * roundoff
	flushed   = 0x1p-95
	underflow = 4 * 0x1p-150
)

// follow takes a new optimizer for some steps along the oracle, with a learning
// rate and a scale of the gradient that change.
func (c *comparison) follow(t *testing.T, o *Optimizer, r Rule) {
	t.Helper()
	c.combinations++
	names, p := o.Buffers(0), slices.Clone(oracleParams)
	initial := float32(0)
	if a, ok := r.(AdaGrad); ok {
		initial = float32(a.InitialAccumulator)
	}
	for _, name := range names {
		if x := o.Buffer(0, name)[len(p)-1]; x != initial {
			t.Fatalf("%+v: %s begins at %g, want %g", r, name, x, initial)
		}
	}
	last := make([][]float32, len(names))
	for step, g := range oracleGrads {
		at := moment{float64(o.Steps() + 1), r.options().LR * float64(oracleSteps-step), 1 / float64(1+step%3)}
		q := slices.Clone(p)
		for k, name := range names {
			last[k] = slices.Clone(o.Buffer(0, name))
		}
		must(t, o.SetLR(at.lr))
		must(t, o.SetGradScale(at.scale))
		must(t, o.Step(p, g))
		for i := range p {
			var before, after [maxSlots]float64
			for k, name := range names {
				before[k], after[k] = float64(last[k][i]), float64(o.Buffer(0, name)[i])
			}
			next := nextState(r, at, float64(q[i]), float64(g[i]), before, after)
			for k, name := range names {
				if !c.stored(after[k], next[k], !flushes(r, at)) {
					t.Fatalf("%+v, step %d: %s is %g after %g, with gradient %g, want %g", r, step+1, name, after[k], before[k], g[i], next[k].value)
				}
			}
			want, slack := nextParam(t, r, at, float64(q[i]), float64(g[i]), after)
			off := math.Abs(float64(p[i])-want.value) - slack
			if !(off <= tolerance*want.size) {
				t.Fatalf("%+v, step %d: %g with gradient %g becomes %g, want %g, %.1f units off", r, step+1, q[i], g[i], p[i], want.value, off/want.size/roundoff)
			}
			c.param = max(c.param, off/want.size/roundoff)
		}
	}
}

// stored reports whether a number that is stored as state is what it should be.
func (c *comparison) stored(got float64, want amount, keep bool) bool {
	if math.IsInf(want.value, 0) {
		return got == want.value
	}
	slack := underflow * max(1, want.size)
	allowed := tolerance*want.size + slack
	off := math.Abs(got - want.value)
	least, most := math.Abs(want.value)-allowed, math.Abs(want.value)+allowed
	zero := got == 0 && !math.Signbit(got)
	switch {
	case least > math.MaxFloat32:
		return got == math.Copysign(math.Inf(1), want.value)
	case !keep && most < flushed:
		if zero && want.value != 0 {
			c.flushed++
		}
		return zero
	case !keep && least < flushed && zero:
		return true
	case !keep && math.Abs(got) < flushed:
		return false
	case keep && got != 0 && math.Abs(got) < flushed:
		c.kept++
	}
	if off <= slack {
		return true
	}
	c.state = max(c.state, (off-slack)/want.size/roundoff)
	return off <= allowed
}
