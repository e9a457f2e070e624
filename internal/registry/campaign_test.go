package registry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
)

// TestCampaign runs random options beside the formula in float64, and beside the formula
// in plain float32, with decay as PyTorch has it. The error is that of all parameters,
// relative to the largest that each has been; ours is at most 1.5 times the plain one's
// in the root of the mean square, for each kind of rule.
func TestCampaign(t *testing.T) {
	if emulated {
		t.Skip("a few configurations are no statistics, and the bits are those of every table")
	}
	runs := 20
	if *all {
		runs = campaignRuns
	}
	for _, e := range All() {
		for _, kind := range kinds(e) {
			var ours, plain []float64
			var worst configuration
			chaotic := 0
			for seed := range runs {
				d := NewDraw(uint64(seed))
				r := kind.Draw(d)
				columns := 0
				if kind.factored {
					columns = columnsOf(32, seed)
				}
				a, b, left := campaign(t, d, e, r, columns)
				chaotic += left
				ours, plain = append(ours, a...), append(plain, b...)
				if c := (configuration{seed, r, rms(a), rms(b)}); c.ours-c.plain > worst.ours-worst.plain {
					worst = c
				}
			}
			x, y := rms(ours), rms(plain)
			t.Logf("%-17s %d configurations; units of 2⁻²⁴, ours beside the plain loop: median %.2g %.2g, 90%% %.3g %.3g, 99%% %.3g %.3g, root mean square %.3g %.3g; %d left out",
				kind.Name, runs, quantile(ours, .5), quantile(plain, .5), quantile(ours, .9), quantile(plain, .9), quantile(ours, .99), quantile(plain, .99), x, y, chaotic)
			if chaotic > len(ours)/50 {
				t.Errorf("%s: %d of %d parameters are where float64 is thrown off by one rounding", kind.Name, chaotic, chaotic+len(ours))
			}
			if x > 1.5*y+.5 {
				t.Errorf("%s: the error is %.3g units of 2⁻²⁴, that of a plain loop %.3g; worst is %s", kind.Name, x, y, worst)
			}
		}
	}
}

// campaignRuns are the configurations of a kind.
const campaignRuns = 250

// A campaignKind is a Kind over vectors, or over matrices that are factored.
type campaignKind struct {
	Kind
	factored bool
}

func kinds(e *Entry) []campaignKind {
	var list []campaignKind
	for _, k := range e.Random {
		list = append(list, campaignKind{k, false})
		if e.Factored != nil {
			list = append(list, campaignKind{Kind{k.Name + ", factored", k.Draw}, true})
		}
	}
	return list
}

// A configuration is a run of the campaign with its errors, in the root of the mean square.
type configuration struct {
	seed        int
	rule        update.Rule
	ours, plain float64
}

func (c configuration) String() string {
	return fmt.Sprintf("seed %d, %T%+v: %.3g, plain %.3g", c.seed, c.rule, c.rule, c.ours, c.plain)
}

