//go:build !linux || purego

package engine

const advises = false

// adviseHuge does nothing: no other system takes advice on huge pages.
func adviseHuge([]float32) {}
