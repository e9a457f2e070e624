package update_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// prodigyFirst is a d with which parameters move by more than their last bits at once.
const prodigyFirst = 1e-3

// A prodigyModel is the authors' step in float64, of tensors that share one d and some of
// which decay.
type prodigyModel struct {
	lr, decay        []float64 // of each tensor
	p, p0, s, m, v   [][]float64
	d, r, most, grow float64
}

func (a *prodigyModel) step(grads [][]float32) {
	const beta1, beta2, eps, d0 = .9, .999, 1e-8, prodigyFirst
	beta3 := math.Sqrt(beta2)
	a.r *= beta3
	size := 0.
	for k, grad := range grads {
		eta := a.d * a.lr[k]
		if grad != nil && a.p0[k] == nil {
			a.p0[k] = slices.Clone(a.p[k])
		}
		for i, x := range grad {
			g := float64(x)
			a.r += a.d / d0 * eta * g * (a.p0[k][i] - a.p[k][i])
			a.m[k][i] = beta1*a.m[k][i] + (1-beta1)*a.d*g
			a.v[k][i] = beta2*a.v[k][i] + (1-beta2)*a.d*a.d*g*g
			a.s[k][i] = beta3*a.s[k][i] + a.d/d0*eta*g
			size += math.Abs(a.s[k][i])
		}
	}
	before, estimate := a.d, a.r/size
	if a.d == d0 {
		a.d = max(a.d, estimate)
	}
	a.most = max(a.most, estimate)
	a.d = min(a.most, a.d*a.grow)
	for k, grad := range grads {
		for i := range grad {
			a.p[k][i] -= before * a.lr[k] * (a.decay[k]*a.p[k][i] + a.m[k][i]/(math.Sqrt(a.v[k][i])+a.d*eps))
		}
	}
}

// TestProdigy follows tensors of two groups, of which one decays and some are left out of
// steps: all have one d, which follows from sums over those that take the step, through a
// checkpoint into an optimizer with another number of workers.
func TestProdigy(t *testing.T) {
	sizes := []int{300, 7, 0, 4097, tune.ParallelLen + 5}
	for _, grow := range []float64{0, 1.5} {
		plain := torch.Prodigy()
		plain.GrowthRate, plain.D0, plain.DCoef = grow, prodigyFirst, 0
		decaying := plain
		decaying.WeightDecay = .1
		rng := rand.New(rand.NewPCG(3, 3))
		o, params, grads := newSet(t, sizes, plain, decaying)
		a := &prodigyModel{d: prodigyFirst, most: prodigyFirst, grow: math.Inf(1)}
		if grow != 0 {
			a.grow = grow
		}
		for k, n := range sizes {
			a.lr, a.decay = append(a.lr, 1), append(a.decay, float64(k%2)*.1)
			p := make([]float64, n)
			for i := range p {
				p[i] = float64(params[k][i])
			}
			a.p, a.p0 = append(a.p, p), append(a.p0, nil)
			a.s, a.m, a.v = append(a.s, make([]float64, n)), append(a.m, make([]float64, n)), append(a.v, make([]float64, n))
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
				o, _, _ = newSet(t, sizes, plain, decaying)
				must(t, o.SetWorkers(3))
				must(t, o.Import(s))
			}
			must(t, o.StepSet(params, present))
			a.step(present)
			for k, n := range sizes {
				if n == 0 {
					continue
				}
				d, most := buffer(o, k, "d")[0], buffer(o, k, "d_max")[0]
				if math.Abs(float64(d)/a.d-1) > 1e-4 || math.Abs(float64(most)/a.most-1) > 1e-4 {
					t.Fatalf("growth %g, step %d, tensor %d: d is %g and at most %g, want %g and %g", grow, step, k, d, most, a.d, a.most)
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

// TestShares holds the entries of rules to their plans.
func TestShares(t *testing.T) {
	for _, s := range registry.Samples() {
		if is := update.SumsOverTensors(s.Rule); is != registry.Of(s.Rule).Shares {
			t.Errorf("%s: its plan has sums over tensors: %v, its entry says %v", s.Name, is, !is)
		}
	}
}

// TestProdigyStays has nothing to estimate from, and what is no number: d stays, and is
// estimated again afterwards. Without anything to estimate from parameters do not decay either.
func TestProdigyStays(t *testing.T) {
	r := torch.Prodigy()
	r.D0 = 0 // 1e-6
	r.WeightDecay = 1e4
	r.Eps, r.AllowZeroEps = 0, true
	o, p := newOne(t, 2, r), []float32{1, 2}
	d := func() string { return fmt.Sprint(buffer(o, 0, "d")[0], buffer(o, 0, "numerator")[0], p) }
	for _, g := range []float32{0, 0} {
		must(t, o.Step(p, []float32{g, g}))
		if got := d(); got != "1e-06 0 [1 2]" {
			t.Errorf("without a gradient: %s, want 1e-06 0 [1 2]", got)
		}
	}
	must(t, o.SetLR(0))
	must(t, o.Step(p, []float32{1, -1})) // which m and v remember
	must(t, o.SetLR(1))
	must(t, o.Step(p, []float32{0, 0}))
	if got := d(); got != "1e-06 0 [1 2]" {
		t.Errorf("with a gradient of the rate 0: %s, want 1e-06 0 [1 2]", got)
	}
	must(t, o.Step(p, []float32{1, float32(math.NaN())}))
	if got := buffer(o, 0, "d")[0]; got != 1e-6 || p[1] == p[1] || p[0] != p[0] {
		t.Errorf("with a gradient of NaN d is %g, the parameters %g", got, p)
	}
	must(t, o.SetPolicy(update.Skip))
	must(t, o.Step(p, []float32{1, float32(math.Inf(1))}))
	if o.Skipped() != 1 {
		t.Errorf("%d steps are skipped, want 1", o.Skipped())
	}
}

// TestProdigyWorkers has the same bits with any number of workers, of tensors large and small.
func TestProdigyWorkers(t *testing.T) {
	sizes := []int{5, 100000, 33, tune.ParallelLen, 64}
	var want [][]float32
	for _, workers := range []int{1, 2, 5} {
		o, params, grads := newSet(t, sizes, update.Prodigy{Options: update.Options{LR: 1}, Beta1: .9, Beta2: .99, Eps: 1e-8, D0: 1e-3})
		must(t, o.SetWorkers(workers))
		for range 8 {
			must(t, o.StepSet(params, grads))
		}
		if workers == 1 {
			want = params
		}
		for k := range params {
			if !slices.Equal(params[k], want[k]) {
				t.Errorf("%d workers: tensor %d differs", workers, k)
			}
		}
	}
}
