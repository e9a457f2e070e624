package update_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
)

// eachVaried calls f for every sample with a function that makes it with other numbers, by
// how much less: decay rates, penalties and all that is not 0 but for what begins the state.
// What a tensor does must not depend on others: see TestProdigy of one that does.
func eachVaried(f func(name string, of func(less float64) update.Rule)) {
	for _, s := range registry.Samples() {
		if registry.Of(s.Rule).Shares {
			continue
		}
		f(s.Name, func(less float64) update.Rule { return varied(s.Rule, less) })
	}
}

func varied(r update.Rule, less float64) update.Rule {
	v := reflect.New(reflect.TypeOf(r)).Elem()
	v.Set(reflect.ValueOf(r))
	for _, f := range reflect.VisibleFields(v.Type()) {
		if x := v.FieldByIndex(f.Index); x.Kind() == reflect.Float64 && f.Name != "LR" && !strings.HasPrefix(f.Name, "Initial") {
			x.SetFloat(x.Float() * (1 - less))
		}
	}
	return v.Interface().(update.Rule)
}

// TestLeftOut leaves tensors out of some steps, which then are as if each had an optimizer
// of its own that had not been called: through changes of the rate and the rule, and a
// checkpoint that another optimizer goes on from.
func TestLeftOut(t *testing.T) {
	eachVaried(func(name string, of func(less float64) update.Rule) {
		sizes := []int{3, 5000, 40, 0, 7, 4097}
		rng := rand.New(rand.NewPCG(7, 7))
		o, params, grads := newSet(t, sizes, of(0), of(.1))
		var alone []*update.Optimizer
		var want [][]float32
		taken := make([]int64, len(sizes))
		for k, n := range sizes {
			params[k] = fading(n, uint64(k))
			alone, want = append(alone, newOne(t, n, of(float64(k%2)*.1))), append(want, slices.Clone(params[k]))
		}
		for step := 1; step <= 60; step++ {
			present := make([][]float32, len(sizes))
			for k, n := range sizes {
				if step%20 == 3 {
					copy(grads[k], fading(n, uint64(100*step+k)))
				} else {
					clear(grads[k][:n/2])
				}
				if step < 3 || step == 25 || step == 45 || rng.IntN(4) > 0 || step > 30 && k < 3 {
					present[k] = grads[k]
				}
			}
			switch step {
			case 12:
				must(t, o.SetRuleLR(0, .05))
				must(t, o.SetRule(1, of(.2)))
				for k := range sizes {
					if k%2 == 0 {
						must(t, alone[k].SetLR(.05))
					} else {
						must(t, alone[k].SetRule(0, of(.2)))
					}
				}
			case 25, 45:
				s, err := o.Export()
				must(t, err)
				wantSteps(t, s, taken)
				if o, _, _ = newSet(t, sizes, of(0), of(.2)); step == 45 { // one that has been at work
					must(t, o.StepSet(params, append([][]float32{nil}, grads[1:]...)))
					copyAll(params, want)
				}
				must(t, o.Import(s))
			}
			must(t, o.StepSet(params, present))
			for k := range sizes {
				what := fmt.Sprintf("%s, step %d, tensor %d", name, step, k)
				if present[k] != nil {
					must(t, alone[k].Step(want[k], grads[k]))
					taken[k]++
				}
				wantEqual(t, what, alone[k], o, 0, k, want[k], params[k])
			}
			if t.Failed() {
				return
			}
		}
		// The next one, in parts, leaves none out.
		if newOne(t, 1, of(0)).Begin() == nil {
			must(t, o.StepSet(params, append([][]float32{nil}, grads[1:]...)))
			must(t, o.Begin())
			for k := range sizes {
				if k > 0 {
					must(t, alone[k].Step(want[k], grads[k]))
				}
				must(t, o.Apply(k, 0, params[k], grads[k]))
				must(t, alone[k].Step(want[k], grads[k]))
			}
			must(t, o.End())
			for k := range sizes {
				wantEqual(t, name+", in parts", alone[k], o, 0, k, want[k], params[k])
			}
		}
		// Counted by the caller, all have taken as many.
		must(t, o.SetSteps(3))
		must(t, o.StepSet(params, grads))
		for k := range sizes {
			must(t, alone[k].SetSteps(3))
			must(t, alone[k].Step(want[k], grads[k]))
			wantEqual(t, name+", counted anew", alone[k], o, 0, k, want[k], params[k])
		}
	})
}