// campaign is the errors of one configuration, in units of 2⁻²⁴, of ours and of the plain
// loop. Where float64 leaves float32, or the loop ends as no number, there is no error to
// compare; nor where float64 itself, from a parameter one unit away, is a thousand units
// away in some step: about zero, what is nearly a step along a sign makes of one rounding
// what it will, and where it is by the last step is chance. So many are chaotic.
func campaign(t *testing.T, d Draw, e *Entry, r update.Rule, columns int) (ours, plain []float64, chaotic int) {
	t.Helper()
	const n, steps = 32, 100
	scale := float64(float32(d.Power(-30, 30)))
	grads := d.Gradients(n, steps)
	o := mustNewMatrix(t, n, columns, r)
	must(t, o.SetGradScale(scale))
	p, g, size, apart := make([]float32, n), make([]float32, n), make([]float64, n), make([]float64, n)
	for i := range p {
		p[i] = float32(d.NormFloat64())
	}
	list, beside := matrix(o, p, g, columns), matrix(o, p, g, columns)
	for i := range beside {
		beside[i].P.Exact *= 1 + 0x1p-24
		for k, name := range slotNames(o, 0) {
			if _, err := o.Buffer(0, name); err != nil { // it begins as the parameters
				beside[i].State[k] = beside[i].P
			}
		}
	}
	for step, row := range grads {
		for i, x := range row {
			g[i] = float32(x / scale)
			list[i].G, beside[i].G = bounded.Float(g[i]), bounded.Float(g[i])
			size[i] = max(size[i], math.Abs(list[i].P.Exact))
		}
		s := Step{Rule: r, T: int64(step + 1), LR: o.LR(), Scale: scale, Columns: columns, Dialect: Dialect{DecayFactor: true}}
		e.Take(s, list)
		e.Take(s, beside)
		for i := range list {
			apart[i] = max(apart[i], math.Abs(list[i].P.Exact-beside[i].P.Exact))
		}
		must(t, o.Step(p, g))
	}
	for i := range p {
		want, loop := list[i].P.Exact, list[i].P.Single
		size[i] = max(size[i], math.Abs(want), 1e-30)
		if math.IsInf(float64(loop), 0) || loop != loop || !(math.Abs(want) < math.MaxFloat32) || !(math.Abs(float64(g[i])) < math.MaxFloat32) {
			continue
		}
		off := func(x float32) float64 { return min(math.Abs(float64(x)-want)/size[i]*(1<<24), 1e4) }
		if p[i] != p[i] {
			t.Fatalf("%+v, scale %g: %v ends as NaN, want %g", r, scale, p[i], want)
		}
		if apart[i] > 1000*0x1p-24*size[i] {
			chaotic++
			continue
		}
		ours, plain = append(ours, off(p[i])), append(plain, off(loop))
	}
	return ours, plain, chaotic
}

func rms(x []float64) float64 {
	sum := 0.
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(max(1, len(x))))
}

func quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(x))[int(q*float64(len(x)-1))]
}

// TestSteady has Adam take one gradient for ever, from the smallest to the largest, with
// parameters that begin at 0: the displacement is float64's within 1.02, and no step is
// longer by more, wherever an optimizer that flushes nothing keeps to that.
func TestSteady(t *testing.T) {
	if emulated {
		t.Skip("the bits are those of every table")
	}
	steps := 1000
	if testing.Short() {
		steps = 200
	}
	for _, b2 := range []float64{.9, .99, .999, .9999, .99999} {
		for _, eps := range []float64{1e-30, 1e-20, 1e-15, 1e-12, 1e-8, 1e-3, 1} {
			r := update.Adam{Options: update.Options{LR: 1e-3}, Beta1: .9, Beta2: b2, Eps: eps}
			for power := -38.; power <= 8; power++ {
				steady(t, r, float32(math.Pow(10, power)), steps)
			}
		}
	}
}

func steady(t *testing.T, r update.Adam, g float32, steps int) {
	t.Helper()
	kept := r
	kept.KeepSubnormals = true
	flushing, all := mustNew(t, 1, r), mustNew(t, 1, kept)
	p, q := []float32{0}, []float32{0}
	exact := tensor(flushing, p, []float32{g})
	holds := true
	failure := ""
	for k := range steps {
		before, last, lastKept := exact[0].P.Exact, p[0], q[0]
		Of(r).Take(Step{Rule: kept, T: int64(k + 1), LR: r.LR, Scale: 1}, exact)
		must(t, flushing.Step(p, []float32{g}))
		must(t, all.Step(q, []float32{g}))
		want := exact[0].P.Exact
		within := func(x, last float32) bool {
			ratio, one := float64(x)/want, (float64(x)-float64(last))/(want-before)
			return ratio < 1.02 && ratio > 1/1.02 && one < 1.02
		}
		holds = holds && within(q[0], lastKept)
		if failure == "" && !within(p[0], last) {
			failure = fmt.Sprintf("%+v, gradient %g: after step %d at %g, want %g", r, g, k+1, p[0], want)
		}
	}
	if holds && failure != "" {
		t.Error(failure)
	}
}

