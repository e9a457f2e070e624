package schedule

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A trainer has the rates of a case: of steps, or after measures.
type trainer func(t *testing.T) func(k int, measure float64) float64

func of(s Schedule, err error) trainer {
	return func(t *testing.T) func(int, float64) float64 {
		must(t, err)
		return func(k int, _ float64) float64 { return s(int64(k)) }
	}
}

func plateau(o PlateauOptions, change func(o *PlateauOptions)) trainer {
	return func(t *testing.T) func(int, float64) float64 {
		if change != nil {
			change(&o)
		}
		p, err := NewPlateau(o)
		must(t, err)
		return func(_ int, x float64) float64 {
			if o.Maximize {
				x = -x
			}
			return p.Observe(x)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get is a schedule without an error, for those made of others.
func get(s Schedule, err error) Schedule {
	if err != nil {
		panic(err)
	}
	return s
}

func changed(c OneCycle, change func(c *OneCycle)) trainer {
	change(&c)
	return of(c.Schedule())
}

var golden = map[string]map[string]trainer{
	"torch": {
		"constant":             of(Constant(.3)),
		"step":                 of(Step(.3, .3, 13)),
		"multi-step":           of(MultiStep(.3, .1, 7, 20, 21)),
		"linear":               of(Linear(.3*.25, .3, 17)),
		"exponential":          of(Exponential(.3, .83)),
		"cosine":               of(CosineAnnealing(.3, .01, 23)),
		"restarts":             of(CosineRestarts{LR: .3, End: .01, First: 9, Longer: 1, Lower: 1}.Schedule()),
		"restarts that double": of(CosineRestarts{LR: .3, End: .01, First: 9, Longer: 2, Lower: 1}.Schedule()),
		"polynomial":           of(Polynomial{LR: .3, Power: 2.5, Steps: 40}.Schedule()),
		"one-cycle":            of(TorchOneCycle(.1, 71).Schedule()),
		"one-cycle, linear":    changed(TorchOneCycle(.1, 71), func(c *OneCycle) { c.Shape = Line }),
		"one-cycle, three phases": changed(TorchOneCycle(.1, 71), func(c *OneCycle) {
			c.Final = 2 * c.Start
		}),
		"joined": of(Join([]Schedule{get(Linear(.03, .3, 10)), get(Exponential(.3, .9)), get(Step(.3, .1, 10))}, 10, 30)),

		"plateau": plateau(TorchPlateau(.5), nil),
		"plateau, cooldown": plateau(TorchPlateau(.5), func(o *PlateauOptions) {
			o.Bad, o.Cooldown, o.Factor, o.Least = 3, 3, .5, .01
		}),
		"plateau, absolute": plateau(TorchPlateau(.5), func(o *PlateauOptions) {
			o.Bad, o.Relative, o.Absolute = 4, 0, .05
		}),
		"plateau, maximize": plateau(TorchPlateau(.5), func(o *PlateauOptions) {
			o.Bad, o.Cooldown, o.Factor, o.Maximize, o.MinChange = 1, 1, .7, true, .01
		}),
	},
	"optax": {
		"constant":               of(Constant(.3)),
		"multi-step":             of(MultiStep(.3, .1, 7, 20, 21)),
		"linear":                 of(Linear(.01, .3, 17)),
		"polynomial":             of(Polynomial{LR: .3, End: .02, Power: 2.5, Steps: 40}.Schedule()),
		"exponential":            of(ExponentialDecay{LR: .3, Rate: .37, Steps: 12}.Schedule()),
		"exponential, bounded":   of(ExponentialDecay{LR: .3, Rate: .37, Steps: 12, Begin: 5, End: .05}.Schedule()),
		"exponential, staircase": of(ExponentialDecay{LR: .3, Rate: .37, Steps: 12, Begin: 5, Staircase: true}.Schedule()),
		"exponential, rising":    of(ExponentialDecay{LR: .3, Rate: 1.5, Steps: 12, End: .9}.Schedule()),
		"cosine":                 of(CosineDecay{LR: .3, End: .03, Exponent: 1, Steps: 40}.Schedule()),
		"cosine, exponent":       of(CosineDecay{LR: .3, End: .03, Exponent: 1.3, Steps: 40}.Schedule()),
		"warm-up, constant":      of(Warmup(.01, 17, get(Constant(.3)))),
		"warm-up, cosine":        of(Warmup(.01, 8, get(CosineDecay{LR: .3, End: .02, Exponent: 1, Steps: 32}.Schedule()))),
		"warm-up, exponential":   of(Warmup(.01, 8, get(ExponentialDecay{LR: .3, Rate: .37, Steps: 12}.Schedule()))),
		"restarts": of(Join([]Schedule{
			get(Warmup(.01, 8, get(CosineDecay{LR: .3, Exponent: 1, Steps: 32}.Schedule()))),
			get(Warmup(.01, 8, get(CosineDecay{LR: .2, Exponent: 1, Steps: 16}.Schedule()))),
		}, 40)),
		"one-cycle":         of(OptaxCosineOneCycle(.1, 61).Schedule()),
		"one-cycle, linear": of(OptaxLinearOneCycle(.1, 61).Schedule()),
		"wsd":               of(WSD{Init: .01, Peak: .3, End: .03, Warmup: 10, Stable: 25, Decay: 20, Shape: Cosine}.Schedule()),

		"plateau": plateau(OptaxPlateau(.5), nil),
		"plateau, cooldown": plateau(OptaxPlateau(.5), func(o *PlateauOptions) {
			o.Bad, o.Cooldown, o.Factor, o.Least, o.Relative, o.Absolute = 3, 3, .5, .01, .01, .05
		}),
	},
	"keras": {
		"piecewise":               of(Piecewise([]int64{7, 20, 21}, []float64{.3, .2, .25, .1})),
		"exponential":             of(ExponentialDecay{LR: .3, Rate: .37, Steps: 12}.Schedule()),
		"exponential, staircase":  of(ExponentialDecay{LR: .3, Rate: .37, Steps: 12, Staircase: true}.Schedule()),
		"inverse time":            of(InverseTime{LR: .3, Rate: .37, Steps: 12}.Schedule()),
		"inverse time, staircase": of(InverseTime{LR: .3, Rate: .37, Steps: 12, Staircase: true}.Schedule()),
		"polynomial":              of(Polynomial{LR: .3, End: .02, Power: 2.5, Steps: 40}.Schedule()),
		"polynomial, cycle":       of(Polynomial{LR: .3, End: .02, Power: 1.5, Steps: 16, Cycle: true}.Schedule()),
		"cosine":                  of(CosineDecay{LR: .3, End: .03, Exponent: 1, Steps: 40}.Schedule()),
		"warm-up, cosine":         of(Warmup(.01, 8, get(CosineDecay{LR: .3, End: .03, Exponent: 1, Steps: 32}.Schedule()))),
		"restarts":                of(CosineRestarts{LR: .3, End: .03, First: 9, Longer: 1, Lower: .8}.Schedule()),
		"restarts that double":    of(CosineRestarts{LR: .3, End: .03, First: 9, Longer: 2, Lower: .8}.Schedule()),
		"restarts that grow":      of(CosineRestarts{LR: .3, End: .03, First: 9, Longer: 1.3, Lower: .8}.Schedule()),

		"plateau": plateau(KerasPlateau(.5), nil),
		"plateau, cooldown": plateau(KerasPlateau(.5), func(o *PlateauOptions) {
			o.Bad, o.Cooldown, o.Factor, o.Least, o.Absolute = 3, 2, .5, .01, .05
		}),
	},
}

// TestGolden compares rates with those of running frameworks, which were told to compute in
// float64. A hundred roundings of theirs, each of half a unit of the largest rate at most,
// are 1e-14 of it.
func TestGolden(t *testing.T) {
	for framework, cases := range golden {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "schedules", framework+".json"))
		must(t, err)
		var want map[string][]float64
		must(t, json.Unmarshal(data, &want))
		if len(want) != len(cases)+1 {
			t.Errorf("%s: %d cases in the file and %d here", framework, len(want)-1, len(cases))
		}
		for name, make := range cases {
			t.Run(framework+"/"+name, func(t *testing.T) {
				rate, largest := make(t), 0.0
				for _, x := range want[name] {
					largest = max(largest, x)
				}
				if largest == 0 {
					t.Fatal("there are no rates in the file")
				}
				for k, x := range want[name] {
					measure := 0.0
					if k < len(want["measures"]) {
						measure = want["measures"][k]
					}
					if got := rate(k, measure); math.Abs(got-x) > 1e-14*largest {
						t.Fatalf("after %d steps: %.17g, want %.17g", k, got, x)
					}
				}
			})
		}
	}
}
