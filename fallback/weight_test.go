package fallback

import "testing"

// TestWeight takes the smaller part of a distance, and half of it from the mean's end.
func TestWeight(t *testing.T) {
	for beta, want := range map[float64]float32{0: 0, .25: -.25, .5: .5, .75: .25, .9: float32(1 - .9), 0.49999: -0.49999} {
		if got := Weight(beta); got != want {
			t.Errorf("the weight of %g is %g, want %g", beta, got, want)
		}
	}
	for _, c := range []struct{ m, x, weight, want float32 }{
		{1, 3, .5, 2}, {1, 3, .25, 1.5}, {1, 3, -.25, 2.5}, {1e30, 1, -0x1p-100, 1 + 1e30*-0x1p-100*-1}, {1, 1e30, 0x1p-110, 1 + 1e30*0x1p-110},
	} {
		if got := lerp(c.m, c.x, c.weight); got != c.want {
			t.Errorf("from %g to %g by %g is %g, want %g", c.m, c.x, c.weight, got, c.want)
		}
	}
}