func copyAll(to, from [][]float32) {
	for k := range to {
		copy(to[k], from[k])
	}
}

// wantSteps wants each tensor's own count of steps in a checkpoint. A tensor of no
// elements is never left out.
func wantSteps(t *testing.T, s update.State, want []int64) {
	t.Helper()
	for k, x := range s.Tensors {
		if k != 3 && x.Steps != want[k] || k == 3 && x.Steps != s.Steps {
			t.Errorf("tensor %d has taken %d steps of %d, want %d", k, x.Steps, s.Steps, want[k])
		}
	}
}

// TestLeftOutAlone leaves the only tensor out of a step, and then takes some with the same
// buffers, which have less to ask.
func TestLeftOutAlone(t *testing.T) {
	eachVaried(func(name string, of func(less float64) update.Rule) {
		o, plain, p, q, g := newOne(t, 40, of(0)), newOne(t, 40, of(0)), uniform(40, 1), uniform(40, 1), uniform(40, 2)
		must(t, o.StepSet([][]float32{p}, [][]float32{nil}))
		for range 4 {
			must(t, o.Step(p, g))
			must(t, plain.Step(q, g))
		}
		wantEqual(t, name, o, plain, 0, 0, p, q)
	})
}

// TestLeftOutNorm has a norm and a policy look at the gradients that there are.
func TestLeftOutNorm(t *testing.T) {
	for _, sizes := range [][]int{{2, 2, 2}, {5000, 5000, 5000}, {5000, 2, 5000}} {
		o, params, grads := newSet(t, sizes, plainSGD)
		for k := range grads {
			clear(grads[k])
			clear(params[k])
		}
		grads[0][1], grads[1][0], grads[2][1] = 3, 100, 4
		must(t, o.SetMaxNorm(2.5))
		must(t, o.SetPolicy(update.Refuse))
		must(t, o.StepSet(params, [][]float32{grads[0], nil, grads[2]}))
		if o.GradNorm() != 5 || params[1][0] != 0 || math.Abs(float64(params[2][1])+.2) > 1e-7 {
			t.Errorf("%v: the norm is %g, the parameters %g and %g", sizes, o.GradNorm(), params[1][0], params[2][1])
		}
		grads[2][0] = float32(math.Inf(1))
		must(t, o.StepSet(params, [][]float32{grads[0], grads[1], nil}))
		if o.Skipped() != 0 || o.Steps() != 2 {
			t.Errorf("%v: %d steps skipped of %d", sizes, o.Skipped(), o.Steps())
		}
	}
}

// TestEmptyIsNotMissing has a tensor without elements, whose gradient is nil: the others
// take their steps, in whatever buffers.
func TestEmptyIsNotMissing(t *testing.T) {
	for _, sizes := range [][]int{{3, 0, 5}, {0, 3}, {5000, 0, 3}} {
		o, params, grads := newSet(t, sizes, plainAdam)
		want, same, _ := newSet(t, sizes, plainAdam)
		for step := range 4 {
			for k, n := range sizes {
				if grads[k] = uniform(n, uint64(10*step+k)); n == 0 {
					grads[k] = nil
				}
			}
			must(t, o.StepSet(params, grads))
			for k, n := range sizes {
				if grads[k] == nil {
					grads[k] = make([]float32, n)
				}
			}
			must(t, want.StepSet(same, grads))
		}
		for k := range params {
			if !sameBits(params[k], same[k]) {
				t.Errorf("tensor %s of sizes %v takes another step", name(k), sizes)
			}
		}
	}
}
