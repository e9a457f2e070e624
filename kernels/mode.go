//go:build (amd64 || arm64) && !purego && !noasm

package kernels

import (
	"runtime"

	"github.com/lockstep-go/lockstep/kernels/asm/mode"
)

// unusual reports whether arithmetic on this thread has other results than elsewhere: a
// library in C may have changed its mode, so that subnormal numbers are zeros or that
// results are rounded another way. Looking takes a nanosecond.
func unusual() bool { return mode.Get()&mode.Mask != mode.Usual }

// asUsual runs f on this thread with the mode that arithmetic has elsewhere, and leaves
// the thread as it was found.
func asUsual(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := mode.Get()
	defer mode.Set(before)
	mode.Set(before&^mode.Mask | mode.Usual)
	f()
}
