package engine

import (
	"sync/atomic"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// lineLen is the number of elements of a cache's line.
const lineLen = tune.Line / 4

// Alloc returns so many buffers of n zeros each, laid out for a step that goes through them
// side by side: see Alloc of package update.
func Alloc(n, count int) [][]float32 { return alloc(n, count, 0) }

// smallPages is whether SetHugePages has switched huge ones off.
var smallPages atomic.Bool

// SetHugePages is SetHugePages of package update.
func SetHugePages(on bool) { smallPages.Store(!on) }

// alloc begins as if so many buffers had come before.
func alloc(n, count, before int) [][]float32 {
	list := make([][]float32, count)
	if n <= 0 || count <= 0 {
		return list
	}
	stride, first, boundary := roundUp(4*n, tune.Line), 0, tune.Line
	if 4*n >= tune.Page {
		stride, first, boundary = roundUp(4*n, tune.Page)+tune.Stagger, before*tune.Stagger, tune.Page
	}
	size := first + count*stride
	if size >= tune.HugeLeast {
		boundary = tune.HugePage
	}
	memory := make([]float32, (size+boundary)/4)
	address := int(buffers.Address(memory) % uintptr(boundary))
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
		begin := -int(buffers.Address(memory)%tune.HugePage/4) + tune.HugePage/4
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
