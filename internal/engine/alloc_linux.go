//go:build linux && !purego

package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// advises is whether there is advice to give.
const advises = true

// adviseHuge asks for huge pages for the whole ones in memory that begins with
// one. The system may refuse, and then the pages are ordinary ones.
func adviseHuge(memory []float32) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(memory))), 4*len(memory))
	_ = unix.Madvise(bytes[:len(bytes)/tune.HugePage*tune.HugePage], unix.MADV_HUGEPAGE)
}
