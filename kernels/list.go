package kernels

import "fmt"

// A List is the buffers of many tensors, checked once for many calls. It is for
// small tensors: one call of assembly takes several.
type List struct {
	buffers int
	parts   [][][]float32 // each for one call of assembly
	long    [][][]float32 // the buffers of tensors that are too long for one
}

// NewList lists tensors that have so many buffers each, list being those of one
// tensor after those of another, in the order of the kernel's parameters. It keeps
// list. It panics if a buffer is shorter than the first one of its tensor, or if
// one is missing.
func NewList(buffers int, list [][]float32) *List {
	l := new(List)
	l.Reset(buffers, list)
	return l
}

// Reset makes l the list that NewList would, without allocating if it has had as
// many parts before.
func (l *List) Reset(buffers int, list [][]float32) {
	if buffers < 1 || len(list)%buffers != 0 {
		panic(fmt.Sprintf("kernels: %d buffers are not those of tensors with %d each", len(list), buffers))
	}
	l.buffers, l.parts, l.long = buffers, l.parts[:0], l.long[:0]
	begin, total := 0, 0
	cut := func(end int) {
		if end > begin {
			l.parts = append(l.parts, list[begin:end])
		}
		total = 0
	}
	for at := 0; at < len(list); at += buffers {
		of := list[at : at+buffers]
		n := len(of[0])
		for _, b := range of[1:] {
			if len(b) < n {
				panic(fmt.Sprintf("kernels: a buffer of tensor %d has %d elements, want %d", at/buffers, len(b), n))
			}
		}
		switch {
		case n > MaxLen:
			cut(at)
			l.long = append(l.long, of)
			begin = at + buffers
			continue
		case total+n > MaxLen:
			cut(at)
			begin = at
		}
		total += n
	}
	cut(len(list))
}

// of is the parts of a list for a kernel of so many buffers.
func (l *List) of(buffers int) [][][]float32 {
	if l.buffers != buffers {
		panic(fmt.Sprintf("kernels: the list has %d buffers for each tensor, the kernel %d", l.buffers, buffers))
	}
	return l.parts
}
