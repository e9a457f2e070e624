package update_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// A place is some elements of an arena. Those that are written may share none with others.
type place struct {
	lo, n   int
	written bool
}

func (x place) clashes(y place) bool {
	return (x.written || y.written) && x.n > 0 && y.n > 0 && x.lo < y.lo+y.n && y.lo < x.lo+x.n
}

func clash(list []place) bool {
	for k, x := range list {
		if slices.ContainsFunc(list[k+1:], x.clashes) {
			return true
		}
	}
	return false
}

// TestOverlaps puts parameters, gradients and the caller's state anywhere in an arena,
// step after step, of which only some move. A step is refused where two share an element
// that is written, though gradients may share theirs, and what was known of earlier steps
// never lets one through or keeps one out.
func TestOverlaps(t *testing.T) {
	const room = 40
	rng := rand.New(rand.NewPCG(3, 3))
	refused, taken := 0, 0
	for range 300 {
		arena := make([]float32, room)
		at := func(p place) []float32 { return arena[p.lo : p.lo+p.n] }
		put := func(n int, written bool) place {
			return place{lo: rng.IntN(room - n + 1), n: n, written: written}
		}
		var tensors []update.Tensor
		var state []place
		sizes := []int{rng.IntN(4), 1 + rng.IntN(4), rng.IntN(3)}[:1+rng.IntN(3)]
		for _, n := range sizes {
			s := put(n, true)
			state = append(state, s)
			tensors = append(tensors, update.Tensor{Size: n, State: map[string][]float32{"momentum": at(s)}})
		}
		o, err := update.NewSet(tensors, heavyBall)
		if (err != nil) != clash(state) {
			t.Fatalf("state at %v: %v", state, err)
		}
		if err != nil {
			continue
		}
		params, grads := make([]place, len(sizes)), make([]place, len(sizes))
		for step := range 30 {
			p, g := make([][]float32, len(sizes)), make([][]float32, len(sizes))
			all := slices.Clone(state)
			for k, n := range sizes {
				if step == 0 || rng.IntN(4) == 0 {
					params[k] = put(n, true)
				}
				if step == 0 || rng.IntN(2) == 0 {
					grads[k] = put(n, false)
				}
				p[k], g[k] = at(params[k]), at(grads[k])
				all = append(all, params[k])
				if n > 0 && len(sizes) > 1 && rng.IntN(5) == 0 {
					g[k] = nil
				} else {
					all = append(all, grads[k])
				}
			}
			before := slices.Clone(arena)
			err := o.StepSet(p, g)
			var e *update.ArgError
			if clash(all) != errors.As(err, &e) || err != nil && !slices.Equal(arena, before) {
				t.Fatalf("step %d of tensors of %v with buffers at %v: %v", step, sizes, all, err)
			}
			if err == nil {
				taken++
			} else {
				refused++
			}
			for i := range arena {
				arena[i] = float32(i)
			}
		}
	}
	if taken < 300 || refused < 300 {
		t.Errorf("%d steps taken, %d refused", taken, refused)
	}
}

// TestApplyOverlaps applies parts anywhere: twice is refused, and so is a part whose
// buffers share an element with each other or with state, and End says what is left.
func TestApplyOverlaps(t *testing.T) {
	const room, n = 60, 12
	rng := rand.New(rand.NewPCG(4, 4))
	refused, taken := 0, 0
	for range 200 {
		arena := make([]float32, room)
		state := place{lo: rng.IntN(room - n), n: n, written: true}
		o, err := update.NewSet([]update.Tensor{{Size: n, State: map[string][]float32{"momentum": arena[state.lo : state.lo+n]}}}, heavyBall)
		must(t, err)
		for range 3 {
			must(t, o.Begin())
			done := make([]bool, n)
			for range 60 {
				lo := rng.IntN(n + 1)
				size := rng.IntN(min(n-lo, 4) + 1)
				p := place{lo: rng.IntN(room - size), n: size, written: true}
				g := place{lo: rng.IntN(room - size), n: size}
				bad := clash([]place{state, p, g}) || slices.Contains(done[lo:lo+size], true)
				before := slices.Clone(arena)
				err := o.Apply(0, lo, arena[p.lo:p.lo+size], arena[g.lo:g.lo+size])
				var e *update.ArgError
				if bad != errors.As(err, &e) || err != nil && !slices.Equal(arena, before) {
					t.Fatalf("part %d to %d with %v, %v and state at %v, done %v: %v", lo, lo+size, p, g, state, done, err)
				}
				if err != nil {
					refused++
					continue
				}
				taken++
				for i := lo; i < lo+size; i++ {
					done[i] = true
				}
				if all := !slices.Contains(done, false); all != (o.End() == nil) {
					t.Fatalf("done are %v, and End says %v", done, !all)
				} else if all {
					break
				}
			}
			if slices.Contains(done, false) {
				return
			}
		}
	}
	if taken < 500 || refused < 500 {
		t.Errorf("%d parts taken, %d refused", taken, refused)
	}
}
