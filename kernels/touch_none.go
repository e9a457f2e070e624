//go:build !race && !asan && !msan && (amd64 || arm64) && !purego && !noasm

package kernels

import "unsafe"

// sanitized is whether there is somebody to tell.
const sanitized = false

func tellRead(unsafe.Pointer, int)  {}
func tellWrite(unsafe.Pointer, int) {}
