package fallback

import (
	"math"
	"testing"
)

// TestRoundsInTheMean goes through all that may be added to a number before its last bits are
// cut off: as many make it the one above as it is nearer to that than to the one below.
func TestRoundsInTheMean(t *testing.T) {
	for _, x := range []float32{0, 1, 1.00001, -1.3, 3.14159, 0x1p-149, 0x1p-126, -0x1.fdfffep127, 6e-40} {
		ups := uint32(0)
		for draw := range uint32(1 << 16) {
			ups += uint32(drawn(x, draw)) - math.Float32bits(x)>>16
		}
		if want := math.Float32bits(x) & 0xffff; ups != want {
			t.Errorf("%g goes up %d times of 65536, want %d", x, ups, want)
		}
	}
	for _, signed := range []bool{false, true} {
		c := &QuantizeScalars{Bias: 127<<3 - 255}
		if signed {
			c.Bias, c.Signs = 127<<3-127, 1<<31
		}
		c.Low = math.Float32frombits(uint32(c.Bias+1) << 20)
		if signed {
			c.Least = c.Low * 0x1p-20
		}
		for _, x := range []float32{1, 1.0000001, .9, .7071, .5, .1, 1e-3, c.Low, 1.01 * c.Low, .75 * c.Low, .1 * c.Low} {
			sum, square := uint64(0), uint64(0)
			for draw := range uint32(1 << 20) {
				code := uint64(c.code(x, x, draw))
				sum, square = sum+code, square+code*code
			}
			bits := math.Float32bits(x) - uint32(c.Bias)<<20
			want := uint64(bits)
			switch {
			case x > 1:
				want = uint64(math.Float32bits(1) - uint32(c.Bias)<<20)
			case x < c.Low && signed:
				want = uint64(math.Ceil(float64(x) / float64(c.Low) * (1 << 20)))
			case x < c.Low: // a square is not 0
				want = 1 << 20
			}
			if sum != want {
				t.Errorf("signed %v: the codes of %g are %d·2⁻²⁰ in the mean, want %d", signed, x, sum, want)
			}
			below := sum >> 20 // codes are of two neighbours
			if up := sum - below<<20; square != (1<<20-up)*below*below+up*(below+1)*(below+1) {
				t.Errorf("signed %v: %g has other codes than the two beside it", signed, x)
			}
		}
	}
}
