//go:build linux && !purego

package engine

import (
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// hasHugePages reports whether the system was not told never to use them, which not all
// of what is asked for here heeds.
var hasHugePages = sync.OnceValue(func() bool {
	setting, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && !strings.Contains(string(setting), "[never]")
})

// makeHuge has the system make memory of whole huge pages of them, if it can. Nothing is
// asked of it for later: advice would stay with the addresses, and the system would fill
// what Go has given back of them with huge pages again, long after the buffers are dead.
// Nor are the buffers a mapping of their own, since nobody could tell when the last slice
// of it is gone.
func makeHuge(memory []float32) {
	if len(memory) == 0 || !hasHugePages() {
		return
	}
	visit(memory, tune.HugePage) // only pages that have something in them are made huge
	if unix.Madvise(bytesOf(memory), unix.MADV_COLLAPSE) == unix.EINVAL {
		makeHugeByAdvice(memory)
	}
}

// makeHugeByAdvice does it before Linux 6.1, with advice that is taken back.
func makeHugeByAdvice(memory []float32) {
	if unix.Madvise(bytesOf(memory), unix.MADV_HUGEPAGE) == nil {
		visit(memory, tune.Page)
		_ = unix.Madvise(bytesOf(memory), unix.MADV_NOHUGEPAGE)
	}
}

func bytesOf(memory []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(memory))), 4*len(memory))
}