// TestSmallDecay trains each sample with decays that are nothing beside 1 in float32, with
// noise that moves parameters on: what decays is within 1 % of float64's.
func TestSmallDecay(t *testing.T) {
	if emulated {
		t.Skip("the bits are those of every table")
	}
	products := []float64{1e-6, 3e-8, 1e-8, 1e-9}
	if testing.Short() {
		products = products[2:3] // fewer steps leave too few numbers for an average
	}
	const lr = 1e-4
	rules := map[string]func(o update.Options) update.Rule{}
	for _, sample := range Samples() {
		if r, ok := sample.Rule.(update.AdaGrad); ok && r.LRDecay > 0 {
			continue // its steps soon move nothing on
		}
		if o := Options(sample.Rule); o.CautiousUpdate || o.CautiousDecay {
			continue // they do not decay, or nothing else moves them, in many steps
		}
		switch sample.Rule.(type) {
		case update.ScheduleFreeAdamW, update.ScheduleFreeRAdam:
			continue // its parameters are nearly a mean of all that they have been
		case update.Prodigy:
			continue // its rate is not LR
		case update.MADGRAD:
			continue // it is drawn back to where it would be
		}
		if _, ok := sample.Rule.(update.Rprop); ok {
			continue // its steps are soon all alike
		}
		if _, err := update.New(1, With(sample.Rule, func(o *update.Options) { o.WeightDecay = 1 })); err == nil { // LAMB's is another
			rules[sample.Name] = func(o update.Options) update.Rule {
				return With(sample.Rule, func(to *update.Options) { *to = o })
			}
		}
	}
	for name, of := range rules {
		for _, product := range products {
			with, without := of(update.Options{LR: lr, WeightDecay: product / lr}), of(update.Options{LR: lr})
			if ratio := decayed(t, with, without, lr, product); ratio != 1 {
				t.Errorf("%s, %g: what has decayed is %.3f of what should", name, product, ratio)
			}
		}
	}
	for _, product := range products { // L2 is a decay where nothing else is done to the gradient
		with, without := update.SGD{Options: update.Options{LR: lr, L2: product / lr}}, update.SGD{Options: update.Options{LR: lr}}
		if ratio := decayed(t, with, without, lr, product); ratio != 1 {
			t.Errorf("L2, %g: what has decayed is %.3f of what should", product, ratio)
		}
	}
}

// decayed is which part of what should decay does, or 1 where it does within 1 % and the
// noise of rounding.
func decayed(t *testing.T, with, without update.Rule, lr, product float64) float64 {
	t.Helper()
	const n, steps, noise = 4096, 2000, 1e-4
	a, b := mustNew(t, n, with), mustNew(t, n, without)
	p, q, g := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range p {
		p[i], q[i] = 1+float32(i)/n, 1+float32(i)/n
	}
	rng := rand.New(rand.NewPCG(1, 1))
	left := 0. // logarithm of what is left
	for range steps {
		rate := lr * (.5 + rng.Float64()) // or the steps of Lion are all alike
		left += math.Log1p(-product * rate / lr)
		must(t, a.SetLR(rate))
		must(t, b.SetLR(rate))
		for i := range g {
			g[i] = float32(rng.NormFloat64() * noise / lr)
		}
		must(t, a.Step(p, g))
		must(t, b.Step(q, g))
	}
	got, want := 0., 0.
	for i := range p {
		got += float64(q[i]) - float64(p[i])
		want += float64(q[i]) * -math.Expm1(left)
	}
	slack := math.Sqrt(n*steps) * 0x1p-24 * 8 // what rounding leaves of so many numbers
	if math.Abs(got-want) > .01*want+slack {
		return got / want
	}
	return 1
}
