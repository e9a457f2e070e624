//go:build !linux || purego

package update

// makeHuge does nothing: no other system makes huge pages on request.
func makeHuge([]float32) {}
