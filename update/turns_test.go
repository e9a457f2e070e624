package update_test

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/update"
)

// TestOneAtATime has goroutines step the same optimizer. Those that come in while another
// is at work get an error, and the steps of the others are all that there are.
func TestOneAtATime(t *testing.T) {
	const n, lr = 1 << 20, 0x1p-10
	o, p, g := newOne(t, n, update.SGD{Options: update.Options{LR: lr}}), make([]float32, n), make([]float32, n)
	for i := range g {
		g[i] = 1
	}
	var taken, refused atomic.Int64
	var running sync.WaitGroup
	deadline := time.Now().Add(5 * time.Minute)
	for range 4 {
		running.Go(func() {
			for (taken.Load() < 20 || refused.Load() == 0) && time.Now().Before(deadline) {
				var e *update.ArgError
				switch err := o.Step(p, g); {
				case err == nil:
					taken.Add(1)
				case errors.As(err, &e) && e.Arg == "the optimizer":
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if o.Steps() != taken.Load() || refused.Load() == 0 {
		t.Errorf("%d steps are counted, %d were taken, %d refused", o.Steps(), taken.Load(), refused.Load())
	}
	if want := float32(-lr * float64(taken.Load())); slices.ContainsFunc(p, func(x float32) bool { return x != want }) {
		t.Errorf("parameters are not those of %d steps", taken.Load())
	}
}

// TestStepAgain takes a step with the buffers of the one before, which has less to ask,
// after each of the settings that make it ask again.
func TestStepAgain(t *testing.T) {
	p, g := make([]float32, 4), []float32{3, 0, 0, 4}
	again := func(o *update.Optimizer) {
		for range 3 {
			must(t, o.Step(p, g))
		}
	}
	o := newOne(t, 4, update.SGD{Options: update.Options{LR: 1}})
	again(o)
	must(t, o.SetMaxNorm(1))
	clear(p)
	must(t, o.Step(p, g))
	if o.GradNorm() != 5 || math.Abs(float64(p[0])+.6) > 1e-6 {
		t.Errorf("with a largest norm: the norm is %g, the step to %g", o.GradNorm(), p[0])
	}
	must(t, o.SetMaxNorm(math.Inf(1)))
	clear(p)
	must(t, o.Step(p, g))
	if o.GradNorm() != 0 || p[0] != -3 {
		t.Errorf("without: the norm is %g, the step to %g", o.GradNorm(), p[0])
	}
	must(t, o.SetPolicy(update.Refuse))
	g[1] = float32(math.NaN())
	var e *update.NonFiniteError
	if err := o.Step(p, g); !errors.As(err, &e) {
		t.Errorf("with a policy: %v", err)
	}
	must(t, o.SetPolicy(update.Propagate))
	g[1] = 0
	again(o)
	must(t, o.Begin())
	wantArg(t, "in a step that was begun", o.Step(p, g), "step")
	must(t, o.Apply(0, 0, p, g))
	must(t, o.End())
	must(t, o.SetSteps(math.MaxInt64))
	wantArg(t, "after the last step", o.Step(p, g), "the number of steps")

	// What a step in parts was clipped by is not the next one's.
	o = newOne(t, 4, update.SGD{Options: update.Options{LR: 1}})
	again(o)
	must(t, o.SetMaxNorm(1))
	must(t, o.BeginNorm(25))
	must(t, o.Apply(0, 0, p, g))
	must(t, o.End())
	if o.GradNorm() != 5 {
		t.Errorf("the norm is %g", o.GradNorm())
	}
	must(t, o.SetMaxNorm(math.Inf(1)))
	clear(p)
	must(t, o.Step(p, g))
	if p[0] != -3 {
		t.Errorf("after a step in parts that was clipped another goes to %g", p[0])
	}
	must(t, o.SetMaxNorm(1))
	must(t, o.Step(p, g))
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, o.Begin())
	if o.GradNorm() != 0 {
		t.Errorf("the norm of gradients that nobody has seen is %g", o.GradNorm())
	}

	// Nor is what a step was clipped by that was skipped.
	o = newOne(t, 4, update.SGD{Options: update.Options{LR: 1}})
	again(o)
	must(t, o.SetMaxNorm(1))
	must(t, o.SetPolicy(update.Skip))
	g[1] = float32(math.NaN())
	must(t, o.Step(p, g))
	must(t, o.SetMaxNorm(math.Inf(1)))
	must(t, o.SetPolicy(update.Propagate))
	clear(p)
	g[1] = 0
	must(t, o.Step(p, g))
	if p[0] != -3 || o.Skipped() != 1 {
		t.Errorf("after a step that was skipped another goes to %g", p[0])
	}

	// Gradients elsewhere are taken from there, and must be apart.
	o = newOne(t, 4, update.SGD{Options: update.Options{LR: 1}})
	again(o)
	clear(p)
	must(t, o.Step(p, []float32{1, 1, 1, 1}))
	if p[1] != -1 {
		t.Errorf("gradients elsewhere move a parameter to %g", p[1])
	}
	wantArg(t, "a gradient that is the parameters", o.Step(p, p), "grads of tensor 0")
	must(t, o.Step(p, g))
}

// TestNormIsNoNumber has gradients whose norm is NaN or infinite, and no policy.
func TestNormIsNoNumber(t *testing.T) {
	for _, c := range []struct{ bad, other float32 }{{float32(math.NaN()), float32(math.NaN())}, {float32(math.Inf(1)), 2}} {
		o, p := newOne(t, 2, update.SGD{Options: update.Options{LR: 1}}), []float32{2, 2}
		must(t, o.SetMaxNorm(1))
		must(t, o.Step(p, []float32{c.bad, 1}))
		if p[0] == p[0] || p[1] != c.other && (p[1] == p[1] || c.other == c.other) {
			t.Errorf("a gradient of %g: parameters go to %g, want NaN and %g", c.bad, p, c.other)
		}
	}
}
