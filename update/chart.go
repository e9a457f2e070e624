package update

import (
	"math/bits"
	"slices"
)

// A chart tells of memory in a few nanoseconds that it is apart from all of thousands of
// buffers, among which a search takes as long as the step of a small tensor. It has a bit for
// each 16 bytes, since that is where allocators have buffers begin, in lines of 8 KiB that are
// found by a hash.
type chart struct {
	slots []slot // none if there is no chart
	shift int    // of hashes
	lines [][lineWords]uint64
}

const (
	grainShift = 4
	lineWords  = 8
	lineShift  = grainShift + 9

	// Fewer blocks than chartLeast are searched through as fast, and those that are larger
	// on average than chartMean belong to tensors whose steps take longer.
	chartLeast = 32
	chartMean  = 64 << 10
)

// A slot has the number of a line of memory, plus 1, and which of the chart's it is.
type slot struct {
	number uintptr
	line   int
}

// draw makes the chart one of blocks in their order, or none if it does not pay for them.
func (c *chart) draw(blocks []block) {
	c.slots, c.lines = c.slots[:0], c.lines[:0]
	size, lines, last := uintptr(0), uintptr(0), uintptr(0)
	for _, b := range blocks {
		if b.at == b.end {
			continue
		}
		size += b.end - b.at
		lines += (b.end-1)>>lineShift - b.at>>lineShift
		if b.at>>lineShift != last {
			lines++
		}
		last = (b.end - 1) >> lineShift
	}
	if len(blocks) < chartLeast || size > chartMean*uintptr(len(blocks)) {
		return
	}
	n := 2 << bits.Len(uint(lines))
	c.slots = slices.Grow(c.slots, n)[:n]
	clear(c.slots)
	c.shift = bits.UintSize - bits.TrailingZeros(uint(n))
	c.lines = slices.Grow(c.lines, int(lines))
	for _, b := range blocks {
		for at := b.at; at < b.end; at = endOfLine(at, b.end) {
			line := c.add(at >> lineShift)
			first, last := grains(at, endOfLine(at, b.end))
			for w := first / 64; w <= last/64; w++ {
				line[w] |= mask(w, first, last)
			}
		}
	}
}

// add is the line of a number, empty if it is new.
func (c *chart) add(number uintptr) *[lineWords]uint64 {
	s := c.find(number)
	if s.number == 0 {
		*s = slot{number + 1, len(c.lines)}
		c.lines = append(c.lines, [lineWords]uint64{})
	}
	return &c.lines[s.line]
}

// find is the slot of a line, or the one where it would be.
func (c *chart) find(number uintptr) *slot {
	const golden = 0x9e3779b97f4a7c15 & (1<<bits.UintSize - 1)
	for k := int(number * golden >> c.shift); ; k++ {
		if s := &c.slots[k&(len(c.slots)-1)]; s.number == number+1 || s.number == 0 {
			return s
		}
	}
}

// shows reports whether the chart shows that a buffer is apart from all blocks. Of a long one
// it does not, nor of one that shares 16 bytes with a block.
func (c *chart) shows(at, end uintptr) bool {
	if len(c.slots) == 0 || end-at > chartMean {
		return false
	}
	for ; at < end; at = endOfLine(at, end) {
		s := c.find(at >> lineShift)
		if s.number == 0 {
			continue
		}
		line := &c.lines[s.line]
		first, last := grains(at, endOfLine(at, end))
		for w := first / 64; w <= last/64; w++ {
			if line[w%lineWords]&mask(w, first, last) != 0 {
				return false
			}
		}
	}
	return true
}

// endOfLine is where the line of a place ends, or something that ends before.
func endOfLine(at, end uintptr) uintptr { return min(end, (at>>lineShift+1)<<lineShift) }

// grains are the first and the last of a line that memory within it touches.
func grains(at, end uintptr) (first, last uint) {
	const most = 1<<(lineShift-grainShift) - 1
	return uint(at>>grainShift) & most, uint((end-1)>>grainShift) & most
}

// mask has the bits of a word that are from the first to the last of a line.
func mask(word, first, last uint) uint64 {
	x := ^uint64(0)
	if word == first/64 {
		x <<= first % 64
	}
	if word == last/64 {
		x &= ^uint64(0) >> (63 - last%64)
	}
	return x
}
