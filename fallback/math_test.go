package fallback

import (
	"flag"
	"math"
	"runtime"
	"sync"
	"testing"
)

var all = flag.Bool("all", false, "measure the elementary functions on all 2³² inputs")

// TestAccuracy measures the elementary functions in units in the last place of
// the exact result, by default on every 8191st input.
func TestAccuracy(t *testing.T) {
	for _, f := range []struct {
		name  string
		got   func(float32) float32
		want  func(float64) float64
		bound float64
	}{
		{"exp", exp, math.Exp, 0.8904},
		{"log", log, math.Log, 0.7106},
		{"log1p", log1p, math.Log1p, 0.7114},
		{"cbrt", func(x float32) float32 { return cbrt(abs(x)) }, func(x float64) float64 { return math.Cbrt(math.Abs(x)) }, 0.74},
	} {
		stride := uint64(8191)
		if *all {
			stride = 1
		}
		workers := runtime.GOMAXPROCS(0)
		worst := make([]float64, workers)
		at := make([]float32, workers)
		var running sync.WaitGroup
		for w := range workers {
			running.Go(func() {
				for bits := stride * uint64(w); bits < 1<<32; bits += stride * uint64(workers) {
					x := math.Float32frombits(uint32(bits))
					if e := ulps(f.got(x), f.want(float64(x))); e > worst[w] {
						worst[w], at[w] = e, x
					}
				}
			})
		}
		running.Wait()
		for w := range worst {
			if worst[w] > f.bound {
				t.Errorf("%s(%g) is %.4f ulp off, the bound is %.4f", f.name, at[w], worst[w], f.bound)
			}
		}
		t.Logf("%s: at most %.4f ulp", f.name, worst)
	}
}

// ulps is how far got is from want, and infinite where one of them is special
// and they are not the same.
func ulps(got float32, want float64) float64 {
	rounded := float32(want)
	if want == 0 || want != want || math.IsInf(float64(rounded), 0) || math.IsInf(float64(got), 0) {
		if math.Float32bits(got) == math.Float32bits(rounded) || got != got && want != want {
			return 0
		}
		return math.Inf(1)
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	minusZero := float32(math.Copysign(0, -1))
	for _, c := range []struct {
		name      string
		f         func(float32) float32
		x, result float32
	}{
		{"exp", exp, nan, nan}, {"exp", exp, inf, inf}, {"exp", exp, -inf, 0}, {"exp", exp, 0, 1}, {"exp", exp, minusZero, 1},
		{"exp", exp, 89, inf}, {"exp", exp, -104, 0}, {"exp", exp, -103, 0x1p-149},
		{"log", log, nan, nan}, {"log", log, inf, inf}, {"log", log, -inf, nan}, {"log", log, -1, nan},
		{"log", log, 0, -inf}, {"log", log, minusZero, -inf}, {"log", log, 1, 0},
		{"cbrt", cbrt, nan, nan}, {"cbrt", cbrt, inf, inf}, {"cbrt", cbrt, 0, 0}, {"cbrt", cbrt, 8, 2}, {"cbrt", cbrt, 1, 1},
		{"log1p", log1p, nan, nan}, {"log1p", log1p, inf, inf}, {"log1p", log1p, -inf, nan}, {"log1p", log1p, -2, nan},
		{"log1p", log1p, -1, -inf}, {"log1p", log1p, 0, 0}, {"log1p", log1p, minusZero, minusZero},
		{"log1p", log1p, 0x1p-149, 0x1p-149},
	} {
		got := c.f(c.x)
		if math.Float32bits(got) != math.Float32bits(c.result) && (got == got || c.result == c.result) {
			t.Errorf("%s(%g) = %g, want %g", c.name, c.x, got, c.result)
		}
	}
}
