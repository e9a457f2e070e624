package update_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// averagings are of every kind.
var averagings = []update.Averaging{
	{Every: 1, Decay: .9},
	{Every: 2, After: 5, Equal: true},
	{Every: 1, Decay: .95, BiasCorrected: true, Overwrite: 6},
	{Every: 1, Decay: .8, WarmUp: true, FromStart: true},
	{Every: 3, After: 4, Decay: .3, FromStart: true, Overwrite: 5},
	{Every: 4, Equal: true, FromStart: true, Overwrite: 4},
}

// decayOf is d of an average after n, as the documents have it.
func decayOf(a update.Averaging, n float64) float64 {
	switch {
	case a.Equal:
		return n / (n + 1)
	case a.BiasCorrected:
		return a.Decay * (1 - math.Pow(a.Decay, n)) / (1 - math.Pow(a.Decay, n+1))
	case a.WarmUp:
		return min(a.Decay, (1+n)/(10+n))
	}
	return a.Decay
}

// approach moves numbers towards others.
func approach(x, p []float32, decay float64) {
	weight := fallback.Weight(decay)
	for i := range x {
		if difference := float32((p[i] - x[i]) * weight); weight > 0 {
			x[i] += difference
		} else {
			x[i] = p[i] + difference
		}
	}
}

// averaged keeps averages by hand.
func averaged(a update.Averaging) stage {
	average, n := make([][]float32, len(aroundSizes)), 0
	copies := func(params [][]float32) {
		for k := range average {
			average[k] = slices.Clone(params[k])
		}
		n = 1
	}
	return stage{
		set: func(o *update.Optimizer) error { return o.SetAverage(a) },
		before: func(step int, params [][]float32) {
			if a.FromStart && n == 0 && step == int(a.After)+1 {
				copies(params)
			}
		},
		after: func(step int, params, _ [][]float32) {
			switch behind := step - int(a.After); {
			case behind <= 0:
				return
			case behind%int(a.Every) > 0:
			case n == 0:
				copies(params)
			default:
				for k := range average {
					approach(average[k], params[k], decayOf(a, float64(n)))
				}
				n++
			}
			if n > 0 && a.Overwrite > 0 && step%int(a.Overwrite) == 0 {
				copyAll(params, average)
			}
		},
		beside: map[string][][]float32{update.AverageName: average},
	}
}

func TestAverage(t *testing.T) {
	agrees(t, func(n int) stage { return averaged(averagings[n%len(averagings)]) })
}

func TestAverageAllocates(t *testing.T) {
	averaged(averagings[4]).allocatesNothing(t)
}

// TestAverageCorrected compares the average with one that begins at 0 and is divided when it
// is read, as Optax has it.
func TestAverageCorrected(t *testing.T) {
	const decay = .9
	o, p, g := newOne(t, 1, plainAdam), []float32{3}, []float32{1}
	must(t, o.SetAverage(update.Averaging{Every: 1, Decay: decay, BiasCorrected: true}))
	mean := 0.
	for step := 1; step <= 40; step++ {
		must(t, o.Step(p, g))
		mean = decay*mean + (1-decay)*float64(p[0])
		want := mean / (1 - math.Pow(decay, float64(step)))
		if got := float64(buffer(o, 0, update.AverageName)[0]); math.Abs(got-want) > 1e-6*want {
			t.Errorf("step %d: %g, want %g", step, got, want)
		}
	}
}

