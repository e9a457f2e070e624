package update_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// A dAdaptModel is the authors' step in float64, of tensors that share one d and have a layer
// scale and a decoupled decay each.
type dAdaptModel struct {
	layer, decay []float64
	p, m, v, s   [][]float64
	d, r, grow   float64
}

func (a *dAdaptModel) step(grads [][]float32) {
	const beta1, beta2, eps = .9, .999, 1e-8
	root := math.Sqrt(beta2)
	before, up, size := a.d, 0., 0.
	for k, grad := range grads {
		for i, x := range grad {
			g := float64(x)
			up += a.layer[k] * before * g * a.s[k][i] / (math.Sqrt(a.v[k][i]) + eps)
			a.m[k][i] = beta1*a.m[k][i] + (1-beta1)*a.layer[k]*before*g
			a.v[k][i] = beta2*a.v[k][i] + (1-beta2)*g*g
			a.s[k][i] = root*a.s[k][i] + (1-root)*before*g
			size += a.layer[k] * math.Abs(a.s[k][i])
			a.p[k][i] -= a.decay[k]*before*a.p[k][i] + a.m[k][i]/(math.Sqrt(a.v[k][i])+eps)
		}
	}
	a.r = root*a.r + (1-root)*up
	a.d = max(a.d, min(a.r/((1-root)*size), a.d*a.grow))
}

// TestDAdapt follows tensors of two groups, of which one decays and has another layer scale and
// some are left out of steps: all have one d, which follows from sums over those that take the
// step, through a checkpoint into an optimizer with another number of workers.
func TestDAdapt(t *testing.T) {
	sizes := []int{300, 7, 0, 4097, tune.ParallelLen + 5}
	for _, grow := range []float64{0, 1.1} {
		plain := torch.DAdaptAdam()
		plain.GrowthRate, plain.D0 = grow, 1e-3
		other := plain
		other.WeightDecay, other.LayerScale = .01, .5
		rng := rand.New(rand.NewPCG(3, 3))
		o, params, grads := newSet(t, sizes, plain, other)
		a := &dAdaptModel{d: 1e-3, grow: math.Inf(1)}
		if grow != 0 {
			a.grow = grow
		}
		for k, n := range sizes {
			a.layer, a.decay = append(a.layer, 1-float64(k%2)*.5), append(a.decay, float64(k%2)*.01)
			p := make([]float64, n)
			for i := range p {
				p[i] = float64(params[k][i])
			}
			a.p = append(a.p, p)
			a.m, a.v, a.s = append(a.m, make([]float64, n)), append(a.v, make([]float64, n)), append(a.s, make([]float64, n))
		}
		for step := range 40 {
			present := slices.Clone(grads)
			for k, p := range params {
				for i := range p { // towards 3, with noise
					grads[k][i] = p[i] - 3 + float32(rng.NormFloat64())
				}
				if step > 0 && k != 3 && (step+k)%3 == 0 || k == 1 && step < 6 {
					present[k] = nil
				}
			}
			if step == 20 {
				s, err := o.Export()
				must(t, err)
				o, _, _ = newSet(t, sizes, plain, other)
				must(t, o.SetWorkers(3))
				must(t, o.Import(s))
			}
			must(t, o.StepSet(params, present))
			a.step(present)
			for k, n := range sizes {
				if n == 0 {
					continue
				}
				d, r := buffer(o, k, "d")[0], buffer(o, k, "numerator")[0]
				if math.Abs(float64(d)/a.d-1) > 1e-4 || math.Abs(float64(r)-a.r) > 1e-4*math.Abs(a.r) {
					t.Fatalf("growth %g, step %d, tensor %d: d is %g and the numerator %g, want %g and %g", grow, step, k, d, r, a.d, a.r)
				}
				if d != buffer(o, 0, "d")[0] {
					t.Fatalf("step %d: the d of tensor %d is %g, that of the first %g", step, k, d, buffer(o, 0, "d")[0])
				}
				for i, x := range params[k] {
					if math.Abs(float64(x)-a.p[k][i]) > 1e-3*(1+math.Abs(a.p[k][i])) {
						t.Fatalf("growth %g, step %d: element %d of tensor %d is %g, want %g", grow, step, i, k, x, a.p[k][i])
					}
				}
			}
		}
		if a.d < .01 {
			t.Errorf("growth %g: d has only grown to %g", grow, a.d)
		}
	}
}

// TestDAdaptStays has nothing to estimate from, and what is no number: d stays, and is
// estimated again afterwards.
func TestDAdaptStays(t *testing.T) {
	r := torch.DAdaptAdam()
	r.D0 = 0 // 1e-6
	o, p := newOne(t, 2, r), []float32{1, 2}
	for range 2 {
		must(t, o.Step(p, []float32{0, 0}))
		if got := fmt.Sprint(buffer(o, 0, "d")[0], buffer(o, 0, "numerator")[0], p); got != "1e-06 0 [1 2]" {
			t.Errorf("without a gradient: %s, want 1e-06 0 [1 2]", got)
		}
	}
	must(t, o.Step(p, []float32{1, float32(math.NaN())}))
	if got := buffer(o, 0, "d")[0]; got != 1e-6 || p[1] == p[1] || p[0] != p[0] {
		t.Errorf("with a gradient of NaN d is %g, the parameters %g", got, p)
	}
}

// TestSumsOfRules has two rules in one optimizer whose sums are over all their tensors: each
// has its own, as in an optimizer without the other.
func TestSumsOfRules(t *testing.T) {
	prodigy, dAdapt := torch.Prodigy(), torch.DAdaptAdam()
	prodigy.D0, dAdapt.D0 = 1e-3, 1e-3
	dAdapt.GrowthRate = 1.05 // with gradients that stay what they are nothing else ends it
	second, decaying := prodigy, dAdapt
	second.LR, decaying.WeightDecay = .5, .01
	sizes := []int{300, 7, 4097, 50, 33, 90000, 12, 64}
	o, params, grads := newSet(t, sizes, prodigy, dAdapt, second, decaying)
	apart := [2]*update.Optimizer{}
	var own [2][][]float32
	apart[0], own[0], _ = newSet(t, []int{300, 4097, 33, 12}, prodigy, second)
	apart[1], own[1], _ = newSet(t, []int{7, 50, 90000, 64}, dAdapt, decaying)
	for k := range sizes {
		copy(own[k%2][k/2], params[k])
	}
	for range 30 {
		must(t, o.StepSet(params, grads))
		for half := range apart {
			list := [][]float32{grads[half], grads[half+2], grads[half+4], grads[half+6]}
			must(t, apart[half].StepSet(own[half], list))
		}
	}
	for k := range sizes {
		d, alone := buffer(o, k, "d")[0], buffer(apart[k%2], k/2, "d")[0]
		if d != alone || d != buffer(o, k%2, "d")[0] || d <= 1e-3 {
			t.Errorf("tensor %d: d is %g, without the other rule %g", k, d, alone)
		}
		if !slices.Equal(params[k], own[k%2][k/2]) {
			t.Errorf("tensor %d is another without the other rule", k)
		}
	}
}
