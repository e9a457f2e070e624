package registry

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// cautions are the ways to be cautious.
var cautions = map[string]func(o *update.Options){
	"update": func(o *update.Options) { o.CautiousUpdate = true },
	"decay":  func(o *update.Options) { o.CautiousDecay = true },
	"both":   func(o *update.Options) { o.CautiousUpdate, o.CautiousDecay = true, true },
}

// refusers are the rules that refuse caution of both kinds, and momentumless those that refuse a
// cautious update, whose steps have the sign of the gradient.
var (
	refusers = []string{"AdaGradDA", "Adafactor", "ASGD", "DAdaptAdamW", "FTRL", "LAMB", "LARS", "MADGRAD", "Muon", "NovoGrad", "Prodigy", "SOAP",
		"RowwiseAdaGrad", "RowwiseAdam", "RowwiseLAMB", "ScheduleFreeAdamW", "ScheduleFreeRAdam", "ScheduleFreeSGD", "StableAdamW"}
	momentumless = []string{"AdaGrad", "Adadelta", "RMSprop", "Rprop", "SGD", "SignSGD"}
)

// eachCautious runs a test for every sample with each caution that its rule does not refuse,
// and wants the rules above to refuse theirs.
func eachCautious(t *testing.T, test func(t *testing.T, r update.Rule)) {
	for _, s := range Samples() {
		o, name := Options(s.Rule), Of(s.Rule).Name
		momentum := slices.Contains(slotNames(mustNew(t, 1, s.Rule), 0), "momentum") || s.Rule.Name() == "signum"
		for way, caution := range cautions {
			r := With(s.Rule, caution)
			_, err := update.New(1, r)
			want := ""
			switch {
			case way != "decay" && (o.Proximal || slices.Contains(refusers, name) || slices.Contains(momentumless, name) && !momentum):
				want = "CautiousUpdate"
			case way == "decay" && (o.Proximal || slices.Contains(refusers, name)):
				want = "CautiousDecay"
			}
			if want != "" {
				wantArg(t, err, want, "true")
				wantOptions(t, err, r)
				continue
			}
			t.Run(s.Name+", "+way, func(t *testing.T) {
				must(t, err)
				test(t, r)
			})
		}
	}
}

// TestCaution follows every sample, cautious and with a decay, beside its formula.
func TestCaution(t *testing.T) {
	n, steps, seeds := 32, 100, 8
	if testing.Short() || emulated {
		n, steps, seeds = 8, 40, 2
	}
	compared, narrow := 0, 0
	eachCautious(t, func(t *testing.T, r update.Rule) {
		for seed := range seeds {
			d := NewDraw(uint64(seed))
			r := With(r, func(o *update.Options) { o.WeightDecay += float64(d.IntN(2)) * d.Power(-2, 0) / max(o.LR, 1e-6) })
			w, err := follow(t, r, r, 0, d, n, 0, steps)
			if err != nil {
				t.Error(err)
			}
			compared, narrow = compared+w.compared, narrow+w.narrow
		}
	})
	if narrow < compared/2 {
		t.Errorf("%d bounds of %d say something", narrow, compared)
	}
}

// TestCautionSees tells formulas that the rule is as cautious as it is not.
func TestCautionSees(t *testing.T) {
	if emulated {
		t.Skip("this is about formulas, not about machines")
	}
	eachCautious(t, func(t *testing.T, r update.Rule) {
		r = With(r, func(o *update.Options) { o.WeightDecay += .1 / max(o.LR, 1e-6) })
		for _, of := range []func(o *update.Options){
			func(o *update.Options) { o.CautiousUpdate = !o.CautiousUpdate },
			func(o *update.Options) { o.CautiousDecay = !o.CautiousDecay },
		} {
			if told := With(r, of); !seen(t, r, told, 0) {
				t.Errorf("nobody sees that the rule is not %+v", told)
			}
		}
	})
}

