package amd64

import (
	"flag"
	"math"
	"runtime"
	"sync"
	"testing"
)

var all = flag.Bool("all", false, "try the square roots of all mantissas")

// TestNewton512 takes the steps of newton512 from every float32 within 2⁻¹⁴ of
// 1/√x, for x in [1, 4): by default for every 4093rd, with -all for all of them,
// which takes some minutes. A factor of 4ᵏ moves all steps by powers of two, so
// that this is every x whose steps stay normal, and every CPU's estimate.
func TestNewton512(t *testing.T) {
	fromAll(t, 0x1p-14, 4093, func(x, y float32) float32 {
		g, h := x*y, 0.5*y
		r := fma(-g, h, 0.5)
		h, g = fma(h, r, h), fma(g, r, g)
		return fma(fma(-g, g, x), h, g)
	})
}

// TestNewton256 does so for newton256, within 1.5·2⁻¹².
func TestNewton256(t *testing.T) {
	fromAll(t, 1.5*0x1p-12, 16381, func(x, y float32) float32 {
		g, h := x*y, 0.5*y
		r := fma(-g, h, 0.5)
		h, g = fma(h, r, h), fma(g, r, g)
		g = fma(fma(-g, g, x), h, g)
		r = fma(-g, h, 0.5)
		h = fma(h, r, h)
		return fma(fma(-g, g, x), h, g)
	})
}

// fromAll compares a root with the exact one from all estimates of 1/√x that are
// off by no more than a part of it.
func fromAll(t *testing.T, off float64, stride uint32, root func(x, y float32) float32) {
	if *all {
		stride = 1
	}
	workers := uint32(runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for bits := math.Float32bits(1) + w*stride; bits < math.Float32bits(4); bits += workers * stride {
				x := math.Float32frombits(bits)
				want := float32(math.Sqrt(float64(x)))
				for y := furthest(x, -off); y <= furthest(x, off); y = math.Nextafter32(y, 2) {
					if got := root(x, y); got != want {
						t.Errorf("√%g from %g is %g, want %g", x, y, got, want)
						return
					}
				}
			}
		})
	}
	running.Wait()
}

// furthest is the estimate of 1/√x that is furthest off on one side.
func furthest(x float32, off float64) float32 {
	exact := 1 / math.Sqrt(float64(x))
	y := float32(exact * (1 + off))
	if math.Abs(float64(y)/exact-1) > math.Abs(off) {
		y = math.Nextafter32(y, float32(exact))
	}
	return y
}

// fma is x·y + z with one rounding. The product is exact in float64; the sum is
// rounded to an odd last bit where it is not exact, which leaves the rounding to
// float32 as it would have been.
func fma(x, y, z float32) float32 {
	product, z64 := float64(x)*float64(y), float64(z)
	sum := product + z64
	part := sum - product
	rest := (product - (sum - part)) + (z64 - part)
	if bits := math.Float64bits(sum); rest != 0 && bits&1 == 0 {
		if (rest > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
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
	} {
		if got := fma(c.x, c.y, c.z); got != c.want {
			t.Errorf("fma(%g, %g, %g) is %b, want %b", c.x, c.y, c.z, got, c.want)
		}
	}
}
