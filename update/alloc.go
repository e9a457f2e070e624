package update

import (
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// lineLen is the number of elements of a cache's line.
const lineLen = tune.Line / 4

// Alloc returns so many buffers of n zeros each, for parameters, gradients and
// state that a step goes through side by side. Each begins on a cache line, and at
// another place within a page than the others. Where the system has huge pages on
// request (Linux), large buffers ask for them; elsewhere they are ordinary memory.
// The garbage collector frees them together, when none is in use any more.
//
// State that an optimizer allocates itself is laid out so too, for parameters and
// gradients that are at the beginnings of pages or come from one Alloc.
func Alloc(n, buffers int) [][]float32 { return alloc(n, buffers, 0) }

// alloc begins as if so many buffers had come before.
func alloc(n, buffers, before int) [][]float32 {
	list := make([][]float32, buffers)
	if n <= 0 || buffers <= 0 {
		return list
	}
	stride, first, boundary := roundUp(4*n, tune.Line), 0, tune.Line
	if 4*n >= tune.Page {
		stride, first, boundary = roundUp(4*n, tune.Page)+tune.Stagger, before*tune.Stagger, tune.Page
	}
	size := first + buffers*stride
	if size >= 2*tune.HugePage {
		boundary = tune.HugePage
	}
	memory := make([]float32, (size+boundary)/4)
	address := int(uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % uintptr(boundary))
	memory = memory[roundUp(address, boundary)/4-address/4:]
	if boundary == tune.HugePage {
		adviseHuge(memory)
	}
	for k := range list {
		list[k] = memory[(first+k*stride)/4:][:n:n]
	}
	return list
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
