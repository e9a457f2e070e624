package registry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/lockstep-go/lockstep/update"
)

// A Draw makes random options.
type Draw struct{ *rand.Rand }

// NewDraw makes those of a seed.
func NewDraw(seed uint64) Draw { return Draw{rand.New(rand.NewPCG(seed, 99))} }

// Power is 10 to a power between two.
func (d Draw) Power(low, high float64) float64 { return math.Pow(10, low+(high-low)*d.Float64()) }

// beta is 0, or below 1 by 1e-7 or more.
func (d Draw) beta() float64 {
	if d.IntN(8) == 0 {
		return 0
	}
	return 1 - d.Power(-7, -.001)
}

// beta2 is a beta for means of squares, of which something is kept.
func (d Draw) beta2() float64 { return max(1e-3, d.beta()) }

// eps is from 1e-15 to 1.
func (d Draw) eps() float64 { return d.Power(-15, 0) }

// moments are the options of rules that have running means of the gradient and of a square.
func (d Draw) moments() (o update.Options, beta1, beta2, eps float64) {
	return d.options(), d.beta(), d.beta2(), d.eps()
}

// byName makes a rule of the type of another, with random numbers for the options whose
// names say what they are. Switches are off.
func (d Draw) byName(like update.Rule) update.Rule {
	v := reflect.New(reflect.TypeOf(like)).Elem()
	draws := map[string]func() float64{
		"Beta1":   d.beta,
		"Beta2":   d.beta2,
		"Eps":     d.eps,
		"EpsRoot": func() float64 { return float64(d.IntN(2)) * d.Power(-20, 0) },
	}
	for k := range v.NumField() {
		f := v.Type().Field(k)
		switch draw := draws[f.Name]; {
		case f.Name == "Options":
			v.Field(k).Set(reflect.ValueOf(d.options()))
		case draw != nil:
			v.Field(k).SetFloat(draw())
		case f.Type.Kind() == reflect.Float64:
			panic(fmt.Sprintf("registry: nobody knows how to draw %s of %T at random: its entry wants Random", f.Name, like))
		}
	}
	return v.Interface().(update.Rule)
}

func (d Draw) options() update.Options {
	o := update.Options{LR: d.Power(-6, -1)}
	if d.IntN(2) == 0 {
		o.WeightDecay = d.Power(-9, 0) / o.LR
	}
	if d.IntN(3) == 0 {
		o.L2 = d.Power(-9, 0)
	}
	return o
}

// cautious is a rule that is so in some way.
func (d Draw) cautious(r update.Rule) update.Rule {
	return With(r, func(o *update.Options) {
		o.KeepSubnormals = true
		o.CautiousUpdate = d.IntN(3) > 0
		o.CautiousDecay = !o.CautiousUpdate || d.IntN(2) == 0
	})
}

// Penalized is a rule with more of the options that all rules have, if it has them.
func (d Draw) Penalized(r update.Rule) update.Rule {
	q := With(r, func(o *update.Options) {
		o.Maximize = d.IntN(3) == 0
		o.KeepSubnormals = o.KeepSubnormals && d.IntN(2) == 0 || d.IntN(4) == 0
		if d.IntN(2) == 0 {
			o.L1 = d.Power(-9, 0)
			o.Proximal = d.IntN(2) == 0
		}
	})
	if _, err := update.New(0, q); err != nil {
		return r
	}
	return q
}

// Gradients are steady, sparse or noisy, of about one size: n in each of some steps.
func (d Draw) Gradients(n, steps int) [][]float64 {
	size, form := d.Power(-38, 8), d.IntN(3)
	list := make([][]float64, steps)
	for k := range list {
		list[k] = make([]float64, n)
		for i := range list[k] {
			list[k][i] = size * d.one(form, float64(i+1)/float64(n))
		}
	}
	return list
}

// one is a gradient of size 1 of a form.
func (d Draw) one(form int, steady float64) float64 {
	switch {
	case form == 0:
		return steady
	case form == 1 && d.IntN(10) != 0:
		return 0
	}
	return d.NormFloat64()
}
