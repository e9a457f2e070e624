package engine

import (
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// lineLen is the number of elements of a cache's line.
const lineLen = tune.Line / 4

// Alloc returns so many buffers of n zeros each, laid out for a step that goes through them
// side by side: see Alloc of package update.
func Alloc(n, count int) [][]float32 { return alloc(n, count, 0) }

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
	if size >= 2*tune.HugePage {
		boundary = tune.HugePage
	}
	memory := make([]float32, (size+boundary)/4)
	address := int(buffers.Address(memory) % uintptr(boundary))
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
