package update

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// A part is one of a tensor's gradient.
type part struct{ tensor, lo, hi int }

// parts cuts tensors of these sizes anywhere and shuffles what there is.
func parts(rng *rand.Rand, sizes []int, left func(tensor int) bool) []part {
	var list []part
	for k, n := range sizes {
		for lo := 0; lo < n && !left(k); {
			hi := min(n, lo+1+rng.IntN([]int{3, 100, 5000, 40000, n}[rng.IntN(5)]))
			if hi-lo < 40 && n > 1000 {
				hi = min(n, lo+40)
			}
			list, lo = append(list, part{k, lo, hi}), hi
		}
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// observe has goroutines observe parts at the same time, some of which the caller has
// elsewhere than the whole gradient.
func observe(t *testing.T, o *Optimizer, list []part, grads [][]float32, goroutines int) {
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			for k := g; k < len(list); k += goroutines {
				x := grads[list[k].tensor][list[k].lo:list[k].hi]
				if k%3 == 0 {
					x = slices.Clone(x)
				}
				if err := o.Observe(list[k].tensor, list[k].lo, x); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
}

// TestObserve compares steps whose gradients have arrived in parts, in any order and from
// several goroutines, with steps that read them.
func TestObserve(t *testing.T) {
	sizes := []int{70, 3, 0, 3*tune.UnitLen + 5, tune.SmallLen, tune.SmallLen + 1, 1, 5 * tune.UnitLen, 9000, 9000, 17, 4096, 4000}
	whole, params, grads := set(t, sizes, adamW, rules["lamb"], rules["momentum l2"])
	split, same, _ := set(t, sizes, adamW, rules["lamb"], rules["momentum l2"])
	rng := rand.New(rand.NewPCG(1, 2))
	for _, o := range []*Optimizer{whole, split} {
		must(t, o.SetMaxNorm(.5))
		must(t, o.SetPolicy(Skip))
		must(t, o.SetGradScale(.75))
	}
	for step := range 20 {
		present := slices.Clone(grads)
		for k := range grads {
			grads[k] = uniform(sizes[k], uint64(1000*step+k))
			for i := range grads[k] {
				grads[k][i] *= float32(math.Ldexp(1, -i%7*3))
			}
			if present[k] = grads[k]; step%3 == 2 && rng.IntN(3) == 0 {
				present[k] = nil
			}
		}
		if step == 7 {
			grads[3][5] = float32(math.Inf(1)) // skipped
			present[3] = grads[3]
		}
		list := parts(rng, sizes, func(k int) bool { return present[k] == nil })
		observe(t, split, list, grads, 1+step%4)
		must(t, split.StepSet(same, present))
		must(t, whole.StepSet(params, present))
		if whole.GradNorm() != split.GradNorm() || whole.Steps() != split.Steps() {
			t.Fatalf("step %d, %d parts: the norm is %b, want %b", step, len(list), split.GradNorm(), whole.GradNorm())
		}
		for k := range params {
			wantSame(t, "observed", split, whole, same[k], params[k])
		}
	}
	if whole.Skipped() != 1 || split.Skipped() != 1 {
		t.Errorf("%d and %d steps were skipped, want 1", whole.Skipped(), split.Skipped())
	}
}

// TestObserveApply applies a step in parts whose norm has been observed in others.
func TestObserveApply(t *testing.T) {
	sizes := []int{5, 3*tune.UnitLen + 5, 100, 5000}
	whole, params, grads := set(t, sizes, adamW)
	split, same, _ := set(t, sizes, adamW)
	rng := rand.New(rand.NewPCG(3, 2))
	must(t, whole.SetMaxNorm(.5))
	must(t, split.SetMaxNorm(.5))
	for range 3 {
		all := func(int) bool { return false }
		observe(t, split, parts(rng, sizes, all), grads, 2)
		must(t, split.Begin())
		for _, p := range parts(rng, sizes, all) {
			must(t, split.Apply(p.tensor, p.lo, same[p.tensor][p.lo:p.hi], grads[p.tensor][p.lo:p.hi]))
		}
		must(t, split.End())
		must(t, whole.StepSet(params, grads))
		for k := range params {
			wantSame(t, "observed and applied", split, whole, same[k], params[k])
		}
	}
}

// TestObserveRefuses has parts that overlap, that lack and that are too many: nothing is
// written, and the step can be taken once it is right.
func TestObserveRefuses(t *testing.T) {
	o, params, grads := set(t, []int{100, 40000, 10}, rules["sgd"])
	wantArg(t, o.Observe(0, 0, grads[0]), "MaxNorm", "")
	must(t, o.SetMaxNorm(1))
	before := slices.Clone(params[1])
	refused := func(arg string, p, g [][]float32) {
		t.Helper()
		wantArg(t, o.StepSet(p, g), arg, "")
		if !sameBits(params[1], before) || o.Steps() != 0 {
			t.Error("a step that was refused has written")
		}
	}
	must(t, o.Observe(1, 100, grads[1][100:20000]))
	must(t, o.Observe(1, 20000, nil))
	for _, c := range [][2]int{{0, 101}, {19999, 20001}, {100, 20000}, {300, 301}, {0, 40000}} {
		wantArg(t, o.Observe(1, c[0], grads[1][c[0]:c[1]]), "offset", "")
	}
	for _, c := range []struct {
		tensor, offset, n int
		arg               string
	}{{3, 0, 1, "tensor"}, {-1, 0, 1, "tensor"}, {0, -1, 1, "offset"}, {0, 101, 0, "offset"}, {0, 99, 2, "len(grads)"}} {
		wantArg(t, o.Observe(c.tensor, c.offset, make([]float32, c.n)), c.arg, "")
	}
	refused("tensor 0", params, grads)
	must(t, o.Observe(0, 0, grads[0]))
	must(t, o.Observe(2, 0, grads[2]))
	refused("tensor 1", params, grads)
	wantArg(t, o.Begin(), "tensor 1", "")
	must(t, o.Observe(1, 0, grads[1][:100]))
	must(t, o.Observe(1, 20001, grads[1][20001:]))
	refused("tensor 1", params, grads)
	must(t, o.Observe(1, 20000, grads[1][20000:20001]))
	refused("tensor 2", params, [][]float32{grads[0], grads[1], nil})
	refused("len(grads[1])", params, [][]float32{grads[0], grads[1][1:], grads[2]})
	must(t, o.StepSet(params, grads))
	if o.Steps() != 1 || sameBits(params[1], before) {
		t.Error("the step was not taken")
	}
	wantArg(t, o.Begin(), "MaxNorm", "") // nothing has been observed since

	must(t, o.Observe(1, 0, grads[1]))
	o.ForgetObserved()
	must(t, o.StepSet(params, grads)) // reads
	must(t, o.Observe(1, 0, grads[1]))
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, o.SetMaxNorm(1))
	must(t, o.Observe(1, 0, grads[1]))
	must(t, o.BeginNorm(1))
	var e *ArgError
	if err := o.Observe(1, 0, grads[1]); errors.As(err, &e) {
		t.Errorf("what was observed has outlived a step that was begun: %v", err)
	}
}

// TestObserveAllocates has steps that allocate nothing once there is room.
func TestObserveAllocates(t *testing.T) {
	sizes := []int{70, 3*tune.UnitLen + 5, 4000, 20000}
	o, params, grads := set(t, sizes, adamW)
	must(t, o.SetMaxNorm(1))
	step := func() {
		for k, n := range sizes {
			for lo := 0; lo < n; lo += 5000 {
				must(t, o.Observe(k, lo, grads[k][lo:min(lo+5000, n)]))
			}
		}
		must(t, o.StepSet(params, grads))
	}
	step()
	if n := allocs.PerRun(10, step); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
