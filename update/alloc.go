package update

import "unsafe"

const (
	lineBytes = 64 // of a cache
	lineLen   = lineBytes / 4
	pageBytes = 4 << 10 // within which caches compare addresses
	hugeBytes = 2 << 20 // a huge page

	// staggerBytes is how far each buffer begins from the one before, beyond a
	// multiple of a page. Buffers at the same place of a page get in each other's
	// way in caches of few ways and where loads are checked against earlier
	// stores. Seventeen lines keep any four of them several lines apart.
	staggerBytes = 17 * lineBytes
)

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
	stride, first, boundary := roundUp(4*n, lineBytes), 0, lineBytes
	if 4*n >= pageBytes {
		stride, first, boundary = roundUp(4*n, pageBytes)+staggerBytes, before*staggerBytes, pageBytes
	}
	size := first + buffers*stride
	if size >= 2*hugeBytes {
		boundary = hugeBytes
	}
	memory := make([]float32, (size+boundary)/4)
	address := int(uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % uintptr(boundary))
	memory = memory[roundUp(address, boundary)/4-address/4:]
	if boundary == hugeBytes {
		adviseHuge(memory)
	}
	for k := range list {
		list[k] = memory[(first+k*stride)/4:][:n:n]
	}
	return list
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
