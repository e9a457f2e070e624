//go:build race && (amd64 || arm64) && !purego && !noasm

package kernels

import (
	"runtime"
	"unsafe"
)

// sanitized is whether there is somebody to tell.
const sanitized = true

func tellRead(p unsafe.Pointer, n int)  { runtime.RaceReadRange(p, n) }
func tellWrite(p unsafe.Pointer, n int) { runtime.RaceWriteRange(p, n) }
