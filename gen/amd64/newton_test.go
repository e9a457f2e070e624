package amd64

import (
	"flag"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var all = flag.Bool("all", false, "try many more square roots from all estimates")

// TestNewton512 proves newton512 for every x in [1, 4) and from every float32
// within 2⁻¹⁴ of 1/√x. A factor of 4ᵏ moves all steps by powers of two, so that
// this is every x whose steps stay normal, and every CPU's estimate.
func TestNewton512(t *testing.T) {
	fromAll(t, 0x1p-14, 509, func(x, g, h float32) float32 {
		return fma(fma(-g, g, x), h, g)
	})
}

// TestNewton256 does so for newton256, within 1.5·2⁻¹².
func TestNewton256(t *testing.T) {
	fromAll(t, 1.5*0x1p-12, 2039, func(x, g, h float32) float32 {
		g = fma(fma(-g, g, x), h, g)
		r := fma(-g, h, 0.5)
		h = fma(h, r, h)
		return fma(fma(-g, g, x), h, g)
	})
}

// first is the first step from the estimate y of 1/√x: g is nearly √x, h half of
// its reciprocal.
func first(x, y float32) (g, h float32) {
	g, h = x*y, 0.5*y
	r := fma(-g, h, 0.5)
	return fma(g, r, g), fma(h, r, h)
}

// fromAll compares a root with the exact one from all estimates of 1/√x that are
// off by no more than a part of it. These are thousands for each x, but the first
// step leaves only some values of g and of h: rest, the steps after it, starts
// from all their pairs, some 3 for AVX-512's estimates and 17 for AVX's. A pair
// need not come from any estimate. Where one leads to a wrong root, all estimates
// of that x are tried, and those of every stride-th x to see that their pairs are
// in the bounds.
func fromAll(t *testing.T, off float64, stride uint32, rest func(x, g, h float32) float32) {
	if *all {
		stride /= 64
	}
	var unsure atomic.Int64
	workers := uint32(runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for bits := math.Float32bits(1) + w; bits < math.Float32bits(4); bits += workers {
				x := math.Float32frombits(bits)
				s := math.Sqrt(float64(x))
				leastG, mostG := bounds(s, off)
				leastH, mostH := bounds(0.5/s, off)
				want, sure := float32(s), true
				for g := leastG; g <= mostG; g = math.Nextafter32(g, 4) {
					for h := leastH; h <= mostH; h = math.Nextafter32(h, 4) {
						sure = sure && rest(x, g, h) == want
					}
				}
				if !sure {
					unsure.Add(1)
				}
				if sure && bits%stride != 0 {
					continue
				}
				last := furthest(x, off)
				for y := furthest(x, -off); y <= last; y = math.Nextafter32(y, 2) {
					g, h := first(x, y)
					if g < leastG || g > mostG || h < leastH || h > mostH {
						t.Errorf("√%g from %g: %g and %g are not in [%g, %g] and [%g, %g]", x, y, g, h, leastG, mostG, leastH, mostH)
						return
					}
					if got := rest(x, g, h); got != want {
						t.Errorf("√%g from %g is %g, want %g", x, y, got, want)
						return
					}
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d x have pairs that lead to a wrong root", unsure.Load())
}

// bounds are those of what the first step makes of √x, or of half its reciprocal,
// from any estimate that is off by no more than a part E.
//
// Let s = √x, u = 2⁻²⁴, the estimate (1+e)/s with |e| ≤ E, and d and d' the
// relative errors of rounding x·y and r, |d|, |d'| ≤ u. The step multiplies
// g = s(1+e)(1+d) and h = (1+e)/2s by 1+r, where
//
//	r = q(1+d'), q = ½ - (1+e)²(1+d)/2 = -e - e²/2 - d(1+e)²/2
//
// so that, before they are rounded, h is (1-c+a)/2s and g is s(1-c+a)(1+d) with
//
//	c = 3e²/2 + e³/2, from 0 to 3E²/2 + E³/2
//	a = -d(1+e)³/2 + (1+e)qd'
//	(1-c+a)(1+d) = 1-c + d(½ - 3e/2 - 3e² - e³) - d²(1+e)³/2 + (1+d)(1+e)qd'
//
// As |q| ≤ E + E²/2 + u(1+E)²/2, both 1-c+a and (1-c+a)(1+d) are off from 1-c by
// no more than u(½ + 5E/2 + 5E² + 2u). For E from 2⁻²⁰ to 2⁻¹¹ that is less than
// u(½+3E), by far more than float64 rounds off here. Rounding to float32 keeps the
// order.
func bounds(exact, off float64) (least, most float32) {
	slack := 0x1p-24 * (0.5 + 3*off)
	return float32(exact * (1 - 1.5*off*off - 0.5*off*off*off - slack)), float32(exact * (1 + slack))
}

// furthest is the estimate of 1/√x that is furthest off on one side, or as far as
// allowed but for what float64 rounds off.
func furthest(x float32, off float64) float32 {
	exact := 1 / math.Sqrt(float64(x))
	y := float32(exact * (1 + off))
	if math.Abs(float64(y)/exact-1) > math.Abs(off)+0x1p-50 {
		y = math.Nextafter32(y, float32(exact))
	}
	return y
}

// fma is x·y + z with one rounding, if that is not subnormal. The product is exact
// in float64, and to round the sum again changes the result only where the sum is
// half way between two float32: its last 29 bits are a one and zeros.
func fma(x, y, z float32) float32 {
	product := float64(x) * float64(y)
	sum := product + float64(z)
	if math.Float64bits(sum)<<35 == 1<<63 {
		return halfWay(product, float64(z), sum)
	}
	return float32(sum)
}

// halfWay is sum, which is x+y, rounded to float32, with what its rounding lost.
func halfWay(x, y, sum float64) float32 {
	part := sum - x
	rest := (x - (sum - part)) + (y - part)
	if rest != 0 {
		sum = math.Nextafter(sum, math.Copysign(math.Inf(1), rest))
	}
	return float32(sum)
}

// TestFMA has sums that are half way between two float32 but for a bit that
// float64 loses.
func TestFMA(t *testing.T) {
	x := float32(1 + 0x1p-23)
	for _, c := range []struct{ x, y, z, want float32 }{
		{x, x, 0x1p-60, 1 + 0x1p-22},
		{1, 1 + 0x1p-23, 0x1p-24, 1 + 0x1p-22},       // a tie goes to even
		{0x1p-30, 0x1p-30, 1 + 0x1p-23, 1 + 0x1p-23}, // far below
		{1 + 0x1p-12, 1 + 0x1p-12, 0x1p-80, 1 + 0x1p-11 + 0x1p-23},
		{1 + 0x1p-12, 1 + 0x1p-12, -0x1p-80, 1 + 0x1p-11},
		{-1 - 0x1p-12, 1 + 0x1p-12, 0x1p-80, -1 - 0x1p-11},
		{-1 - 0x1p-12, 1 + 0x1p-12, -0x1p-80, -1 - 0x1p-11 - 0x1p-23},
	} {
		if got := fma(c.x, c.y, c.z); got != c.want {
			t.Errorf("fma(%g, %g, %g) is %b, want %b", c.x, c.y, c.z, got, c.want)
		}
	}
}