// TestAverageCheckpoint goes on from a checkpoint at any step, also one that has begun
// neither an average nor slow parameters.
func TestAverageCheckpoint(t *testing.T) {
	writers := []func(from, to *update.State) error{
		func(from, to *update.State) error {
			var b bytes.Buffer
			must(t, gob.NewEncoder(&b).Encode(from))
			return gob.NewDecoder(&b).Decode(to)
		},
		func(from, to *update.State) error {
			b, err := json.Marshal(from)
			must(t, err)
			return json.Unmarshal(b, to)
		},
	}
	sizes := []int{5, 5000, 0}
	for n, a := range averagings {
		make := func() (*update.Optimizer, [][]float32, [][]float32) {
			o, params, grads := newSet(t, sizes, plainAdam, plainSGD)
			must(t, o.SetAverage(a))
			must(t, o.SetLookahead(update.Lookahead{Period: 3, Step: .5}))
			return o, params, grads
		}
		whole, want, grads := make()
		o, params, _ := make()
		for step := 1; step <= 12; step++ {
			var s update.State
			exported, err := o.Export()
			must(t, err)
			must(t, writers[step%2](&exported, &s))
			if s.Averages != o.Averages() || (s.Averages > 0) != (s.Tensors[0].Buffers[update.AverageName] != nil) {
				t.Errorf("%d averages of %d in a checkpoint", s.Averages, o.Averages())
			}
			if o, _, _ = make(); step%3 == 0 { // one that has been at work
				must(t, o.StepSet(clones(params), grads))
			}
			must(t, o.Import(s))
			must(t, o.StepSet(params, grads))
			must(t, whole.StepSet(want, grads))
			wantAlike(t, fmt.Sprintf("average %d, step %d", n, step), o, whole, params, want, grads, grads)
		}
	}
}

// TestAverageImportRefuses has states that none can be.
func TestAverageImportRefuses(t *testing.T) {
	make := func() (*update.Optimizer, [][]float32, [][]float32) {
		o, params, grads := newSet(t, []int{3, 4}, plainAdam)
		must(t, o.SetAverage(averagings[0]))
		must(t, o.SetLookahead(update.Lookahead{Period: 3, Step: .5}))
		must(t, o.StepSet(params, grads))
		return o, params, grads
	}
	for arg, spoil := range map[string]func(s *update.State){
		"Averages":                                  func(s *update.State) { s.Averages = 0 },
		`Tensors[1].Buffers["params_average"]`:      func(s *update.State) { delete(s.Tensors[1].Buffers, update.AverageName) },
		`Tensors[1].Buffers["params_slow"]`:         func(s *update.State) { delete(s.Tensors[1].Buffers, update.SlowName) },
		`len(Tensors[1].Buffers["params_slow"])`:    func(s *update.State) { s.Tensors[1].Buffers[update.SlowName] = nil },
		`Tensors[0].Buffers["params_average"][2]`:   func(s *update.State) { s.Tensors[0].Buffers[update.AverageName][2] = float32(math.Inf(1)) },
		"Tensors[0].Buffers":                        func(s *update.State) { s.Tensors[0].Buffers["x"] = nil },
		`len(Tensors[0].Buffers["params_average"])`: func(s *update.State) { s.Tensors[0].Buffers[update.AverageName] = []float32{1} },
	} {
		o, _, _ := make()
		s, err := o.Export()
		must(t, err)
		spoil(&s)
		wantArg(t, arg, o.Import(s), arg)
		s, err = o.Export()
		must(t, err)
		s.Averages = -1
		wantArg(t, "less than none", o.Import(s), "Averages")
		plain, _, _ := newSet(t, []int{3, 4}, plainAdam)
		s.Averages = 1
		wantArg(t, "none kept", plain.Import(s), `Tensors[0].Buffers["params_average"]`)
	}
	plain, _, _ := newSet(t, []int{3, 4}, plainAdam)
	s, err := plain.Export()
	must(t, err)
	o, _, _ := make()
	must(t, o.Import(s))
	if _, err := o.Buffer(0, update.AverageName); err == nil || o.Averages() != 0 {
		t.Errorf("%d averages after a state without", o.Averages())
	}
}

