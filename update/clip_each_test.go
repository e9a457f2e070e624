package update

import (
	"fmt"
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// clamped is a gradient that was scaled and held within a limit, as a caller would do it.
func clamped(g []float32, scale, limit float64) []float32 {
	x, part := make([]float32, len(g)), 1.0
	if scale < 0x1p-100 {
		part = 0x1p-80
	}
	for i := range g {
		x[i] = float32(g[i]*float32(part)) * float32(scale/part)
		if x[i] > float32(limit) {
			x[i] = float32(limit)
		} else if x[i] < -float32(limit) {
			x[i] = -float32(limit)
		}
	}
	return x
}

// eachSize are tensors small and large, of units that end anywhere.
var eachSize = []int{70, 3, 0, 3*tune.UnitLen + 5, tune.SmallLen, tune.SmallLen + 1, 1, tune.ApartLen}

func sizesFor() []int {
	if testing.Short() {
		return eachSize[:7]
	}
	return eachSize
}

// clipRules are rules with every stage that there is beside clipping.
func clipRules() []Rule {
	return []Rule{adamW, rules["lamb"], rules["amsgrad l1"], SGD{Options{LR: .1, L1: .1, L2: .2, Proximal: true, Maximize: true}}, rules["momentum l2"]}
}

// TestMaxValue compares with steps whose gradients the caller has clipped.
func TestMaxValue(t *testing.T) {
	for _, scale := range []float64{1, .3, 3, 1e-40} {
		for _, workers := range []int{1, 3} {
			sizes := sizesFor()
			o, params, grads := set(t, sizes, clipRules()...)
			plain, want, _ := set(t, sizes, clipRules()...)
			must(t, o.SetWorkers(workers))
			must(t, o.SetMaxValue(.25))
			must(t, o.SetGradScale(scale))
			for step := range 20 {
				given := make([][]float32, len(grads))
				for k := range grads {
					for i := range grads[k] {
						grads[k][i] *= float32(math.Ldexp(1, (i+step)%3-1))
						if scale < 1e-39 && step == 0 {
							grads[k][i] *= 1e38
						}
					}
					given[k] = clamped(grads[k], scale, .25)
				}
				must(t, o.StepSet(params, grads))
				must(t, plain.StepSet(want, given))
				for k := range params {
					wantSame(t, fmt.Sprintf("a scale of %g, step %d", scale, step), o, plain, params[k], want[k])
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

// TestMaxValueOnce changes the limit between small steps, which take the short way, and
// applies parts.
func TestMaxValueOnce(t *testing.T) {
	const n = 1000
	o, plain := mustNew(t, n, adamW), mustNew(t, n, adamW)
	p, g := uniform(n, 1), uniform(n, 2)
	q := append([]float32(nil), p...)
	for step := range 12 {
		limit := []float64{math.Inf(1), .5, .1}[step/2%3]
		must(t, o.SetMaxValue(limit))
		if o.MaxValue() != limit {
			t.Errorf("the limit is %g", o.MaxValue())
		}
		if step == 5 {
			next := adamW
			next.WeightDecay *= 2
			must(t, o.SetRule(0, next))
			must(t, plain.SetRule(0, next))
		}
		if step%4 == 3 {
			must(t, o.Begin())
			wantArg(t, o.SetMaxValue(1), "step", "")
			must(t, o.Apply(0, 300, p[300:], g[300:]))
			must(t, o.Apply(0, 0, p[:300], g[:300]))
			must(t, o.End())
		} else {
			must(t, o.Step(p, g))
		}
		must(t, plain.Step(q, clamped(g, 1, limit)))
		wantSame(t, fmt.Sprintf("step %d", step), o, plain, p, q)
	}
}

// TestMaxTensorNorm compares with steps whose gradients the caller has clipped, each tensor
// to a norm of its own, then to a value.
func TestMaxTensorNorm(t *testing.T) {
	for _, scale := range []float64{1, .3} {
		for _, workers := range []int{1, 3} {
			sizes := sizesFor()
			o, params, grads := set(t, sizes, clipRules()...)
			plain, want, _ := set(t, sizes, clipRules()...)
			must(t, o.SetWorkers(workers))
			must(t, o.SetMaxTensorNorm(2))
			must(t, o.SetMaxValue(.2))
			must(t, o.SetGradScale(scale))
			clipped := 0
			for step := range 5 {
				given, present := make([][]float32, len(grads)), make([][]float32, len(grads))
				for k := range grads {
					if step == 2 && k == 4 {
						continue
					}
					factor := scale
					if norm := normOf(t, grads[k]) * scale; norm > 2 {
						factor, clipped = scale*(2/norm), clipped+1
					}
					given[k], present[k] = clamped(grads[k], factor, .2), grads[k]
				}
				must(t, o.StepSet(params, present))
				must(t, plain.StepSet(want, given))
				for k := range params {
					wantSame(t, fmt.Sprintf("a scale of %g, step %d, tensor %d", scale, step, k), o, plain, params[k], want[k])
				}
			}
			if clipped == 0 || clipped == 5*len(sizes) || o.GradNorm() != 0 {
				t.Errorf("%d of the gradients were clipped, and the norm of all is %g", clipped, o.GradNorm())
			}
		}
	}
}

// TestMaxTensorNormSmall has the only tensor, of which the second step is like the first.
func TestMaxTensorNormSmall(t *testing.T) {
	o, p, g := mustNew(t, 2, SGD{Options{LR: 1}}), make([]float32, 2), []float32{3, 4}
	must(t, o.SetMaxTensorNorm(2.5))
	for step := range 3 {
		must(t, o.Step(p, g))
		if want := -1.5 * float32(step+1); p[0] != want {
			t.Errorf("after %d steps: %g, want %g", step+1, p[0], want)
		}
		g[0], g[1] = 2*g[0], 2*g[1]
	}
}

// normOf is a gradient's norm as SetMaxNorm measures it.
func normOf(t *testing.T, g []float32) float64 {
	o := mustNew(t, len(g), SGD{})
	must(t, o.SetMaxNorm(1))
	must(t, o.Step(make([]float32, len(g)), g))
	return o.GradNorm()
}

// TestClipEachPolicies has what is too large before it is clipped but not after, and what
// is not finite.
func TestClipEachPolicies(t *testing.T) {
	for name, set := range map[string]func(o *Optimizer) error{
		"value":  func(o *Optimizer) error { return o.SetMaxValue(1) },
		"tensor": func(o *Optimizer) error { return o.SetMaxTensorNorm(1) },
	} {
		for _, n := range []int{10, tune.SmallLen + 10} {
			o, p, g := set2(t, n)
			must(t, o.SetPolicy(Skip))
			must(t, set(o))
			g[1][3] = 1e30 // whose square is no float32
			must(t, o.StepSet(p, g))
			if o.Skipped() != 0 || o.Steps() != 1 {
				t.Errorf("%s, %d: what is clipped to a finite square was skipped", name, n)
			}
			for _, bad := range []float64{math.Inf(-1), math.NaN()} {
				g[1][3] = float32(bad)
				skipped := o.Skipped()
				must(t, o.StepSet(p, g))
				if o.Skipped() != skipped+1 || o.NonFinite() != 1 {
					t.Errorf("%s, %d: %g was not skipped: %d not finite", name, n, bad, o.NonFinite())
				}
			}
		}
	}
}

func set2(t *testing.T, n int) (o *Optimizer, params, grads [][]float32) {
	return set(t, []int{5, n, 5}, adamW)
}

// TestClipEachRefuses has limits that cannot be, and two norms at a time.
func TestClipEachRefuses(t *testing.T) {
	o := mustNew(t, 4, adamW)
	for _, bad := range []float64{0, -1, math.NaN(), 1e-60} {
		wantArg(t, o.SetMaxValue(bad), "limit", "")
	}
	wantArg(t, o.SetMaxValue(1e39), "limit", "")
	for _, bad := range []float64{0, -1, math.NaN()} {
		wantArg(t, o.SetMaxTensorNorm(bad), "maxNorm", "")
	}
	must(t, o.SetMaxTensorNorm(1))
	wantArg(t, o.SetMaxNorm(1), "maxNorm", "")
	wantArg(t, o.Begin(), "MaxTensorNorm", "")
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, o.SetMaxTensorNorm(math.Inf(1)))
	must(t, o.SetMaxNorm(1))
	wantArg(t, o.SetMaxTensorNorm(1), "maxNorm", "")
	must(t, o.SetMaxTensorNorm(math.Inf(1)))
}

// TestClipEachAllocates has steps that allocate nothing.
func TestClipEachAllocates(t *testing.T) {
	o, params, grads := set(t, []int{70, 3*tune.UnitLen + 5, 4000}, adamW)
	must(t, o.SetMaxTensorNorm(1))
	must(t, o.SetMaxValue(.1))
	must(t, o.SetPolicy(Skip))
	step := func() { must(t, o.StepSet(params, grads)) }
	step()
	if n := allocs.PerRun(10, step); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
