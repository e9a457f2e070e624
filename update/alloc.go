package update

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// lineLen is the number of elements of a cache's line.
const lineLen = tune.Line / 4

// Alloc returns so many buffers of n zeros each, for parameters, gradients and
// state that a step goes through side by side. Each begins on a cache line, and at
// another place within a page than the others. The garbage collector frees them
// together, when none is in use any more. Numbers below 0, or more than memory has
// addresses for, are a panic with an ArgError.
//
// The buffers are memory of Go's heap, which GOMEMLIMIT and its statistics count, and are
// in memory from the beginning: a page that the system had to find in the middle of a
// kernel would hold up the garbage collector. Where the system has huge pages on request
// (Linux), large buffers are made of them: see SetHugePages.
//
// State that an optimizer allocates itself is laid out so too, for parameters and
// gradients that are at the beginnings of pages or come from one Alloc.
func Alloc(n, buffers int) [][]float32 {
	const most = math.MaxInt / 8 // elements of all, so that their bytes can be counted
	if n < 0 {
		panic(&ArgError{"n", n, "at least 0"})
	}
	if buffers < 0 || buffers > most/(n+tune.Page) {
		panic(&ArgError{"buffers", buffers, fmt.Sprintf("at least 0, and at most %d elements of all", most)})
	}
	return alloc(n, buffers, 0)
}

// smallPages is whether SetHugePages has switched huge ones off.
var smallPages atomic.Bool

// SetHugePages says whether large buffers that are made from now on are put on huge pages
// where the system has them; at first they are. It is a setting of the program.
//
// The system is asked for them at once, and no advice stays with the memory: when the
// buffers are freed it is memory of Go's heap like any other, which returns to the
// system page by page. What the system was told for good, never to use them, holds.
func SetHugePages(on bool) { smallPages.Store(!on) }

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
	if size >= tune.HugeLeast {
		boundary = tune.HugePage
	}
	memory := make([]float32, (size+boundary)/4)
	address := int(uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % uintptr(boundary))
	memory = memory[roundUp(address, boundary)/4-address/4:]
	populate(memory[:size/4])
	for k := range list {
		list[k] = memory[(first+k*stride)/4:][:n:n]
	}
	return list
}

// populate has the system find the pages of memory that is all zeros, huge ones where
// they fit in.
func populate(memory []float32) {
	if 4*len(memory) >= 2*tune.HugePage && !smallPages.Load() {
		begin := -int(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%tune.HugePage/4) + tune.HugePage/4
		whole := memory[begin%(tune.HugePage/4):]
		makeHuge(whole[:len(whole)/(tune.HugePage/4)*(tune.HugePage/4)])
	}
	visit(memory, tune.Page)
}

// visit writes to memory that is all zeros, at places that are so many bytes apart.
func visit(memory []float32, step int) {
	for i := 0; i < len(memory); i += step / 4 {
		memory[i] = 0
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
