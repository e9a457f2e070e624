package fallback

import "math"

// NoiseScalars are the numbers of Noise.
type NoiseScalars struct {
	Std  float32 // the standard deviation
	Base Mask    // added to all numbers of elements
	High Mask    // the upper half of these
	Key1 Mask    // of the stream
	Key2 Mask
}

// Noise adds normal noise that follows from the number of the element, whose bits are in
// index: the counter-based generator Threefry-2x32 of 20 rounds (Salmon et al. 2011) makes two
// numbers u in (0, 1] and v in [-1, 1) of each, and the method of Box and Muller (1958) a
// normal one of these. It is within 6 deviations.
//
//	u, v = threefry(index + base, high)
//	x ← x + √(-2·log u)·cos(π·v)·std
func Noise(x, index []float32, c *NoiseScalars) {
	for i := range x {
		a, b := threefry(math.Float32bits(index[i])+uint32(c.Base), uint32(c.High), uint32(c.Key1), uint32(c.Key2))
		u := float32((float32(int32(a>>8)) + 1) * 0x1p-24)
		part := .5 - abs(float32(float32(int32(b)>>8)*0x1p-23)) // sin(π·(½ - |v|)) has the distribution of sin(π·v)
		x[i] += float32(float32(sqrt(float32(log(u)*-2))*sinPi(part)) * c.Std)
	}
}

// threefry is Threefry-2x32 of 20 rounds: four at a time, and a key after each.
func threefry(a, b, key1, key2 uint32) (x, y uint32) {
	keys := [3]uint32{key1, key2, key1 ^ key2 ^ 0x1bd11bda}
	rotations := [2][4]uint32{{13, 15, 26, 6}, {17, 29, 16, 24}}
	a, b = a+keys[0], b+keys[1]
	for k := range uint32(5) {
		for _, by := range rotations[k%2] {
			a += b
			b = (b<<by | b>>(32-by)) ^ a
		}
		a, b = a+keys[(k+1)%3], b+keys[(k+2)%3]+k+1
	}
	return a, b
}

// sinPi is sin(π·x) for x in [-½, ½], within 2e-7 of it.
func sinPi(x float32) float32 {
	t := float32(x * x)
	p := float32(0x1.3daff6p-4)
	p = fma(p, t, -0x1.324ccap-1)
	p = fma(p, t, 0x1.4668bp+1)
	p = fma(p, t, -0x1.4abbc2p+2)
	p = fma(p, t, 0x1.921fb6p+1)
	return float32(p * x)
}
