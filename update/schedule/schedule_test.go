package schedule

import (
	"errors"
	"hash/fnv"
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestBits holds the rates to their bits, on every CPU.
func TestBits(t *testing.T) {
	h := fnv.New64a()
	add := func(s Schedule) {
		for k := range int64(3000) {
			bits := math.Float64bits(s(k * k / 50))
			for shift := 0; shift < 64; shift += 8 {
				h.Write([]byte{byte(bits >> shift)})
			}
		}
	}
	add(get(Exponential(.3, .9993)))
	add(get(ExponentialDecay{LR: .3, Rate: 1.37, Steps: 7000}.Schedule()))
	add(get(CosineDecay{LR: .3, End: .01, Exponent: 1.7, Steps: 150000}.Schedule()))
	add(get(CosineAnnealing(.3, 1e-5, 1234)))
	add(get(CosineRestarts{LR: .3, End: .01, First: 700, Longer: 1.3, Lower: .9}.Schedule()))
	add(get(Polynomial{LR: .3, End: .01, Power: .7, Steps: 5000, Cycle: true}.Schedule()))
	add(get(TorchOneCycle(.3, 100000).Schedule()))
	add(get(WSD{Peak: .3, Warmup: 700, Stable: 50000, Decay: 40000, Shape: OneMinusSqrt}.Schedule()))
	add(get(InverseSqrt(.3, 4000)))
	add(get(InverseTime{LR: .3, Rate: .1, Steps: 77}.Schedule()))
	if got := h.Sum64(); got != 0x38e25907455f605f {
		t.Errorf("bits are %#x", got)
	}
}

// TestEnds has the rates at the ends of schedules, to the bit, and far behind them.
func TestEnds(t *testing.T) {
	const far = 1 << 50
	for name, c := range map[string]struct {
		rate Schedule
		want map[int64]float64
	}{
		"cosine":     {get(CosineDecay{LR: .3, End: .01, Exponent: 1, Steps: 9}.Schedule()), map[int64]float64{0: .3, 9: .01, far: .01}},
		"annealing":  {get(CosineAnnealing(.3, .01, 9)), map[int64]float64{0: .3, 9: .01, 18: .3, 27: .01}},
		"restarts":   {get(CosineRestarts{LR: .75, End: .25, First: 2, Longer: 2, Lower: .5}.Schedule()), map[int64]float64{0: .75, 2: .5, 6: .375}},
		"linear":     {get(Linear(.1, .3, 9)), map[int64]float64{0: .1, 9: .3, far: .3}},
		"one-cycle":  {get(TorchOneCycle(.5, 11).Schedule()), map[int64]float64{0: .5 / 25, 10: .5 / 25 / 1e4, far: .5 / 25 / 1e4}},
		"wsd":        {get(WSD{Peak: .5, End: .1, Warmup: 4, Stable: 3, Decay: 4, Shape: OneMinusSqrt}.Schedule()), map[int64]float64{0: 0, 2: .25, 4: .5, 7: .5, 8: .3, 11: .1, far: .1}},
		"wsd, cold":  {get(WSD{Peak: .5, Decay: 4}.Schedule()), map[int64]float64{0: .5, 1: .375, 4: 0}},
		"inverse":    {get(InverseSqrt(.5, 16)), map[int64]float64{0: 0, 8: .25, 16: .5, 64: .25, 1600: .05}},
		"joined":     {get(Join([]Schedule{get(Constant(.1)), get(Linear(.2, .4, 2))}, 5)), map[int64]float64{4: .1, 5: .2, 7: .4}},
		"piecewise":  {get(Piecewise([]int64{3}, []float64{.1, .2})), map[int64]float64{0: .1, 3: .1, 4: .2}},
		"multi-step": {get(MultiStep(.5, .5, 3)), map[int64]float64{2: .5, 3: .25}},
		"straight":   {get(OptaxLinearOneCycle(.5, 10).Schedule()), map[int64]float64{0: .02, 3: .5, 8: .02}},
	} {
		for k, want := range c.want {
			if got := c.rate(k); math.Abs(got-want) > 1e-17 {
				t.Errorf("%s: %.17g after %d steps, want %.17g", name, got, k, want)
			}
		}
	}
}

// TestPlateauState goes on from a state as if nothing had been between.
func TestPlateauState(t *testing.T) {
	o := TorchPlateau(1)
	o.Bad, o.Cooldown = 2, 2
	all, err := NewPlateau(o)
	must(t, err)
	half, err := NewPlateau(o)
	must(t, err)
	for k := range 60 {
		measure := float64(k*k%17) + math.Ldexp(1, -k)
		if k == 20 || k == 33 {
			other, err := NewPlateau(o)
			must(t, err)
			must(t, other.SetState(half.State()))
			half = other
		}
		if a, b := all.Observe(measure), half.Observe(measure); a != b || b != half.LR() {
			t.Fatalf("after %d measures: %g, with a state %g", k+1, a, b)
		}
	}
	if all.LR() == 1 {
		t.Error("the rate did not fall")
	}
	if err := half.SetState(PlateauState{LR: 1, Best: math.NaN()}); err == nil {
		t.Error("a best measure that is NaN is no error")
	}
	if lr := half.LR(); half.Observe(math.NaN()) > lr {
		t.Error("NaN has raised the rate")
	}
}

// TestRefused has what no schedule can be made of.
func TestRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	refuse := func(arg string, _ Schedule, err error) {
		t.Helper()
		var e *update.ArgError
		if !errors.As(err, &e) || e.Arg != arg {
			t.Errorf("want an error of %s, got %v", arg, err)
		}
	}
	refusal := func(arg string) func(Schedule, error) {
		return func(s Schedule, err error) { t.Helper(); refuse(arg, s, err) }
	}
	refusal("lr")(Constant(-1))
	refusal("lr")(Constant(nan))
	refusal("lr")(Constant(inf))
	refusal("gamma")(Step(1, -1, 1))
	refusal("every")(Step(1, 1, 0))
	refusal("milestones[1]")(MultiStep(1, 1, 5, 5))
	refusal("milestones[0]")(MultiStep(1, 1, 0))
	refusal("boundaries[0]")(Piecewise([]int64{-1}, []float64{1, 2}))
	refusal("len(rates)")(Piecewise([]int64{1}, []float64{1}))
	refusal("rates[1]")(Piecewise([]int64{1}, []float64{1, nan}))
	refusal("Rate")(ExponentialDecay{LR: 1, Steps: 1}.Schedule())
	refusal("Begin")(ExponentialDecay{LR: 1, Rate: 1, Steps: 1, Begin: -1}.Schedule())
	refusal("Steps")(InverseTime{LR: 1}.Schedule())
	refusal("Power")(Polynomial{LR: 1, Steps: 1}.Schedule())
	refusal("Steps")(Polynomial{LR: 1, Power: 1, Steps: mostSteps + 1}.Schedule())
	refusal("warmup")(InverseSqrt(1, 0))
	refusal("least")(CosineAnnealing(1, -1, 1))
	refusal("Exponent")(CosineDecay{LR: 1, Steps: 1}.Schedule())
	refusal("Longer")(CosineRestarts{LR: 1, First: 1, Longer: .5, Lower: 1}.Schedule())
	refusal("Lower")(CosineRestarts{LR: 1, First: 1, Longer: 1}.Schedule())
	refusal("Final")(OneCycle{Peak: 1, Steps: 9, Start: .5, Final: .4, Div: 1, FinalDiv: 1}.Schedule())
	refusal("Start")(OneCycle{Peak: 1, Steps: 9, Start: 2, Div: 1, FinalDiv: 1}.Schedule())
	refusal("Shape")(OneCycle{Peak: 1, Steps: 9, Div: 1, FinalDiv: 1, Shape: OneMinusSqrt}.Schedule())
	refusal("Shape")(WSD{Peak: 1, Decay: 1, Shape: 3}.Schedule())
	refusal("Decay")(WSD{Peak: 1}.Schedule())
	refusal("then")(Warmup(0, 1, nil))
	refusal("schedules[0]")(Join([]Schedule{nil}))
	refusal("len(schedules)")(Join([]Schedule{get(Constant(1))}, 3))
	for arg, change := range map[string]func(o *PlateauOptions){
		"Factor":   func(o *PlateauOptions) { o.Factor = 1 },
		"Bad":      func(o *PlateauOptions) { o.Bad = 0 },
		"Relative": func(o *PlateauOptions) { o.Relative = 1 },
		"Absolute": func(o *PlateauOptions) { o.Absolute = nan },
		"Cooldown": func(o *PlateauOptions) { o.Cooldown = -1 },
	} {
		o := KerasPlateau(1)
		change(&o)
		_, err := NewPlateau(o)
		refuse(arg, nil, err)
	}
}
