package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Check says how the kernels compared with the reference, bit for bit.
type Check struct {
	Tables      []string
	Kernels     int   // of all tables
	Calls       int64 // of a kernel beside the reference
	Comparisons int64 // elements that were compared, those around a buffer included
	Differ      int64 // calls that left other bits, or bits elsewhere
	Failures    []string
}

// OK reports whether nothing differs.
func (c *Check) OK() bool { return c.Differ == 0 }

// A pair is a kernel and its reference.
type pair struct {
	isa       string
	kernel    kernels.Kernel
	got, want any
}

// pairs lists the kernels of the tables with the reference for each.
func pairs(tables []kernels.Table) []pair {
	var reference kernels.Table
	var list []pair
	for _, t := range tables {
		for _, k := range kernels.All() {
			list = append(list, pair{t.ISA(), k, k.Bare(t), k.Bare(reference)})
		}
	}
	return list
}

const (
	checkLengths = 301
	checkOffsets = 16
)

// largeLengths are around what one call of assembly is given, and beyond.
var largeLengths = []int{kernels.MaxLen - 1, kernels.MaxLen + 5, 1<<20 + 17}

// cases lists how a kernel is called. A matrix has few rows, and some of none.
func cases(matrix, short bool) []agree.Case {
	var list []agree.Case
	for n := range checkLengths {
		for offset := range checkOffsets {
			if short && (offset+n)%4 != 0 {
				continue
			}
			for seed, random := range []bool{false, true} {
				list = append(list, agree.Case{N: n, More: []int{offset}, Rows: (n + offset) % 5, Offset: offset, Seed: uint64(2*offset + seed), Random: random})
			}
		}
	}
	for k, n := range largeLengths {
		if short && n > 2*kernels.MaxLen {
			continue
		}
		c := agree.Case{N: n, Rows: 1, Offset: 5 * k, Seed: uint64(n), Random: k == 0}
		if matrix && n < 2*kernels.MaxLen {
			c.Rows = 2
		}
		list = append(list, c)
	}
	return list
}

// check compares every kernel with its reference, on all processors.
func check(list []pair, short bool) *Check {
	c := &Check{Kernels: len(list)}
	for _, p := range list {
		if n := len(c.Tables); n == 0 || c.Tables[n-1] != p.isa {
			c.Tables = append(c.Tables, p.isa)
		}
	}
	bar := progress(len(list), "check")
	var next atomic.Int64
	var mu sync.Mutex
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for k := int(next.Add(1)) - 1; k < len(list); k = int(next.Add(1)) - 1 {
				calls, compared, failures := list[k].check(short)
				mu.Lock()
				c.Calls += int64(calls)
				c.Comparisons += compared
				c.Differ += int64(len(failures))
				c.Failures = append(c.Failures, failures...)
				mu.Unlock()
				bar.Add(1)
			}
		})
	}
	running.Wait()
	bar.Finish()
	return c
}

func (p pair) check(short bool) (calls int, compared int64, failures []string) {
	for _, c := range cases(agree.IsMatrix(p.kernel.Buffers), short) {
		n, err := agree.Compare(p.got, p.want, p.kernel.Buffers, c)
		calls++
		compared += int64(n)
		if err != nil {
			failures = append(failures, fmt.Sprintf("%s/%s: %v", p.isa, p.kernel.Name, err))
		}
	}
	return calls, compared, failures
}

func (c *Check) print(s *screen) {
	s.heading("Check: the same bits as the reference")
	if c.Kernels == 0 {
		s.paragraph("There is no table here but the reference itself: nothing to compare.")
		return
	}
	s.paragraph("%d kernels of %v, lengths 0 to %d and up to %s, offsets 0 to %d, random bits and ordinary values",
		c.Kernels, c.Tables, checkLengths-1, count(largeLengths[len(largeLengths)-1]), checkOffsets-1)
	s.paragraph("%d calls, %d comparisons of elements, %d calls differ: %s", c.Calls, c.Comparisons, c.Differ, verdict(c.OK()))
	for k, f := range c.Failures {
		if k == 10 {
			s.paragraph("  and %d more", len(c.Failures)-k)
			break
		}
		s.paragraph("  %s", f)
	}
}

// summary says how many bits differ in a few words.
func (c *Check) summary() string {
	if c.OK() {
		return "no bit differs"
	}
	return fmt.Sprintf("%d calls differ", c.Differ)
}
