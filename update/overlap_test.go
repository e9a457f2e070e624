package update_test

import (
	"errors"
	"math"
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
// step after step, of which only some move or go back to where they were. A step is refused where two share an element
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
		goodParams, goodGrads := slices.Clone(params), slices.Clone(grads) // of the last step that was taken
		for step := range 30 {
			p, g := make([][]float32, len(sizes)), make([][]float32, len(sizes))
			all := slices.Clone(state)
			back := step > 0 && rng.IntN(3) == 0 && goodParams[0].written
			for k, n := range sizes {
				switch {
				case back:
					params[k] = goodParams[k]
				case step == 0 || rng.IntN(4) == 0:
					params[k] = put(n, true)
				}
				switch {
				case back && rng.IntN(2) == 0:
					grads[k] = goodGrads[k]
				case !back && (step == 0 || rng.IntN(2) == 0):
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
				goodParams, goodGrads = slices.Clone(params), slices.Clone(grads)
				for k := range sizes {
					if g[k] != nil && !stepped(before, arena, params[k], grads[k], state[k]) {
						t.Fatalf("step %d of tensors of %v with buffers at %v: tensor %d is not what it must be", step, sizes, all, k)
					}
				}
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

// TestOverlapsOfMany has hundreds of parameters anywhere, and in each step all gradients
// elsewhere between them. One of which an element is a parameter is told, wherever it is.
func TestOverlapsOfMany(t *testing.T) {
	const tensors, room = 300, 1 << 16
	rng := rand.New(rand.NewPCG(3, 5))
	arena, written := make([]float32, room), make([]bool, room)
	var sizes []int
	for range tensors {
		sizes = append(sizes, 1+rng.IntN(90))
	}
	// put is where so many elements are anywhere, of which some are written or none.
	put := func(n int, some bool) int {
		for {
			if lo := rng.IntN(room - n); slices.Contains(written[lo:lo+n], true) == some {
				return lo
			}
		}
	}
	o, params, grads := newSet(t, sizes, update.SGD{Options: update.Options{LR: 1}})
	for k, n := range sizes {
		lo := put(n, false)
		params[k] = arena[lo : lo+n]
		for i := range n {
			written[lo+i] = true
		}
	}
	move := func() {
		for k, n := range sizes {
			lo := put(n, false)
			grads[k] = arena[lo : lo+n]
		}
	}
	for step := range 100 {
		move()
		must(t, o.StepSet(params, grads))
		move()
		k := rng.IntN(tensors)
		lo := put(sizes[k], true)
		grads[k] = arena[lo : lo+sizes[k]]
		var e *update.ArgError
		if err := o.StepSet(params, grads); !errors.As(err, &e) {
			t.Fatalf("step %d, whose gradient of tensor %d is upon parameters: %v", step, k, err)
		}
	}
}

// stepped reports whether parameters and momentum are those of a step of heavyBall.
func stepped(before, after []float32, p, g, m place) bool {
	for i := range p.n {
		b := .9*float64(before[m.lo+i]) + float64(before[g.lo+i])
		w := float64(before[p.lo+i]) - .1*b
		if math.Abs(float64(after[m.lo+i])-b) > 1e-4 || math.Abs(float64(after[p.lo+i])-w) > 1e-4 {
			return false
		}
	}
	return true
}

// TestApplyOverlaps applies parts anywhere: twice is refused, and so is a part whose
// buffers share an element with each other or with state, and End says what is left.
func TestApplyOverlaps(t *testing.T) {
	const room, n = 60, 10
	rng := rand.New(rand.NewPCG(4, 4))
	refused, taken := 0, 0
	for range 200 {
		arena := make([]float32, room)
		m := place{lo: rng.IntN(room - 2*n + 1), n: n, written: true} // v begins where it ends
		v := place{lo: m.lo + n, n: n, written: true}
		o, err := update.NewSet([]update.Tensor{{Size: n, State: map[string][]float32{"m": arena[m.lo:v.lo], "v": arena[v.lo : v.lo+n]}}}, plainAdam)
		must(t, err)
		for range 3 {
			must(t, o.Begin())
			done := make([]bool, n)
			for range 60 {
				lo := rng.IntN(n + 1)
				size := rng.IntN(min(n-lo, 4) + 1)
				p := place{lo: rng.IntN(room - size), n: size, written: true}
				g := place{lo: rng.IntN(room - size), n: size}
				bad := clash([]place{m, v, p, g}) || slices.Contains(done[lo:lo+size], true)
				before := slices.Clone(arena)
				err := o.Apply(0, lo, arena[p.lo:p.lo+size], arena[g.lo:g.lo+size])
				var e *update.ArgError
				if bad != errors.As(err, &e) || err != nil && !slices.Equal(arena, before) {
					t.Fatalf("part %d to %d with %v, %v and state at %v, done %v: %v", lo, lo+size, p, g, m, done, err)
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
			for lo, yes := range done { // what chance has left
				if !yes {
					must(t, o.Apply(0, lo, make([]float32, 1), make([]float32, 1)))
				}
			}
			if slices.Contains(done, false) {
				must(t, o.End())
			}
		}
	}
	if taken < 500 || refused < 500 {
		t.Errorf("%d parts taken, %d refused", taken, refused)
	}
}

// TestGradientsGoBack has a step refused for one gradient after another has moved. With the
// first one back, the step takes the other from where it is now.
func TestGradientsGoBack(t *testing.T) {
	o, params, grads := newSet(t, []int{2, 2}, update.SGD{Options: update.Options{LR: 1}})
	must(t, o.StepSet(params, grads))
	moved := []float32{7, 8}
	wantArg(t, "a gradient that is a parameter", o.StepSet(params, [][]float32{moved, params[0]}), "grads of tensor 1 (b)")
	clear(params[0])
	must(t, o.StepSet(params, [][]float32{moved, grads[1]}))
	if params[0][0] != -7 || params[0][1] != -8 {
		t.Errorf("the step is of other gradients: %v", params[0])
	}
}
