package registry

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
)

// A witness compares steps of an optimizer with a rule's formula: from what parameters
// and state are before a step, the formula knows what they are after it, within a bound
// that follows from its operations.
type witness struct {
	o        *update.Optimizer
	e        *Entry
	rule     update.Rule // what the formula is told
	scale    float64
	columns  int   // of a matrix that is factored, or 0
	late     int64 // how many steps the formula is told too many
	compared int
	narrow   int // of them, those whose bound says something
}

// step takes a step and returns what is beyond its bound, if anything.
func (w *witness) step(p, g []float32) error {
	list := matrix(w.o, p, g, w.columns)
	w.e.Take(Step{Rule: w.rule, T: w.o.Steps() + 1 + w.late, LR: w.o.LR(), Scale: w.scale, Columns: w.columns}, list)
	if err := w.o.Step(p, g); err != nil {
		return err
	}
	for i := range list {
		if err := w.judge("parameter", list[i].P, p[i]); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		for k, name := range slotNames(w.o, 0) {
			b := buffer(w.o, 0, name)
			if err := w.judge(name, list[i].State[k], b[place(i, len(p), w.columns, len(b))]); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	}
	return nil
}

// judge compares our number with the formula's, and with it what a plain program gets,
// which shows that the bound is no tighter than its operations are.
func (w *witness) judge(what string, want bounded.Number, got float32) error {
	w.compared++
	if want.Bound <= 1e-5*math.Abs(want.Exact) {
		w.narrow++
	}
	if !want.Contains(got) {
		return fmt.Errorf("step %d: %s is %g, want %g within %.3g", w.o.Steps(), what, got, want.Exact, want.Bound)
	}
	if !want.Contains(want.Single) {
		return fmt.Errorf("step %d: a plain program's %s is %g, want %g within %.3g", w.o.Steps(), what, want.Single, want.Exact, want.Bound)
	}
	return nil
}

// follow takes some steps of a rule and compares them with the formula of another, which
// is the same but where a test wants to see it fail.
func follow(t *testing.T, r, told update.Rule, late int64, d Draw, n, columns, steps int) (*witness, error) {
	t.Helper()
	scale := d.Power(-30, 30)
	if d.IntN(2) == 0 {
		scale = 1
	}
	e := Of(r)
	w := &witness{o: mustNewMatrix(t, n, columns, r), e: e, rule: e.meant(told), columns: columns, scale: scale, late: late}
	must(t, w.o.SetGradScale(scale))
	p, g := make([]float32, n), make([]float32, n)
	for i := range p {
		p[i] = d.param()
	}
	lr := Options(r).LR
	for step, row := range d.Gradients(n, steps) {
		for i, x := range row {
			g[i] = float32(x / scale)
		}
		must(t, w.o.SetLR(lr*(1-float64(step)/float64(2*steps))))
		if err := w.step(p, g); err != nil {
			return w, fmt.Errorf("%+v, scale %g: %w", r, scale, err)
		}
	}
	return w, nil
}

// param is a parameter: of ordinary size, small, or 0.
func (d Draw) param() float32 {
	switch d.IntN(4) {
	case 0:
		return 0
	case 1:
		return float32(d.NormFloat64() * d.Power(-40, 4))
	}
	return float32(d.NormFloat64())
}

// TestAgreement follows every sample and random options for hundreds of steps.
func TestAgreement(t *testing.T) {
	n, steps, seeds := 32, 300, 12
	if *all {
		seeds = 60
	}
	if testing.Short() || emulated {
		n, steps, seeds = 8, 60, 3
	}
	for _, e := range All() {
		t.Run(e.Name, func(t *testing.T) {
			compared, narrow := 0, 0
			check := func(r update.Rule, d Draw, columns int) {
				w, err := follow(t, r, r, 0, d, n, columns, steps)
				if err != nil {
					t.Error(err)
				}
				compared, narrow = compared+w.compared, narrow+w.narrow
			}
			for k, s := range e.Samples {
				for seed := range seeds {
					check(s.Rule, NewDraw(uint64(k*1000+seed)), 0)
				}
			}
			for k, s := range e.Factored {
				for seed := range seeds {
					check(s.Rule, NewDraw(uint64(k*1000+seed)), columnsOf(n, seed))
				}
			}
			for k, kind := range e.Random {
				for seed := range 4 * seeds {
					d := NewDraw(uint64(k*1000 + seed))
					check(d.Penalized(kind.Draw(d)), d, 0)
					if d := NewDraw(uint64(k*1000 + seed)); e.Factored != nil {
						check(d.Penalized(kind.Draw(d)), d, columnsOf(n, seed))
					}
				}
			}
			t.Logf("%d numbers compared, %.1f %% of bounds below 1e-5 of them", compared, 100*float64(narrow)/float64(compared))
			if narrow < compared/2 {
				t.Errorf("%d bounds of %d say something", narrow, compared)
			}
		})
	}
}

// columnsOf are those of a matrix of n elements, a power of 2, which is wide or high.
func columnsOf(n, seed int) int {
	list := []int{n / 4, 2, n, 1}
	return list[seed%len(list)]
}

// TestAgreementSees tells formulas another number for each option in turn, by 1 % or
// for eps ten times as large, and the other truth for each switch: that is seen.
func TestAgreementSees(t *testing.T) {
	if emulated {
		t.Skip("this is about formulas, not about machines")
	}
	for _, s := range Samples() {
		for name, told := range mutants(s.Rule) {
			if !slices.Contains(idle[s.Name], name) && !seen(t, s.Rule, told, 0) {
				t.Errorf("%s: nobody sees another %s: give the sample options beside which it shows, or add it to idle", s.Name, name)
			}
		}
		if counts(t, s.Rule) && !seen(t, s.Rule, s.Rule, 1) {
			t.Errorf("%s: nobody sees that it is another step", s.Name)
		}
	}
}

// counts reports whether a rule's formula depends on the number of the step.
func counts(t *testing.T, r update.Rule) bool {
	t.Helper()
	take := func(number int64) []Element {
		list := tensor(mustNew(t, 1, r), []float32{1}, []float32{.5})
		Of(r).Take(Step{Rule: r, T: number, LR: Options(r).LR, Scale: 1}, list)
		return list
	}
	return !reflect.DeepEqual(take(1), take(2))
}

// idle are switches that mean nothing beside other options of a sample.
var idle = map[string][]string{
	"adam uncorrected": {"EpsHat"}, "adam root": {"EpsHat"}, "amsgrad corrected": {"EpsHat"}, // nothing is corrected, or eps is beside eps_root
	"nadam constant": {"EpsHat"}, "radam nesterov": {"EpsHat"}, // eps is beside eps_root
	"adafactor": {"EpsParam"}, "adafactor decayed": {"MinDim", "RelativeStep"}, // parameters are larger, and the rate smaller
	"adafactor momentum": {"EpsParam", "DecayedScale", "RelativeStep"},   // nothing is relative to parameters
	"rmsprop":            {"LRInside"}, "rmsprop centered": {"LRInside"}, // there is no buffer
	"sophia": {"Beta2", "Gamma"}, "sophia authors": {"Beta2", "Gamma"}, // nobody estimates h: see TestSophia of update
}

// seen reports whether one of some runs does not agree.
func seen(t *testing.T, r, told update.Rule, late int64) bool {
	t.Helper()
	for seed := range uint64(60) {
		columns := 0
		if seed%2 == 1 && factors(t, r) {
			columns = columnsOf(32, int(seed/2))
		}
		if _, err := follow(t, r, told, late, NewDraw(seed), 32, columns, 20); err != nil {
			return true
		}
	}
	return false
}

// factors reports whether a rule has another state of a small matrix.
func factors(t *testing.T, r update.Rule) bool {
	t.Helper()
	return !slices.Equal(slotNames(mustNewMatrix(t, 32, 8, r), 0), slotNames(mustNew(t, 32, r), 0))
}

// mutants are a rule with one option changed, by the option's name.
func mutants(r update.Rule) map[string]update.Rule {
	// These begin state, or say what is allowed; TestCautionSees has the last two.
	silent := []string{"InitialAccumulator", "InitialScale", "AllowZeroEps", "KeepSubnormals", "ClampFirst", "CautiousUpdate", "CautiousDecay"}
	list := map[string]update.Rule{}
	typ := reflect.TypeOf(r)
	for _, f := range reflect.VisibleFields(typ) {
		v := reflect.New(typ).Elem()
		v.Set(reflect.ValueOf(r))
		if field := v.FieldByIndex(f.Index); !slices.Contains(silent, f.Name) && mutate(f.Name, field) {
			list[f.Name] = v.Interface().(update.Rule)
		}
	}
	return list
}

// mutate changes a field, if that makes another rule.
func mutate(name string, field reflect.Value) bool {
	switch {
	case field.Kind() == reflect.Bool && name != "Proximal" && name != "AMSGrad" && name != "CorrectedMax" && name != "Centered": // which need another state, or L1
		field.SetBool(!field.Bool())
	case field.Kind() != reflect.Float64 || field.Float() == 0 || name == "LR":
		return false
	case strings.HasPrefix(name, "Beta") || name == "Rho":
		field.SetFloat(1 - (1-field.Float())*1.01)
	case name == "Eps": // beside much larger numbers
		field.SetFloat(field.Float() * 10)
	default:
		field.SetFloat(field.Float() * 1.01)
	}
	return true
}
