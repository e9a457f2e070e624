package update_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// synchronized has slow parameters by hand.
func synchronized(l update.Lookahead) stage {
	slow := make([][]float32, len(aroundSizes))
	return stage{
		set: func(o *update.Optimizer) error { return o.SetLookahead(l) },
		before: func(step int, params [][]float32) {
			for k := range slow {
				if step == 1 {
					slow[k] = slices.Clone(params[k])
				}
			}
		},
		after: func(step int, params, _ [][]float32) {
			for k := range slow {
				if step%int(l.Period) == 0 {
					approach(slow[k], params[k], 1-l.Step)
					copy(params[k], slow[k])
				}
			}
		},
		beside: map[string][][]float32{update.SlowName: slow},
	}
}

func TestLookahead(t *testing.T) {
	agrees(t, func(n int) stage {
		return synchronized([]update.Lookahead{{Period: 6, Step: .5}, {Period: 1, Step: .3}, {Period: 5, Step: 1}, {Period: 7, Step: .8}}[n%4])
	})
}

func TestLookaheadAllocates(t *testing.T) {
	synchronized(update.Lookahead{Period: 2, Step: .5}).allocatesNothing(t)
}

// together has all stages at once, in their order.
func together(n int) stage {
	a, l := averaged(averagings[n%len(averagings)]), synchronized(update.Lookahead{Period: 4, Step: .5})
	return stage{
		set: func(o *update.Optimizer) error {
			for _, set := range []func(*update.Optimizer) error{a.set, l.set, zeroed.set} {
				if err := set(o); err != nil {
					return err
				}
			}
			return nil
		},
		before: func(step int, params [][]float32) {
			l.before(step, params)
			a.before(step, params)
		},
		after: func(step int, params, grads [][]float32) {
			l.after(step, params, grads)
			a.after(step, params, grads)
			zeroed.after(step, params, grads)
		},
		beside: map[string][][]float32{
			update.AverageName: a.beside[update.AverageName],
			update.SlowName:    l.beside[update.SlowName],
		},
	}
}

func TestTogether(t *testing.T)          { agrees(t, together) }
func TestTogetherAllocates(t *testing.T) { together(0).allocatesNothing(t) }

// TestLookaheadRefuses has numbers that cannot be.
func TestLookaheadRefuses(t *testing.T) {
	o := newOne(t, 3, plainSGD)
	wantArg(t, "period", o.SetLookahead(update.Lookahead{Period: -1, Step: .5}), "Period")
	wantArg(t, "period", o.SetLookahead(update.Lookahead{Step: .5}), "Period")
	for _, bad := range []float64{0, -1, 1.1, 1e-60} {
		wantArg(t, "step", o.SetLookahead(update.Lookahead{Period: 1, Step: bad}), "Step")
	}
	l := update.Lookahead{Period: 5, Step: .5}
	must(t, o.SetLookahead(l))
	if o.Lookahead() != l {
		t.Errorf("%+v is set", o.Lookahead())
	}
	if _, err := o.Buffer(0, update.SlowName); err == nil {
		t.Error("slow parameters have begun before a step")
	}
	p, g := []float32{1, 2, 3}, []float32{1, 1, 1}
	must(t, o.Step(p, g))
	if x := buffer(o, 0, update.SlowName); !slices.Equal(x, []float32{1, 2, 3}) {
		t.Errorf("slow parameters begin as %g", x)
	}
	must(t, o.SetLookahead(update.Lookahead{}))
	if _, err := o.Buffer(0, update.SlowName); err == nil {
		t.Error("slow parameters are left")
	}
}

// TestLookaheadLater begins between steps that are alike, of the only tensor.
func TestLookaheadLater(t *testing.T) {
	o, p, g := newOne(t, 3, plainSGD), []float32{1, 2, 3}, []float32{1, 1, 1}
	must(t, o.Step(p, g))
	must(t, o.Step(p, g))
	must(t, o.SetLookahead(update.Lookahead{Period: 5, Step: .5}))
	must(t, o.SetAverage(update.Averaging{Every: 9, Equal: true, FromStart: true}))
	before := slices.Clone(p)
	must(t, o.Step(p, g))
	if slow, average := buffer(o, 0, update.SlowName), buffer(o, 0, update.AverageName); !slices.Equal(slow, before) || !slices.Equal(average, before) {
		t.Errorf("slow parameters begin as %g, the average as %g, want %g", slow, average, before)
	}
}

// TestAroundWorkers shares steps that have all stages at once among goroutines: sums of
// shards and of micro-batches, rows that are looked at, averages, swaps and zeros.
func TestAroundWorkers(t *testing.T) {
	const n = tune.ApartLen + 64
	lamb := update.LAMB{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-6}
	for _, r := range []update.Rule{plainAdam, lamb} {
		var all []*update.Optimizer
		var sums []*update.Accumulator
		var params [][][]float32
		for range 2 {
			o, err := update.NewSet([]update.Tensor{{Size: n, Columns: 64}, {Size: 3000, Columns: 1500}, {Size: 70}, {Size: 5}}, r)
			must(t, err)
			must(t, o.SetPolicy(update.Skip))
			must(t, o.SetMaxNorm(9))
			must(t, o.SetZeroGrads(true))
			must(t, o.SetCentralize(true))
			must(t, o.SetAdaptiveClip(.01, 1e-3))
			must(t, o.SetLookahead(update.Lookahead{Period: 2, Step: .5}))
			must(t, o.SetAverage(update.Averaging{Every: 1, Decay: .9, Overwrite: 3}))
			all, sums = append(all, o), append(sums, update.NewAccumulator(o))
			params = append(params, [][]float32{uniform(n, 1), uniform(3000, 2), uniform(70, 3), uniform(5, 4)})
		}
		must(t, all[0].SetWorkers(1))
		must(t, all[1].SetWorkers(4))
		for step := range 6 {
			for k, o := range all {
				var shards [][][]float32
				for j := range uint64(3) {
					seed := 10*uint64(step) + j
					shards = append(shards, [][]float32{uniform(n, seed), uniform(3000, seed), nil, uniform(5, seed)})
				}
				switch step {
				case 3:
					shards[1][0][n-1] = float32(math.Inf(1))
					must(t, o.StepShards(params[k], shards)) // skipped
				case 4:
					must(t, sums[k].Add(shards[0], 1))
					must(t, sums[k].Add(shards[1], 2))
					must(t, sums[k].StepSet(params[k], shards[2], 1))
					shards = shards[2:]
				default:
					must(t, o.StepShards(params[k], shards))
				}
				for j, grads := range shards {
					wantGrads(t, fmt.Sprintf("step %d, shard %d", step, j), grads, clones(grads), true)
				}
				if step == 5 {
					must(t, o.SwapAverage(params[k]))
				}
			}
			wantAlike(t, fmt.Sprintf("step %d", step), all[1], all[0], params[1], params[0], make([][]float32, 4), make([][]float32, 4))
		}
		if all[0].Skipped() != 1 || all[1].Skipped() != 1 {
			t.Errorf("%d and %d steps were skipped, want 1", all[0].Skipped(), all[1].Skipped())
		}
	}
}
