package kernels

import (
	"fmt"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// A List is the buffers of one tensor or of many, checked once for any number of
// calls, and cut into calls of at most MaxLen elements, each tensor counting as
// tune.TensorLen at least.
type List struct {
	buffers int
	parts   [][][]float32 // each for one call
	few     [4][][]float32
	one     [maxBuffers][]float32
	cut     [][]float32 // of tensors that are too long for a call
}

// maxBuffers is the most buffers that a tensor of Set has.
const maxBuffers = 8

// NewList lists tensors that have so many buffers each, list being those of one
// tensor after those of another, in the order of the kernel's parameters. It keeps
// list. It panics if a buffer is shorter than the first one of its tensor, or if
// one is missing.
func NewList(buffers int, list [][]float32) *List {
	l := new(List)
	l.Reset(buffers, list)
	return l
}

// Set makes l the list of one tensor, without allocating if the tensor is no longer
// than MaxLen.
func (l *List) Set(buffers ...[]float32) {
	n := copy(l.one[:], buffers)
	if n < len(buffers) {
		panic(fmt.Sprintf("kernels: %d buffers, want at most %d", len(buffers), maxBuffers))
	}
	if n == 0 || len(l.one[0]) > MaxLen {
		l.Reset(n, l.one[:n])
		return
	}
	l.buffers = n
	l.measure(l.one[:n])
	l.begin()
	l.parts = append(l.parts, l.one[:n])
}

// Reset makes l the list that NewList would, without allocating if it has had as
// many parts before.
func (l *List) Reset(buffers int, list [][]float32) {
	if buffers < 1 || len(list)%buffers != 0 {
		panic(fmt.Sprintf("kernels: %d buffers are not those of tensors with %d each", len(list), buffers))
	}
	l.buffers = buffers
	l.begin()
	if l.measure(list) {
		list = l.shorten(list)
	}
	begin, total := 0, 0
	for at := 0; at < len(list); at += buffers {
		n := max(len(list[at]), tune.TensorLen)
		if total+n > MaxLen {
			l.parts = append(l.parts, list[begin:at])
			begin, total = at, 0
		}
		total += n
	}
	if begin < len(list) {
		l.parts = append(l.parts, list[begin:])
	}
}

// begin empties l, which keeps its room.
func (l *List) begin() {
	if l.parts = l.parts[:0]; l.parts == nil {
		l.parts = l.few[:0]
	}
}

// Forget lets go of the buffers, which a list keeps alive. What has none is Set or Reset
// before it is a list again.
func (l *List) Forget() {
	clear(l.one[:])
	clear(l.parts[:cap(l.parts)])
	clear(l.cut[:cap(l.cut)])
	l.parts, l.cut = l.parts[:0], l.cut[:0]
}

// measure checks the buffers, and reports whether there is one too long for a call.
func (l *List) measure(list [][]float32) (long bool) {
	for at := 0; at < len(list); at += l.buffers {
		n := len(list[at])
		long = long || n > MaxLen
		for _, b := range list[at+1 : at+l.buffers] {
			if len(b) < n {
				panic(fmt.Sprintf("kernels: a buffer of tensor %d has %d elements, want %d", at/l.buffers, len(b), n))
			}
		}
	}
	return long
}

// shorten cuts long tensors into several.
func (l *List) shorten(list [][]float32) [][]float32 {
	l.cut = l.cut[:0]
	for at := 0; at < len(list); at += l.buffers {
		n := len(list[at])
		for lo := 0; lo == 0 || lo < n; lo += MaxLen {
			hi := min(lo+MaxLen, n)
			for _, b := range list[at : at+l.buffers] {
				l.cut = append(l.cut, b[lo:hi])
			}
		}
	}
	return l.cut
}

// of is the parts of a list for a kernel of so many buffers.
func (l *List) of(buffers int) [][][]float32 {
	if l.buffers != buffers {
		panic(fmt.Sprintf("kernels: the list has %d buffers for each tensor, the kernel %d", l.buffers, buffers))
	}
	return l.parts
}
