package fallback

import (
	"math"
	"testing"
)

// TestThreefry has the known answers of Random123, the program of Salmon et al.
func TestThreefry(t *testing.T) {
	for _, c := range [][6]uint32{
		{0, 0, 0, 0, 0x6b200159, 0x99ba4efe},
		{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc, 0xbb002be7},
		{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xc4923a9c, 0x483df7a0},
	} {
		if a, b := threefry(c[0], c[1], c[2], c[3]); a != c[4] || b != c[5] {
			t.Errorf("%#x: %#x, %#x", c, a, b)
		}
	}
}

// TestNoise compares noise with the method of Box and Muller in float64.
func TestNoise(t *testing.T) {
	const n = 100000
	x, index := make([]float32, n), make([]float32, n)
	for i := range index {
		index[i] = math.Float32frombits(uint32(i))
	}
	Noise(x, index, &NoiseScalars{Std: 2, Base: 1 << 31, High: 3, Key1: 4, Key2: 5})
	for i, got := range x {
		a, b := threefry(1<<31+uint32(i), 3, 4, 5)
		u, v := (float64(a>>8)+1)/(1<<24), float64(int32(b)>>8)/(1<<23)
		if want := 2 * math.Sqrt(-2*math.Log(u)) * math.Cos(math.Pi*v); math.Abs(float64(got)-want) > 3e-6 {
			t.Fatalf("element %d: %g, want %g", i, got, want)
		}
	}
}