// TestSwapAverage evaluates averages and goes on.
func TestSwapAverage(t *testing.T) {
	o, params, grads := newSet(t, aroundSizes, plainAdam)
	must(t, o.SetWorkers(2))
	wantArg(t, "none", o.SwapAverage(params), "the number of averages")
	must(t, o.SetAverage(averagings[0]))
	wantArg(t, "none yet", o.SwapAverage(params), "the number of averages")
	for range 3 {
		must(t, o.StepSet(params, grads))
	}
	var averages [][]float32
	for k := range params {
		averages = append(averages, slices.Clone(buffer(o, k, update.AverageName)))
	}
	fast := clones(params)
	wantArg(t, "lengths", o.SwapAverage(params[1:]), "len(params)")
	wantArg(t, "state", o.SwapAverage(append([][]float32{buffer(o, 1, "m")[:3]}, params[1:]...)), "m of tensor 1 (b)")
	must(t, o.SwapAverage(params))
	for k := range params {
		if !sameBits(params[k], averages[k]) || !sameBits(buffer(o, k, update.AverageName), fast[k]) {
			t.Errorf("tensor %d is not swapped", k)
		}
	}
	const swapped = "the parameters"
	wantArg(t, "a step", o.StepSet(params, grads), swapped)
	wantArg(t, "begin", o.Begin(), swapped)
	_, err := o.Export()
	wantArg(t, "export", err, swapped)
	wantArg(t, "none any more", o.SetAverage(update.Averaging{}), swapped)
	must(t, o.SwapAverage(params))
	for k := range params {
		if !sameBits(params[k], fast[k]) || !sameBits(buffer(o, k, update.AverageName), averages[k]) {
			t.Errorf("tensor %d is not swapped again", k)
		}
	}
	must(t, o.StepSet(params, grads))
	must(t, o.SetAverage(update.Averaging{}))
	if names := slotNames(o, 0); !slices.Equal(names, []string{"m", "v"}) || o.Averages() != 0 {
		t.Errorf("%q are left, and %d averages", names, o.Averages())
	}
}

// TestAverageFades has parameters that are 0: what follows them becomes 0 and is never a
// number that is slow.
func TestAverageFades(t *testing.T) {
	for _, n := range []int{3, 2 * tune.BlockLen} {
		o, p, g := newOne(t, n, plainSGD), make([]float32, n), make([]float32, n)
		must(t, o.SetAverage(update.Averaging{Every: 7, After: 3, Decay: .5, FromStart: true}))
		must(t, o.SetLookahead(update.Lookahead{Period: 3, Step: .5}))
		p[1], p[2] = 1, 0x1p-120
		g[1] = 10
		must(t, o.Step(p, g))
		g[1] = 0
		for step := range 7 * 200 {
			if p[1] = 0; step > 5 {
				p[2] = 0
			}
			must(t, o.Step(p, g))
			for _, name := range []string{update.AverageName, update.SlowName} {
				if x, err := o.Buffer(0, name); err == nil && x[1] != 0 && math.Abs(float64(x[1])) < 0x1p-126 {
					t.Fatalf("%s is %g", name, x[1])
				}
			}
		}
		if x := buffer(o, 0, update.AverageName); x[1] != 0 || x[2] != 0 {
			t.Errorf("the average is %g", x[:3])
		}
	}
}

// TestAverageRefuses has averages that none can be.
func TestAverageRefuses(t *testing.T) {
	o := newOne(t, 3, plainSGD)
	for k, a := range []update.Averaging{
		{Every: -1}, {Decay: .9}, {Every: 1, After: -1}, {Every: 1, Overwrite: -1},
		{Every: 1, Decay: -.1}, {Every: 1, Decay: 1.1}, {Every: 1, Decay: math.NaN()},
		{Every: 1, Equal: true, Decay: .1}, {Every: 1, Equal: true, WarmUp: true}, {Every: 1, Equal: true, BiasCorrected: true},
		{Every: 1, Decay: 1, BiasCorrected: true}, {Every: 1, Decay: .5, BiasCorrected: true, WarmUp: true},
	} {
		arg := []string{"Every", "Every", "After", "Overwrite", "Decay", "Decay", "Decay", "Equal", "Equal", "Equal", "Decay", "BiasCorrected"}[k]
		wantArg(t, fmt.Sprintf("%+v", a), o.SetAverage(a), arg)
	}
	if o.Average() != (update.Averaging{}) {
		t.Errorf("%+v is set", o.Average())
	}
	must(t, o.SetAverage(averagings[1]))
	if o.Average() != averagings[1] {
		t.Errorf("%+v is set", o.Average())
	}
	must(t, o.Begin())
	wantArg(t, "begun", o.SetAverage(averagings[0]), "step")
	wantArg(t, "begun", o.SetLookahead(update.Lookahead{}), "step")
}
