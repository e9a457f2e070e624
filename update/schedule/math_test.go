package schedule

import (
	"math"
	"math/big"
	"testing"
)

// ulps is how far x is from want in units in its last place.
func ulps(x, want float64) float64 {
	if x == want {
		return 0
	}
	unit := math.Nextafter(math.Abs(want), math.Inf(1)) - math.Abs(want)
	return math.Abs(x-want) / unit
}

// TestMath compares the elementary functions with those of package math.
func TestMath(t *testing.T) {
	worst := map[string]float64{}
	note := func(name string, x, want float64) { worst[name] = max(worst[name], ulps(x, want)) }
	for k := range 200000 {
		x := float64(k) / 200000
		note("exp", exp(x*1400-700), math.Exp(x*1400-700))
		note("log", log(1e-3+x*4), math.Log(1e-3+x*4))
		note("log, large", log(math.Exp(x*600)), math.Log(math.Exp(x*600)))
		note("sine", sine(x*math.Pi/4), math.Sin(x*math.Pi/4))
		note("cosine", cosine(x*math.Pi/4), math.Cos(x*math.Pi/4))
		cos := math.Cos(x * math.Pi / 2)
		if x > .5 {
			cos = math.Sin((1 - x) * math.Pi / 2)
		}
		note("fall", fall(x), cos*cos)
	}
	for name, x := range worst {
		if x > 4 {
			t.Errorf("%s is %.1f units in the last place off", name, x)
		}
	}
	if len(worst) != 6 {
		t.Errorf("%d functions", len(worst))
	}
}

// TestPower has powers of a rate's factors, against exact products: within what a unit in
// the last place of the logarithm makes of them.
func TestPower(t *testing.T) {
	for _, x := range []float64{.1, .3, .5, .9, .999, .999999, 1.5, 1} {
		want := big.NewFloat(1).SetPrec(2000)
		for n := range 600 {
			exact, _ := want.Float64()
			got := power(x, float64(n))
			if exact < 1e-300 || exact > 1e300 {
				break
			}
			if most := 4 + 2*float64(n)*math.Abs(math.Log(x)); ulps(got, exact) > most {
				t.Fatalf("%g to the power of %d is %.17g, want %.17g", x, n, got, exact)
			}
			want.Mul(want, big.NewFloat(x))
		}
	}
	for _, c := range [][3]float64{{0, 0, 1}, {0, 2.5, 0}, {.3, 1, .3}, {1, 1e9, 1}, {.5, 1e9, 0}, {2, 1e9, math.Inf(1)}, {.25, .5, .5}} {
		if got := power(c[0], c[1]); got != c[2] {
			t.Errorf("%g to the power of %g is %g", c[0], c[1], got)
		}
	}
}
