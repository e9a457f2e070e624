package arm64

import (
	"math/bits"
	"slices"

	"github.com/lockstep-go/lockstep/gen/loop"
)

// registers are those of each kind that a kernel may use. R18 and those from R26 on
// belong to the platform and to Go.
var registers = map[loop.Kind][]int{
	loop.Vector:  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
	loop.Address: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25},
}

// A set is one of registers, by their place in an allocation.
type set []uint64

func (s set) add(k int)    { s[k/64] |= 1 << (k % 64) }
func (s set) remove(k int) { s[k/64] &^= 1 << (k % 64) }

// join adds the elements of t and reports whether some are new.
func (s set) join(t set) (grown bool) {
	for k, w := range t {
		grown = grown || w&^s[k] != 0
		s[k] |= w
	}
	return grown
}

// all calls f for each element.
func (s set) all(f func(k int)) {
	for k, w := range s {
		for ; w != 0; w &= w - 1 {
			f(64*k + bits.TrailingZeros64(w))
		}
	}
}

// An allocation finds numbers for the registers of some lines.
type allocation struct {
	lines []line
	place map[loop.Reg]int
	regs  []loop.Reg // in the order of their first lines
	live  []set      // after each line
	apart []set      // by register, those whose numbers must be others
}

// allocate is a number for each register, or how many are lacking.
func allocate(lines []line) (numbers numbering, lacks int) {
	a := &allocation{lines: lines, place: numbering{}}
	for _, l := range lines {
		for _, r := range slices.Concat(l.writes, l.reads) {
			if _, ok := a.place[r]; !ok {
				a.place[r] = len(a.regs)
				a.regs = append(a.regs, r)
			}
		}
	}
	a.findLive()
	if lacks := a.findApart(); lacks > 0 {
		return nil, lacks
	}
	return a.number()
}

// sets are so many empty sets.
func (a *allocation) sets(n int) []set {
	list, size := make([]set, n), (len(a.regs)+63)/64
	words := make([]uint64, n*size)
	for k := range list {
		list[k] = words[k*size : (k+1)*size]
	}
	return list
}

// findLive finds what is read after each line before it is written.
func (a *allocation) findLive() {
	a.live = a.sets(len(a.lines))
	before := a.sets(len(a.lines) + 1)
	labels := map[string]int{}
	for k, l := range a.lines {
		if l.label != "" {
			labels[l.label] = k
		}
	}
	for grown := true; grown; {
		grown = false
		for k, l := range slices.Backward(a.lines) {
			if !l.leaves {
				a.live[k].join(before[k+1])
			}
			if l.jump != "" {
				a.live[k].join(before[labels[l.jump]])
			}
			grown = a.through(k, before[k]) || grown
		}
	}
}

// through adds to what is live before a line what is read by it and behind it.
func (a *allocation) through(k int, before set) (grown bool) {
	now := slices.Clone(a.live[k])
	for _, r := range a.lines[k].writes {
		now.remove(a.place[r])
	}
	for _, r := range a.lines[k].reads {
		now.add(a.place[r])
	}
	return before.join(now)
}

// findApart finds which registers are in use at once, and how many vectors are lacking;
// of others, which no plan would save, as many as there are.
func (a *allocation) findApart() (lacks int) {
	a.apart = a.sets(len(a.regs))
	for k, l := range a.lines {
		now := slices.Clone(a.live[k])
		for _, r := range l.writes {
			now.add(a.place[r])
		}
		for _, r := range l.writes {
			a.apart[a.place[r]].join(now)
		}
		used := map[loop.Kind]int{}
		now.all(func(x int) { used[a.regs[x].Kind]++ })
		lacks = max(lacks, used[loop.Vector]-len(registers[loop.Vector]))
		if n := len(registers[loop.Address]); used[loop.Address] > n {
			return n
		}
	}
	return lacks
}

// number gives each register the first number that none of those apart from it has.
func (a *allocation) number() (numbers numbering, lacks int) {
	numbers = numbering{}
	for x := range a.apart {
		a.apart[x].all(func(y int) { a.apart[y].add(x) })
	}
	for _, l := range a.lines {
		for _, r := range l.writes {
			if _, ok := numbers[r]; ok {
				continue
			}
			n, ok := a.first(r, l, numbers)
			if !ok {
				return nil, 1
			}
			numbers[r] = n
		}
	}
	return numbers, 0
}

// first is the number for a register that a line writes first.
func (a *allocation) first(r loop.Reg, l line, numbers numbering) (number int, ok bool) {
	var taken uint32
	a.apart[a.place[r]].all(func(x int) {
		if n, ok := numbers[a.regs[x]]; ok && a.regs[x].Kind == r.Kind && a.regs[x] != r {
			taken |= 1 << n
		}
	})
	var wanted []int
	if l.inPlace {
		for _, x := range l.reads {
			wanted = append(wanted, numbers[x])
		}
	}
	for _, n := range slices.Concat(wanted, registers[r.Kind]) {
		if taken>>n&1 == 0 {
			return n, true
		}
	}
	return 0, false
}
