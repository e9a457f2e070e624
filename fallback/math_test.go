package fallback

import (
	"flag"
	"math"
	"runtime"
	"sync"
	"testing"
)

var all = flag.Bool("all", false, "measure the elementary functions on all 2³² inputs")

// elementary are the functions, in float64, and how far they may be off.
var elementary = []struct {
	name  string
	got   func(float32) float32
	want  func(float64) float64
	bound float64
}{
	{"exp", exp, math.Exp, 0.8904},
	{"expm1", expm1, math.Expm1, 1},
	{"log", log, math.Log, 0.7106},
	{"log1p", log1p, math.Log1p, 0.7114},
	{"tanh", tanh, math.Tanh, 1},
	{"sigmoid", sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 1},
	{"softplus", softplus, func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, 1},
	{"cbrt", func(x float32) float32 { return cbrt(abs(x)) }, func(x float64) float64 { return math.Cbrt(math.Abs(x)) }, 0.74},
}

// TestAccuracy measures the elementary functions in units in the last place of
// the exact result, by default on every 8191st input.
func TestAccuracy(t *testing.T) {
	for _, f := range elementary {
		t.Run(f.name, func(t *testing.T) {
			stride := uint64(8191)
			if *all {
				stride = 1
			}
			worst, at := 0.0, float32(0)
			workers := runtime.GOMAXPROCS(0)
			var running sync.WaitGroup
			var own sync.Mutex
			for w := range workers {
				running.Go(func() {
					most, where := 0.0, float32(0)
					for bits := stride * uint64(w); bits < 1<<32; bits += stride * uint64(workers) {
						x := math.Float32frombits(uint32(bits))
						if e := ulps(f.got(x), f.want(float64(x))); e > most {
							most, where = e, x
						}
					}
					own.Lock()
					defer own.Unlock()
					if most > worst {
						worst, at = most, where
					}
				})
			}
			running.Wait()
			if worst > f.bound {
				t.Errorf("%s(%g) is %.4f ulp off, the bound is %.4f", f.name, at, worst, f.bound)
			}
			t.Logf("at most %.4f ulp, at %g (%#x)", worst, at, math.Float32bits(at))
		})
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
	exponent := int(math.Float64bits(want)>>52&(1<<11-1)) - 1023
	unit := max(exponent-23, -149)
	return math.Abs(float64(got)-want) * math.Float64frombits(uint64(1023-unit)<<52)
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
