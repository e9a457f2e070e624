//go:build purego || noasm || (!amd64 && !arm64)

package typetest

// kernels are none.
func kernels() map[string]table { return nil }
