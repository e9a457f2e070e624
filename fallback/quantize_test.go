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
	for _, c := range []*QuantizeScalars{{Offset: SignedLeast, Least: SignedLeast, Signs: 1 << 31}, {Least: SquareLeast}} {
		most := float32(SquareMost)
		if c.Signs != 0 {
			most = SignedMost
		}
		for _, x := range []float32{most, 1, .9, .7071, .5, .1, 1e-3, 0x1p-15, 0x1.23p-16, 0x1p-20, 0x1.2p-31, 1e-11, 0} {
			sum, square, y := uint64(0), uint64(0), max(fma(x, 1, c.Offset), c.Least) // a square is not 0
			for draw := range uint32(1 << 20) {
				code := uint64(code(y, draw<<4, signOf(x, y, c.Signs)))
				sum, square = sum+code, square+code*code
			}
			want := uint64(math.Float32bits(y) - math.Float32bits(c.Least))
			if sum != want {
				t.Errorf("signs %x: the codes of %g are %d·2⁻²⁰ in the mean, want %d", c.Signs, x, sum, want)
			}
			below := sum >> 20 // codes are of two neighbours
			if up := sum - below<<20; square != (1<<20-up)*below*below+up*(below+1)*(below+1) {
				t.Errorf("signs %x: %g has other codes than the two beside it", c.Signs, x)
			}
		}
	}
}
