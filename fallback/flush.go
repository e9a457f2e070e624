package fallback

// FadeScalars are the numbers of Fade.
type FadeScalars struct {
	Scale float32 // the gradient's factor
	Drop  Mask    // the gradients that are taken for 0
	Small Mask    // the elements that may go
}

// Fade makes small elements of x zeros where the gradient is taken for 0: a mean of
// gradients that have ceased, or a parameter that decays. Where gradients are small
// themselves, what they have moved stays.
//
//	x ← drop(x, small) if drop(g·scale, drop) is 0
func Fade(x, g []float32, c *FadeScalars) {
	for i := range x {
		if drop(float32(g[i]*c.Scale), c.Drop) == 0 {
			x[i] = drop(x[i], c.Small)
		}
	}
}

// FlushScalars are the numbers of Flush.
type FlushScalars struct {
	Small Mask // the elements that go
}

// Flush makes small elements zeros.
//
//	x ← drop(x, small)
func Flush(x []float32, c *FlushScalars) {
	for i := range x {
		x[i] = drop(x[i], c.Small)
	}
}