// TestCautiousBits has the caller be cautious: of every sample without penalties, in the bits
// of the rule's own steps, which an optimizer without decay takes from parameters of 0.
func TestCautiousBits(t *testing.T) {
	const steps = 18
	sizes := []int{1, tune.BlockLen - 1, 2*tune.BlockLen + 1, tune.UnitLen + 5}
	if testing.Short() {
		sizes = sizes[:3]
	}
	eachCautious(t, func(t *testing.T, r update.Rule) {
		r = With(r, func(o *update.Options) { o.L1, o.L2, o.WeightDecay, o.KeepSubnormals = 0, 0, 3, true })
		options := Options(r)
		bare := With(r, func(o *update.Options) { o.WeightDecay, o.CautiousUpdate, o.CautiousDecay = 0, false, false })
		for _, n := range sizes {
			o, own := mustNew(t, n, r), mustNew(t, n, bare)
			p, q, zero := uniform(n, 1), uniform(n, 1), float32(math.Copysign(0, -1))
			for i := 0; i < n; i += 5 { // some without a gradient at first
				p[i], q[i] = zero, zero
			}
			for step := range steps {
				g := uniform(n, uint64(step+2))
				for i := step % 3; i < n; i += 7 {
					g[i] = 0
				}
				d := slices.Repeat([]float32{zero}, n)
				must(t, o.Step(p, g))
				must(t, own.Step(d, g))
				takeByHand(options, q, g, d)
				wantSame(t, "the steps", o, own, p, q)
			}
		}
	})
}

// takeByHand takes a cautious step of -d.
func takeByHand(o update.Options, p, g, d []float32) {
	agreeing := 0
	for i := range g {
		if g[i] < 0 && d[i] > 0 || g[i] > 0 && d[i] < 0 {
			agreeing++
		}
	}
	trust, decay := float32(1/max(float64(agreeing)/float64(len(p)), .001)), float32(o.LR*o.WeightDecay)
	for i := range p {
		u, left := -d[i], p[i]*decay
		if o.CautiousDecay && (p[i] < 0 && u > 0 || p[i] > 0 && u < 0) {
			left = p[i] * 0
		}
		switch agrees := g[i] < 0 && u < 0 || g[i] > 0 && u > 0; {
		case o.CautiousUpdate && agrees:
			u *= trust
		case o.CautiousUpdate:
			u *= 0
		}
		p[i] -= u + left
	}
}

// TestCautiousSwitches has rules become cautious and careless again, with small tensors, which
// share calls in between, and large ones, of which some have no gradient.
func TestCautiousSwitches(t *testing.T) {
	sizes := []int{3, tune.SmallLen, tune.UnitLen + 7, 0, 40, tune.SmallLen + 1} // of r every other one
	absent := map[int]int{3: 4, 5: 1, 6: 2, 7: 0}
	eachCautious(t, func(t *testing.T, r update.Rule) {
		careless := With(r, func(o *update.Options) { o.CautiousUpdate, o.CautiousDecay = false, false })
		o, params, grads := set(t, sizes, careless, Get("sgd"))
		var alone []*update.Optimizer
		var own [][]float32
		for k, n := range sizes {
			one := careless
			if k%2 == 1 {
				one = Get("sgd")
			}
			alone, own = append(alone, mustNew(t, n, one)), append(own, slices.Clone(params[k]))
		}
		for step := range 8 {
			now := []update.Rule{careless, r}[step/2%2]
			must(t, o.SetRule(0, now))
			list := slices.Clone(grads)
			if k, ok := absent[step]; ok {
				list[k] = nil
			}
			must(t, o.StepSet(params, list))
			for k := range sizes {
				if k%2 == 0 {
					must(t, alone[k].SetRule(0, now))
				}
				if list[k] != nil || sizes[k] == 0 {
					must(t, alone[k].Step(own[k], grads[k]))
				}
				if !sameBits(params[k], own[k]) {
					t.Fatalf("step %d: tensor %d of %d elements differs from one alone", step, k, sizes[k])
				}
			}
		}
	})
}

// TestCautiousRefuses has no step of ranges or rows that would have to count elsewhere.
func TestCautiousRefuses(t *testing.T) {
	eachCautious(t, func(t *testing.T, r update.Rule) {
		o := mustNewMatrix(t, 6, 3, r)
		begun, rows := o.Begin(), error(nil)
		if begun == nil {
			must(t, o.Apply(0, 0, make([]float32, 6), make([]float32, 6)))
			must(t, o.End())
		}
		rows = update.StepRows(o, make([]float32, 6), []int32{1}, make([]float32, 3))
		for what, err := range map[string]error{"ranges": begun, "rows": rows} {
			var e *update.ArgError
			if counts := Options(r).CautiousUpdate; errors.As(err, &e) != counts || counts && e.Arg != "rule" {
				t.Errorf("%s: the error is %v", what, err)
			}
		}
	})
}
