package update

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestMaxNorm compares clipped steps with steps whose gradients are scaled by the
// factor that the norm gives, for tensors large and small and any workers.
func TestMaxNorm(t *testing.T) {
	sizes := []int{70, 3, 0, 3 * tune.UnitLen, tune.SmallLen, tune.SmallLen + 1, 1, tune.ApartLen}
	if testing.Short() {
		sizes = sizes[:7]
	}
	for _, scale := range []float64{1, .25} {
		var first [][]float32
		for _, workers := range []int{1, 3} {
			clipped, params, grads := set(t, sizes, adamW, rules["sgd"], rules["momentum l2"])
			scaled, want, _ := set(t, sizes, adamW, rules["sgd"], rules["momentum l2"])
			must(t, clipped.SetWorkers(workers))
			must(t, clipped.SetMaxNorm(.5))
			must(t, clipped.SetGradScale(scale))
			sum := 0.0
			for _, g := range grads {
				for _, x := range g {
					sum += float64(x) * float64(x)
				}
			}
			norm := math.Sqrt(sum) * scale
			for range 3 {
				must(t, clipped.StepSet(params, grads))
				if d := clipped.GradNorm()/norm - 1; math.Abs(d) > 1e-12 {
					t.Fatalf("the norm is %g, want %g", clipped.GradNorm(), norm)
				}
				must(t, scaled.SetGradScale(scale*(.5/clipped.GradNorm())))
				must(t, scaled.StepSet(want, grads))
			}
			for k := range params {
				wantSame(t, "clipped", clipped, scaled, params[k], want[k])
			}
			if workers == 1 {
				first = params
			}
			for k := range params {
				if !sameBits(params[k], first[k]) {
					t.Errorf("%d workers: tensor %d differs", workers, k)
				}
			}
		}
	}
}

// TestMaxNormLeaves has gradients below the norm, one alone and with none set.
func TestMaxNormLeaves(t *testing.T) {
	o, plain := mustNew(t, 100, rules["adam"]), mustNew(t, 100, rules["adam"])
	p, g := uniform(100, 1), uniform(100, 2)
	q := slices.Clone(p)
	must(t, o.SetMaxNorm(1e3))
	for range 3 {
		must(t, o.Step(p, g))
		must(t, plain.Step(q, g))
	}
	wantSame(t, "below the norm", o, plain, p, q)
	if norm := math.Sqrt(SumSquares(g)); o.GradNorm() != norm || plain.GradNorm() != 0 {
		t.Errorf("the norms are %g and %g, want %g and 0", o.GradNorm(), plain.GradNorm(), norm)
	}
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, o.Step(p, g))
	if o.GradNorm() != 0 {
		t.Errorf("without a largest norm there is one of %g", o.GradNorm())
	}
	for _, bad := range []float64{0, -1, math.NaN()} {
		wantArg(t, o.SetMaxNorm(bad), "maxNorm", "")
	}
}

// TestMaxNormPolicies has an infinity, which the norm gives away.
func TestMaxNormPolicies(t *testing.T) {
	for _, policy := range []Policy{Propagate, Skip, Refuse} {
		o, p, g := mustNew(t, 10, rules["sgd"]), uniform(10, 1), uniform(10, 2)
		must(t, o.SetMaxNorm(1))
		must(t, o.SetPolicy(policy))
		must(t, o.Step(p, g))
		before := slices.Clone(p)
		g[3] = float32(math.Inf(-1))
		err := o.Step(p, g)
		var e *NonFiniteError
		if errors.As(err, &e) != (policy == Refuse) {
			t.Errorf("policy %d: %v", policy, err)
		}
		if !math.IsInf(o.GradNorm(), 1) {
			t.Errorf("policy %d: the norm is %g", policy, o.GradNorm())
		}
		if policy == Propagate {
			if p[3] == p[3] {
				t.Errorf("an infinity times 0 has become %g", p[3])
			}
			continue
		}
		if !sameBits(p, before) || o.Steps() != 1 || o.NonFinite() != 1 {
			t.Errorf("policy %d: the step was not skipped: %d steps, %d not finite", policy, o.Steps(), o.NonFinite())
		}
		g[3] = float32(math.Sqrt(math.MaxFloat32)) // whose square is finite in float64
		must(t, o.Step(p, g))
		if o.Steps() != 2 || o.NonFinite() != 0 {
			t.Errorf("policy %d does not go on", policy)
		}
	}
}

// TestSkippedClip takes a step on the caller's goroutines after one that was
// skipped, whose norm was NaN.
func TestSkippedClip(t *testing.T) {
	o, p, g := mustNew(t, 4, rules["sgd"]), uniform(4, 1), uniform(4, 2)
	must(t, o.SetMaxNorm(1))
	must(t, o.SetPolicy(Skip))
	g[0] = float32(math.NaN())
	must(t, o.Step(p, g))
	g[0] = 1
	must(t, o.SetPolicy(Propagate))
	must(t, o.BeginNorm(SumSquares(g)))
	must(t, o.Apply(0, 0, p, g))
	must(t, o.End())
	for i, x := range p {
		if x != x {
			t.Errorf("parameter %d is NaN", i)
		}
	}
}
