package update_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

// sophia64 is a step of Sophia in float64.
func sophia64(r update.Sophia, t int, p, m, h, g float64) (nextP, nextM float64) {
	m = r.Beta1*m + (1-r.Beta1)*g
	hat := m
	if r.BiasCorrected {
		hat /= 1 - math.Pow(r.Beta1, float64(t))
	}
	u := hat / max(r.Gamma*h, r.Eps)
	return p - r.LR*(max(-r.Clip, min(r.Clip, u))+r.WeightDecay*p), m
}

// TestSophiaGolden follows Optax for 60 steps, of which some are followed by an estimate.
func TestSophiaGolden(t *testing.T) {
	usual := optax.Sophia(.01)
	clipped := usual
	clipped.Beta1, clipped.Beta2, clipped.Gamma, clipped.Eps, clipped.Clip = .8, .9, .5, .01, .3
	for name, c := range map[string]struct {
		rule  update.Sophia
		every int
	}{"optax": {usual, 10}, "optax_clip": {clipped, 3}} {
		const n = 257
		want := readFloats(t, "sophia/"+name+".bin")
		params, gradients := readFloats(t, "golden/params.bin"), readFloats(t, "golden/gradients.bin")
		o := newOne(t, n, c.rule)
		squares := make([]float32, n)
		for step := 1; step <= len(gradients)/n; step++ {
			g := gradients[(step-1)*n:][:n]
			must(t, o.Step(params, g))
			if (step-1)%c.every == 0 {
				for i, x := range g {
					squares[i] = x * x
				}
				must(t, o.UpdateHessian([][]float32{squares}))
			}
			if !slices.Contains([]int{1, 2, 3, 10, 30, 60}, step) {
				continue
			}
			for _, got := range [][]float32{params, buffer(o, 0, "m"), buffer(o, 0, "h")} {
				for i, x := range got {
					if y := float64(want[i]); math.Abs(float64(x)-y) > 1e-5*math.Abs(y)+1e-6 {
						t.Fatalf("%s, step %d, element %d: %g, want %g", name, step, i, x, y)
					}
				}
				want = want[n:]
			}
		}
		if len(want) > 0 {
			t.Errorf("%s: %d numbers are left", name, len(want))
		}
	}
}

// TestSophia follows both presets in float64, with estimates of any sign, over
// tensors that share a call, are cut in pieces, keep their h, or have another rule.
func TestSophia(t *testing.T) {
	sizes := []int{5, 300, 70000, 7, 40}
	for _, r := range []update.Sophia{optax.Sophia(.01), textbook.SophiaG(.01, 10)} {
		tensors := make([]update.Tensor, len(sizes))
		for k, n := range sizes {
			tensors[k] = update.Tensor{Size: n, Rule: k / 4}
		}
		o, err := update.NewSet(tensors, r, torch.SGD())
		must(t, err)
		must(t, o.SetWorkers(2))
		var params, estimates [][]float32
		var p64, m64, h64 [][]float64
		for k, n := range sizes {
			params, estimates = append(params, make([]float32, n)), append(estimates, make([]float32, n))
			p64, m64, h64 = append(p64, make([]float64, n)), append(m64, make([]float64, n)), append(h64, make([]float64, n))
			for i := range n {
				params[k][i] = float32(math.Sin(float64(i + k)))
				p64[k][i] = float64(params[k][i])
			}
		}
		estimates[3], estimates[4] = nil, nil
		for step := 1; step <= 12; step++ {
			var grads [][]float32
			for k, n := range sizes {
				grads = append(grads, make([]float32, n))
				for i := range n {
					grads[k][i] = float32(math.Cos(float64(step*i+k)) / 8)
				}
			}
			if step%3 == 0 {
				for k, list := range estimates {
					for i := range list {
						list[i] = float32(math.Sin(float64(step*i)) + .9)
						h64[k][i] = r.Beta2*h64[k][i] + (1-r.Beta2)*float64(list[i])
					}
				}
				must(t, o.UpdateHessian(estimates))
			}
			must(t, o.StepSet(params, grads))
			for k := range sizes[:4] {
				for i := range grads[k] {
					p64[k][i], m64[k][i] = sophia64(r, step, p64[k][i], m64[k][i], h64[k][i], float64(grads[k][i]))
					if off := math.Abs(float64(params[k][i]) - p64[k][i]); off > 2e-5 {
						t.Fatalf("%+v, step %d, element %d of %d: %g, want %g", r, step, i, k, params[k][i], p64[k][i])
					}
				}
			}
		}
		if !slices.Equal(buffer(o, 3, "h"), make([]float32, sizes[3])) {
			t.Error("h has moved without an estimate")
		}
	}
}

// TestUpdateHessianRefuses has estimates that are none.
func TestUpdateHessianRefuses(t *testing.T) {
	o, err := update.NewSet([]update.Tensor{{Size: 3, Name: "a"}, {Size: 2, Name: "b", Rule: 1}}, optax.Sophia(.1), torch.SGD())
	must(t, err)
	x := []float32{1, 2, 3}
	wantArg(t, "too few", o.UpdateHessian([][]float32{x}), "len(estimates)")
	wantArg(t, "too short", o.UpdateHessian([][]float32{x[:2], nil}), "len(estimates[0]) (a)")
	wantArg(t, "another rule's", o.UpdateHessian([][]float32{x, x[:2]}), "len(estimates[1]) (b)")
	wantArg(t, "state", o.UpdateHessian([][]float32{buffer(o, 0, "m"), nil}), "estimates of tensor 0 (a)")
	must(t, o.Begin())
	wantArg(t, "begun", o.UpdateHessian([][]float32{x, nil}), "step")
	if h := buffer(o, 0, "h"); !slices.Equal(h, make([]float32, 3)) {
		t.Errorf("h is %g", h)
	}
}

// ExampleOptimizer_UpdateHessian descends in a valley that is 10,000 times as steep in one
// direction as in the other. Here the Hessian is known; else it is estimated.
func ExampleOptimizer_UpdateHessian() {
	steepness := []float32{100, .01}
	rule := optax.Sophia(.1)
	rule.WeightDecay, rule.Gamma, rule.Beta2 = 0, 1, .5
	o, err := update.New(2, rule)
	if err != nil {
		panic(err)
	}
	params, grads := []float32{1, 1}, make([]float32, 2)
	for step := range 100 {
		for i, a := range steepness {
			grads[i] = a * params[i]
		}
		if step%10 == 0 {
			if err := o.UpdateHessian([][]float32{steepness}); err != nil {
				panic(err)
			}
		}
		if err := o.Step(params, grads); err != nil {
			panic(err)
		}
	}
	fmt.Printf("%.3f\n", params)
	// Output: [0.013 0.013]
}
