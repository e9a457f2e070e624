//go:build !linux || purego

package engine

// makeHuge does nothing: no other system makes huge pages on request.
func makeHuge([]float32) {}
